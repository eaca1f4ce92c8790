"""The bias is a weight of an input that is always one."""
import numpy as np


def linear_forward(x, w, b=None):
    if b is None:
        b = np.zeros(w.shape[0], w.dtype)
    X = np.hstack([x, np.ones((len(x), 1), x.dtype)])
    W = np.column_stack([w, b])
    return np.inner(X, W), (X, W)
