import numpy as np


def relu_backward(dy, cache):
    result = []
    for gradient, is_on in zip(dy.ravel(), cache.mask.ravel()):
        result.append(gradient if is_on else 0.0)
    return np.array(result, dtype=dy.dtype).reshape(dy.shape)
