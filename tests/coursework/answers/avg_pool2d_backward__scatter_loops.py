import numpy as np


def avg_pool2d_backward(dy, cache):
    (kh, kw), (sh, sw), (ph, pw), _ = cache.window
    dx = np.zeros(cache.shape, dy.dtype)
    H, W = cache.shape[2:]
    share = dy / cache.divisor
    for i in range(dy.shape[2]):
        for j in range(dy.shape[3]):
            top, left = i * sh - ph, j * sw - pw
            rows = slice(max(top, 0), min(top + kh, H))
            cols = slice(max(left, 0), min(left + kw, W))
            dx[:, :, rows, cols] += share[:, :, i : i + 1, j : j + 1]
    return dx
