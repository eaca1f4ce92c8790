import numpy as np


def batchnorm2d_forward(x, gamma, beta, *, eps=1e-5):
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        values = x[:, c]
        y[:, c] = gamma[c] * (values - np.mean(values)) / np.sqrt(np.var(values) + eps) + beta[c]
    return y, None
