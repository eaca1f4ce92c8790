import numpy as np


def central_difference(f, x, v, h):
    along = lambda t: np.atleast_1d(f(x + t * v)).flatten()
    return (along(h) - along(-h)) / (2 * h)
