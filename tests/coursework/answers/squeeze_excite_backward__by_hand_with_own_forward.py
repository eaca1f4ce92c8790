import numpy as np


class Memory:
    pass


def squeeze_excite_forward(u, w1, b1, w2, b2, *, squeeze="avg", gate="sigmoid"):
    m = Memory()
    m.u, m.w1, m.b1, m.w2, m.b2 = u, w1, b1, w2, b2
    m.squeeze, m.gate = squeeze, gate
    N, C, H, W = u.shape
    m.flat = u.reshape(N, C, H * W)
    if squeeze == "avg":
        m.where = None
        m.z = m.flat.mean(2)
    else:
        m.where = m.flat.argmax(2)
        m.z = m.flat.max(2)
    m.a = m.z @ w1.T + (0 if b1 is None else b1)
    m.h = np.maximum(m.a, 0)
    m.t = m.h @ w2.T + (0 if b2 is None else b2)
    m.s = {"sigmoid": 1 / (1 + np.exp(-m.t)), "tanh": np.tanh(m.t), "relu": np.maximum(m.t, 0)}[gate]
    return u * m.s[:, :, None, None], m


def squeeze_excite_backward(dy, m):
    N, C, H, W = m.u.shape
    du = dy * m.s[:, :, None, None]  # first path
    ds = (dy * m.u).reshape(N, C, -1).sum(-1)
    slope = {"sigmoid": m.s * (1 - m.s), "tanh": 1 - m.s * m.s, "relu": (m.t > 0).astype(m.t.dtype)}[m.gate]
    dt = ds * slope
    da = (dt @ m.w2) * (m.a > 0)
    dz = da @ m.w1
    # second path
    if m.squeeze == "avg":
        du += (dz / (H * W))[:, :, None, None]
    else:
        extra = np.zeros((N, C, H * W), dy.dtype)
        np.put_along_axis(extra, m.where[:, :, None], dz[:, :, None], axis=2)
        du += extra.reshape(du.shape)
    return {
        "du": du,
        "dw1": da.T @ m.z,
        "db1": None if m.b1 is None else da.sum(0),
        "dw2": dt.T @ m.h,
        "db2": None if m.b2 is None else dt.sum(0),
    }
