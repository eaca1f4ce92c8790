"""var = mean over all pairs of (a - b)^2 / 2: no mean needed for the variance."""
import numpy as np


def batchnorm2d_forward(x, gamma, beta, *, eps=1e-5):
    v = x.swapaxes(0, 1).reshape(len(gamma), -1)
    difference = v[:, :, None] - v[:, None, :]
    mean_of_differences = difference.mean(axis=2)  # that is v - mean(v)
    var = (difference**2).mean(axis=(1, 2)) / 2
    xhat = mean_of_differences / np.sqrt(var + eps)[:, None]
    xhat = xhat.reshape(x.shape[1], x.shape[0], *x.shape[2:]).swapaxes(0, 1)
    return xhat * gamma[:, None, None] + beta[:, None, None], xhat
