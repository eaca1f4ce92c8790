import numpy as np


def two(v):
    return (v, v) if np.isscalar(v) else tuple(v)


def conv2d_forward(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    (s1, s2), (p1, p2), (d1, d2) = two(stride), two(padding), two(dilation)
    N, C, H, W = x.shape
    O, Cg, kh, kw = w.shape
    Ho = (H + 2 * p1 - d1 * (kh - 1) - 1) // s1 + 1
    Wo = (W + 2 * p2 - d2 * (kw - 1) - 1) // s2 + 1
    y = np.zeros((N, O, Ho, Wo), x.dtype)
    for n in range(N):
        for o in range(O):
            g = o // (O // groups)
            for i in range(Ho):
                for j in range(Wo):
                    acc = 0 if b is None else b[o]
                    for p in range(kh):
                        for q in range(kw):
                            r, t = i * s1 + p * d1 - p1, j * s2 + q * d2 - p2
                            if r < 0 or t < 0 or r >= H or t >= W:
                                continue
                            acc = acc + np.dot(w[o, :, p, q], x[n, g * Cg : (g + 1) * Cg, r, t])
                    y[n, o, i, j] = acc
    return y, None
