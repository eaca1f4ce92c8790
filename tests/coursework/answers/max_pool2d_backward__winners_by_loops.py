import numpy as np


def max_pool2d_backward(dy, cache):
    winner, window, size, out, dtype = cache
    kh, kw = window.kernel
    N, C = dy.shape[:2]
    dx = np.zeros((N, C, *size), dtype)
    for n, c, i, j in np.ndindex(dy.shape):
        p, q = divmod(int(winner[n, c, i, j]), kw)
        row, col = i * window.stride[0] + p - window.padding[0], j * window.stride[1] + q - window.padding[1]
        dx[n, c, row, col] += dy[n, c, i, j]
    return dx
