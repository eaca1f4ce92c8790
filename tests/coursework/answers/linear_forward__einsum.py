import numpy as np


def linear_forward(x, w, b=None):
    y = np.einsum("ni,oi->no", x, w)
    return (y if b is None else y + b[np.newaxis, :]), (x, w)
