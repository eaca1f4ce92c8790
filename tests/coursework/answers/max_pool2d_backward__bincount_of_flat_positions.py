"""Own forward: it keeps the flat position of every winner, and the backward is one bincount."""
import numpy as np


def max_pool2d_forward(x, *, kernel, stride=None, padding=0, ceil_mode=False):
    k, p = ((v, v) if isinstance(v, int) else v for v in (kernel, padding))
    s = k if stride is None else (stride, stride) if isinstance(stride, int) else stride
    N, C, H, W = x.shape
    out = []
    for n, kk, ss, pp in zip((H, W), k, s, p):
        o = (n + 2 * pp - kk) // ss + 1
        if ceil_mode and (n + 2 * pp - kk) % ss and o * ss < n + pp:
            o += 1
        out.append(o)
    y = np.zeros((N, C, *out), x.dtype)
    position = np.zeros((N, C, *out), int)
    for n, c, i, j in np.ndindex(y.shape):
        best = None
        for a in range(max(0, i * s[0] - p[0]), min(H, i * s[0] - p[0] + k[0])):
            for b in range(max(0, j * s[1] - p[1]), min(W, j * s[1] - p[1] + k[1])):
                if best is None or x[n, c, a, b] > best:
                    best = x[n, c, a, b]
                    position[n, c, i, j] = ((n * C + c) * H + a) * W + b
        y[n, c, i, j] = best
    return y, (position, x.shape)


def max_pool2d_backward(dy, cache):
    position, shape = cache
    counted = np.bincount(position.ravel(), weights=dy.ravel(), minlength=int(np.prod(shape)))
    return counted.reshape(shape).astype(dy.dtype)
