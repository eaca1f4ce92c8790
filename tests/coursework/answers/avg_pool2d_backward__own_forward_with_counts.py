import math
from typing import NamedTuple

import numpy as np


class Cache(NamedTuple):
    where: list
    shape: tuple


def avg_pool2d_forward(x, *, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    kernel, padding = [(v, v) if isinstance(v, int) else v for v in (kernel, padding)]
    stride = kernel if stride is None else (stride, stride) if isinstance(stride, int) else stride
    out = []
    for n, k, s, p in zip(x.shape[2:], kernel, stride, padding):
        o = (math.ceil if ceil_mode else math.floor)((n + 2 * p - k) / s) + 1
        if ceil_mode and (o - 1) * s >= n + p:
            o -= 1
        out.append(o)
    where = []
    y = np.zeros((*x.shape[:2], *out), x.dtype)
    for i in range(out[0]):
        for j in range(out[1]):
            t, l = i * stride[0] - padding[0], j * stride[1] - padding[1]
            b, r = min(t + kernel[0], x.shape[2] + padding[0]), min(l + kernel[1], x.shape[3] + padding[1])
            count = (b - t) * (r - l)
            t, l, b, r = max(t, 0), max(l, 0), min(b, x.shape[2]), min(r, x.shape[3])
            if not count_include_pad:
                count = (b - t) * (r - l)
            where.append((i, j, t, b, l, r, count))
            y[:, :, i, j] = x[:, :, t:b, l:r].sum((2, 3)) / count
    return y, Cache(where, x.shape)


def avg_pool2d_backward(dy, cache):
    dx = np.zeros(cache.shape, dy.dtype)
    for i, j, t, b, l, r, count in cache.where:
        dx[:, :, t:b, l:r] += (dy[:, :, i, j] / count)[:, :, None, None]
    return [dx]
