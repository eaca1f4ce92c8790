"""The maximum of a window is the maximum over rows of the maxima over columns."""
import numpy as np

from senumpy.ops.windows import pool_window


def along_last(x, k, s, p, count):
    n = x.shape[-1]
    y = [np.max(x[..., max(0, a) : min(n, a + k)], axis=-1) for a in (o * s - p for o in range(count))]
    return np.stack(y, -1)


def max_pool2d_forward(x, *, kernel, stride=None, padding=0, ceil_mode=False):
    window, out = pool_window(x, kernel, stride, padding, ceil_mode)
    k, s, p = window.kernel, window.stride, window.padding
    half = along_last(x, k[1], s[1], p[1], out[1])
    return along_last(half.swapaxes(2, 3), k[0], s[0], p[0], out[0]).swapaxes(2, 3), (window, out)
