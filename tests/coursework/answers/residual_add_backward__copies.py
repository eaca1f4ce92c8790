import numpy as np


def residual_add_backward(dy, cache):
    return dy.copy(), np.array(dy)
