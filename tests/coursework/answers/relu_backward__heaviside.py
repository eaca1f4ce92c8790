import numpy as np


class Relu:
    def forward(self, x):
        self.x = x
        return np.maximum(x, 0)

    def backward(self, dy):
        return dy * np.heaviside(self.x, 0).astype(dy.dtype)


def relu_forward(x):
    layer = Relu()
    return layer.forward(x), layer


def relu_backward(dy, cache):
    return {"x": cache.backward(dy)}
