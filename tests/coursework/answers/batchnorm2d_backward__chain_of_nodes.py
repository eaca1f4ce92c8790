"""Step by step through the graph, as in the well-known blog post: every node forward has one backward."""
import numpy as np

AXES = (0, 2, 3)


def batchnorm2d_forward(x, gamma, beta, *, eps=1e-5):
    mu = x.mean(axis=AXES, keepdims=True)
    xmu = x - mu
    sq = xmu**2
    var = sq.mean(axis=AXES, keepdims=True)
    sqrtvar = np.sqrt(var + eps)
    ivar = 1.0 / sqrtvar
    xhat = xmu * ivar
    out = gamma.reshape(1, -1, 1, 1) * xhat + beta.reshape(1, -1, 1, 1)
    return out, (xhat, gamma, xmu, ivar, sqrtvar, var, eps)


def batchnorm2d_backward(dout, cache):
    xhat, gamma, xmu, ivar, sqrtvar, var, eps = cache
    M = xhat.size // xhat.shape[1]
    dbeta = dout.sum(axis=AXES)
    dgamma = (dout * xhat).sum(axis=AXES)
    dxhat = dout * gamma.reshape(1, -1, 1, 1)
    divar = (dxhat * xmu).sum(axis=AXES, keepdims=True)
    dxmu1 = dxhat * ivar
    dsqrtvar = -1.0 / sqrtvar**2 * divar
    dvar = 0.5 / np.sqrt(var + eps) * dsqrtvar
    dsq = np.ones_like(dout) / M * dvar
    dxmu2 = 2 * xmu * dsq
    dx1 = dxmu1 + dxmu2
    dmu = -dx1.sum(axis=AXES, keepdims=True)
    dx2 = np.ones_like(dout) / M * dmu
    return dx1 + dx2, dgamma, dbeta
