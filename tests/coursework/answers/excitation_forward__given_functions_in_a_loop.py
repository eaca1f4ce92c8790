import numpy as np

from senumpy.ops.activations import relu_forward, sigmoid_forward, tanh_forward
from senumpy.ops.linear import linear_forward


def excitation_forward(z, w1, b1, w2, b2, *, gate="sigmoid"):
    how = {"sigmoid": sigmoid_forward, "tanh": tanh_forward, "relu": relu_forward}
    caches = []
    value = z
    for weights, activation in [((w1, b1), relu_forward), ((w2, b2), how[gate])]:
        value, cache = linear_forward(value, *weights)
        caches.append(cache)
        value, cache = activation(value)
        caches.append(cache)
    return value, caches
