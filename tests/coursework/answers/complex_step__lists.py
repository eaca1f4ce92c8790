import numpy as np


def complex_step(f, x, v, h=1e-30):
    y = f(np.array([complex(a, h * b) for a, b in zip(x.ravel(), v.ravel())]).reshape(x.shape))
    return np.array([value.imag / h for value in np.ravel(y)])
