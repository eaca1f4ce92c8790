import numpy as np


def linear_backward(dy, cache):
    x, w, has_bias = cache
    dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros(len(w), w.dtype)
    for n in range(x.shape[0]):
        for o in range(w.shape[0]):
            db[o] += dy[n, o]
            for i in range(x.shape[1]):
                dx[n, i] += dy[n, o] * w[o, i]
                dw[o, i] += dy[n, o] * x[n, i]
    if not has_bias:
        db = None
    return dx, dw, db
