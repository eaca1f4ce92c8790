import numpy as np


def sgd_update(value, gradient, velocity, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = gradient.copy()
    g += weight_decay * value
    np.multiply(velocity, momentum, out=velocity)
    np.add(velocity, g, out=velocity)
    step = g + momentum * velocity if nesterov else velocity
    np.subtract(value, lr * step, out=value)
