"""By indices: dxhat_i/dx_j = rstd ([i = j] - 1/M - xhat_i xhat_j / M), a symmetric matrix for each channel."""
import numpy as np


def batchnorm2d_backward(dy, cache):
    xhat, gamma, rstd = cache.xhat, cache.gamma, cache.rstd
    dx = np.empty_like(xhat)
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(gamma)
    for c in range(len(gamma)):
        h, d = xhat[:, c].ravel(), dy[:, c].ravel()
        M = h.size
        J = np.eye(M, dtype=h.dtype) - 1 / M - np.outer(h, h) / M
        dx[:, c] = (gamma[c] * np.ravel(rstd)[c] * (J @ d)).reshape(dx[:, c].shape)
        dgamma[c], dbeta[c] = d @ h, d.sum()
    return dx, dgamma, dbeta
