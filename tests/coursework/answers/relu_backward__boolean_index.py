# Lösung für die Übung: dort, wo x <= 0 war, ist der Gradient null (auch bei x = 0).
import numpy as np


def relu_backward(dy, cache):
    dx = np.copy(dy)
    dx[~cache.mask] = 0
    np.testing.assert_equal(dx.shape, dy.shape)
    return (dx,)
