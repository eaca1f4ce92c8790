import numpy as np


def max_pool2d_backward(dy, cache):
    p, q = np.unravel_index(cache.winner, cache.window.kernel)
    n, c, i, j = np.ogrid[tuple(slice(0, k) for k in dy.shape)]
    (sh, sw), (ph, pw) = cache.window.stride, cache.window.padding
    dx = np.zeros(dy.shape[:2] + tuple(cache.size), dy.dtype)
    np.add.at(dx, (n, c, i * sh + p - ph, j * sw + q - pw), dy)
    return {"dx": dx}
