import numpy as np


def conv2d_backward(dy, cache, *, need_dx=True):
    x, w = cache.x, cache.w
    (s1, s2), (p1, p2), (d1, d2) = cache.window.stride, cache.window.padding, cache.window.dilation
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    N, C, H, W = x.shape
    O, Cg, kh, kw = w.shape
    for n, o, i, j in np.ndindex(*dy.shape):
        up = dy[n, o, i, j]
        first = o // (O // cache.groups) * Cg
        for p in range(kh):
            for q in range(kw):
                r, t = i * s1 + p * d1 - p1, j * s2 + q * d2 - p2
                if 0 <= r < H and 0 <= t < W:
                    dx[n, first : first + Cg, r, t] += up * w[o, :, p, q]
                    dw[o, :, p, q] += up * x[n, first : first + Cg, r, t]
    return dx if need_dx else None, dw, dy.sum((0, 2, 3)) if cache.has_bias else None
