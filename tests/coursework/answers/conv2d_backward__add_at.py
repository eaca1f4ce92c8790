import numpy as np


def conv2d_forward(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """Index arrays: idx says for each window and tap which pixel of the padded image it sees."""
    st, pa, di = (v if isinstance(v, tuple) else (v, v) for v in (stride, padding, dilation))
    N, C, H, W = x.shape
    O, Cg, kh, kw = w.shape
    xp = np.pad(x, [(0, 0), (0, 0), (pa[0], pa[0]), (pa[1], pa[1])])
    Ho = (xp.shape[2] - di[0] * (kh - 1) - 1) // st[0] + 1
    Wo = (xp.shape[3] - di[1] * (kw - 1) - 1) // st[1] + 1
    i = st[0] * np.arange(Ho)[:, None] + di[0] * np.arange(kh)  # (Ho, kh)
    j = st[1] * np.arange(Wo)[:, None] + di[1] * np.arange(kw)  # (Wo, kw)
    idx = (slice(None), slice(None), i[:, None, :, None], j[None, :, None, :])  # -> (N, C, Ho, Wo, kh, kw)
    cols = xp[idx].reshape(N, groups, Cg, Ho, Wo, kh, kw)
    wg = w.reshape(groups, O // groups, Cg, kh, kw)
    y = np.einsum("ngchwpq,gocpq->ngohw", cols, wg).reshape(N, O, Ho, Wo)
    if b is not None:
        y = y + b[None, :, None, None]
    return y, dict(shape=x.shape, padded=xp.shape, pad=pa, idx=idx, cols=cols, wg=wg, w=w, b=b)


def conv2d_backward(dy, cache, *, need_dx=True):
    c = cache
    G, Og = c["wg"].shape[:2]
    d = dy.reshape(len(dy), G, Og, *dy.shape[2:])
    dcols = np.einsum("ngohw,gocpq->ngchwpq", d, c["wg"])
    dpad = np.zeros(c["padded"], dy.dtype)
    np.add.at(dpad, c["idx"], dcols.reshape(len(dy), -1, *dcols.shape[3:]))
    (ph, pw), (H, W) = c["pad"], c["shape"][2:]
    dw = np.einsum("ngohw,ngchwpq->gocpq", d, c["cols"]).reshape(c["w"].shape)
    grads = {"dx": dpad[:, :, ph : ph + H, pw : pw + W], "dw": dw}
    if c["b"] is not None:
        grads["db"] = np.einsum("nohw->o", dy)
    return grads
