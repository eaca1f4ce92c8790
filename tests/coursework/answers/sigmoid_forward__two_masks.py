import numpy as np


def sigmoid_forward(x):
    y = np.empty_like(x)
    pos = x >= 0
    neg = ~pos
    y[pos] = 1 / (1 + np.exp(-x[pos]))
    e = np.exp(x[neg])
    y[neg] = e / (1 + e)
    return y, {"y": y}
