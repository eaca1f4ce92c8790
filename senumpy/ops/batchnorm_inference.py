"""Batch normalisation with given statistics: what a trained network does (arXiv 1502.03167, Algorithm 2).

    xhat = (x - mean) / sqrt(var + eps)
    y    = gamma xhat + beta

`mean` and `var` are running averages kept from training. They are arguments here, so they have gradients too.
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.arrays import Array, check_upstream, namespace, per_channel
from senumpy.ops.batchnorm import NHW, check_norm_arguments


class BatchNorm2dInferenceCache(NamedTuple):
    """What `batchnorm2d_inference_backward` needs."""

    xhat: Array
    gamma: Array
    rstd: Array


class BatchNorm2dInferenceGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    dx: Array
    dgamma: Array
    dbeta: Array
    dmean: Array
    dvar: Array


def batchnorm2d_inference_forward(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, *, eps: float = 1e-5
) -> tuple[Array, BatchNorm2dInferenceCache]:
    """Normalise each channel by given (running) statistics.

    Parameters
    ----------
    x : (N, C, H, W) array, float32 or float64
    gamma, beta, mean, var : (C,) arrays
    eps : float

    Returns
    -------
    y : (N, C, H, W) array
    cache : BatchNorm2dInferenceCache
    """
    check_norm_arguments(x, eps, gamma=gamma, beta=beta, mean=mean, var=var)
    # exercise batchnorm2d_inference_forward: 1 point, level 1, lesson 7 "Two modes, two formulas";
    #   given: per_channel
    rstd = 1.0 / namespace(x).sqrt(var + eps)
    xhat = (x - per_channel(mean)) * per_channel(rstd)
    y = per_channel(gamma) * xhat + per_channel(beta)
    return y, BatchNorm2dInferenceCache(xhat, gamma, rstd)
    # end of exercise


# The statistics are arguments now, so xhat depends on x directly only, on mean by -r and on var by
# dr/dvar = -r^3 / 2, that is dxhat/dvar = -xhat r^2 / 2.
def batchnorm2d_inference_backward(
    dy: Array, cache: BatchNorm2dInferenceCache
) -> BatchNorm2dInferenceGradients:
    """Return the gradients of all five arguments for an upstream gradient `dy` (N, C, H, W)."""
    xhat, gamma, rstd = cache
    check_upstream(dy, xhat.shape, xhat.dtype)
    xp = namespace(xhat)
    dgamma = xp.sum(dy * xhat, axis=NHW)
    dbeta = xp.sum(dy, axis=NHW)
    dx = per_channel(gamma * rstd) * dy
    dmean = -gamma * rstd * dbeta
    dvar = -0.5 * gamma * rstd * rstd * dgamma
    return BatchNorm2dInferenceGradients(dx, dgamma, dbeta, dmean, dvar)
