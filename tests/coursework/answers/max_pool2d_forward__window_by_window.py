import math

import numpy as np


def max_pool2d_forward(x, *, kernel, stride=None, padding=0, ceil_mode=False):
    two = lambda v: v if isinstance(v, tuple) else (v, v)
    k, p = two(kernel), two(padding)
    s = two(stride) if stride is not None else k
    out = []
    for axis in (0, 1):
        n = x.shape[2 + axis]
        o = (n + 2 * p[axis] - k[axis]) / s[axis] + 1
        o = math.ceil(o) if ceil_mode else math.floor(o)
        if (o - 1) * s[axis] >= n + p[axis]:
            o -= 1
        out.append(o)
    y = np.empty(x.shape[:2] + tuple(out), x.dtype)
    for i in range(out[0]):
        for j in range(out[1]):
            r, c = i * s[0] - p[0], j * s[1] - p[1]
            y[:, :, i, j] = x[:, :, max(r, 0) : r + k[0], max(c, 0) : c + k[1]].max(axis=(2, 3))
    return y, None
