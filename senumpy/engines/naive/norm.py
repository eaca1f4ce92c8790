"""Batch norm, channel by channel, and its gradient through the mean and through the variance, step by step.

mu = mean(x)    var = mean((x - mu)^2)    y = gamma (x - mu) / sqrt(var + eps) + beta
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.naive.precision import doubles, rounded
from senumpy.ops.arrays import Array
from senumpy.ops.batchnorm import BatchNorm2dGradients
from senumpy.ops.batchnorm_inference import BatchNorm2dInferenceGradients


class BatchNorm2dCache(NamedTuple):
    """The arguments, and the statistics of the batch, (C,) each."""

    x: Array
    gamma: Array
    eps: float
    mean: Array
    var: Array


def batchnorm2d_forward(x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5) -> tuple[Array, Any]:
    """Normalise each channel of `x` (N, C, H, W) by the mean and the biased variance of the batch."""
    mean, var = _statistics(x)
    y = _normalise(x, gamma, beta, mean, var, eps)
    return y, BatchNorm2dCache(x, gamma, eps, *rounded((mean, var), x))


# With r = (var + eps)^(-1/2) and g = gamma dy, the gradient of xhat = (x - mu) r:
#     dvar = sum_k g[k] (x[k] - mu) (-1/2) (var + eps)^(-3/2)
#     dmu  = sum_k g[k] (-r) + dvar mean_k(-2 (x[k] - mu))
#     dx[k] = g[k] r + dvar 2 (x[k] - mu) / M + dmu / M
def batchnorm2d_backward(dy: Array, cache: Any) -> BatchNorm2dGradients:
    """Return the gradients for an upstream gradient `dy` (N, C, H, W)."""
    x, gamma, dy64 = doubles(cache.x, cache.gamma, dy)
    means, variances = _statistics(cache.x)
    dx, dgamma, dbeta = np.zeros(x.shape), np.zeros(gamma.shape), np.zeros(gamma.shape)
    for c in range(x.shape[1]):
        indices = _channel(x, c)
        mu, spread = means[c], variances[c] + cache.eps
        dgamma[c] = math.fsum(dy64[k] * (x[k] - mu) / math.sqrt(spread) for k in indices)
        dbeta[c] = math.fsum(dy64[k] for k in indices)
        dvar = math.fsum(gamma[c] * dy64[k] * (x[k] - mu) * -0.5 * spread**-1.5 for k in indices)
        dmu = math.fsum(-gamma[c] * dy64[k] / math.sqrt(spread) for k in indices)
        dmu += dvar * math.fsum(-2.0 * (x[k] - mu) for k in indices) / len(indices)
        for k in indices:
            dx[k] = gamma[c] * dy64[k] / math.sqrt(spread)
            dx[k] += dvar * 2.0 * (x[k] - mu) / len(indices) + dmu / len(indices)
    return BatchNorm2dGradients(*rounded((dx, dgamma, dbeta), dy))


class BatchNorm2dInferenceCache(NamedTuple):
    """The arguments."""

    x: Array
    gamma: Array
    mean: Array
    var: Array
    eps: float


def batchnorm2d_inference_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float = 1e-5
) -> tuple[Array, Any]:
    """Normalise each channel of `x` (N, C, H, W) by the given statistics."""
    mean64, var64 = doubles(mean, var)
    y = _normalise(x, gamma, beta, mean64, var64, eps)
    return y, BatchNorm2dInferenceCache(x, gamma, mean, var, eps)


def batchnorm2d_inference_backward(dy: Array, cache: Any) -> BatchNorm2dInferenceGradients:
    """Return the gradients of all five arguments for an upstream gradient `dy` (N, C, H, W)."""
    x, gamma, mean, var, dy64 = doubles(*cache[:4], dy)
    dx, (dgamma, dbeta, dmean, dvar) = np.zeros(x.shape), np.zeros((4, *gamma.shape))
    for n, c, i, j in np.ndindex(x.shape):
        spread = var[c] + cache.eps
        distance, g = x[n, c, i, j] - mean[c], dy64[n, c, i, j]
        dx[n, c, i, j] = gamma[c] * g / math.sqrt(spread)
        dgamma[c] += g * distance / math.sqrt(spread)
        dbeta[c] += g
        dmean[c] -= gamma[c] * g / math.sqrt(spread)
        dvar[c] -= 0.5 * gamma[c] * g * distance / spread**1.5
    return BatchNorm2dInferenceGradients(*rounded((dx, dgamma, dbeta, dmean, dvar), dy))


def _statistics(x: Array) -> tuple[Array, Array]:
    """Return mean and biased variance of each channel in float64; the sums are exact but for one rounding."""
    mean, var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for c in range(x.shape[1]):
        values = [float(x[k]) for k in _channel(x, c)]
        mean[c] = math.fsum(values) / len(values)
        var[c] = math.fsum((value - mean[c]) ** 2 for value in values) / len(values)
    return mean, var


def _normalise(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Array:
    x64, gamma64, beta64 = doubles(x, gamma, beta)
    y = np.zeros(x.shape)
    for n, c, i, j in np.ndindex(x.shape):
        xhat = (x64[n, c, i, j] - mean[c]) / math.sqrt(var[c] + eps)
        y[n, c, i, j] = gamma64[c] * xhat + beta64[c]
    return y.astype(x.dtype)


def _channel(x: Array, c: int) -> list[tuple[int, int, int, int]]:
    """Return the indices of all entries of channel `c`."""
    N, _, H, W = x.shape
    return [(n, c, i, j) for n, i, j in np.ndindex(N, H, W)]
