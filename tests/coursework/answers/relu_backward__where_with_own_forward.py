import numpy as np


def relu_forward(x):
    print("relu_forward", x.shape)
    out = x.copy()
    out[out < 0] = 0
    return out, [x.copy(), "the input"]


def relu_backward(dy, cache):
    x, text = cache
    print(f"relu_backward got {text}")
    return np.where(x > 0, dy, np.zeros((), dy.dtype))
