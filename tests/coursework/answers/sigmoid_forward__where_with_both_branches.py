import numpy as np


def sigmoid_forward(x):
    # the branch that overflows is thrown away by where
    with np.errstate(over="ignore", invalid="ignore"):
        y = np.where(x > 0, 1 / (1 + np.exp(-x)), np.exp(x) / (1 + np.exp(x)))
    return y, None
