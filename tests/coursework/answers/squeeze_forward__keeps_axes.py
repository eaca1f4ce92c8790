import numpy as np


def squeeze_forward(u, *, operator="avg"):
    f = np.mean if operator == "avg" else np.amax
    z = f(u, axis=(-2, -1), keepdims=True)
    return z, z
