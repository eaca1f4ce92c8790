"""Mistakes in batch norm, in both modes."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.arrays import per_channel
from senumpy.verify.mistakes.registry import wrong_arguments, wrong_backward, wrong_forward, wrong_gradients

NHW = (0, 2, 3)


def batch_moments(x: Any, axes: Any = NHW) -> Any:
    """Return mean and biased variance over `axes`, which are kept; x.var would break complex steps."""
    mean = x.mean(axes, keepdims=True)
    return mean, ((x - mean) * (x - mean)).mean(axes, keepdims=True)


def normalised(x: Any, gamma: Any, beta: Any, mean: Any, root: Any, eps: float) -> Any:
    """Return gamma (x - mean) / root + beta, with the cache of the right forward."""
    y = per_channel(gamma) * (x - mean) / root + per_channel(beta)
    return y, ops.batchnorm2d_forward(x, gamma, beta, eps=eps)[1]


@wrong_forward(
    "batchnorm2d", "unbiased-variance", "It normalises by the unbiased variance, divided by M - 1."
)
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    (mean, var), m = batch_moments(x), x[:, 0].size
    return normalised(x, gamma, beta, mean, np.sqrt(var * (m / (m - 1)) + eps), eps)


@wrong_forward("batchnorm2d", "eps-outside-root", "eps is added to the root instead of to the variance.")
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    mean, var = batch_moments(x)
    return normalised(x, gamma, beta, mean, np.sqrt(var) + eps, eps)


@wrong_forward("batchnorm2d", "per-pixel", "Statistics run over the batch only, a mean for each pixel.")
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    mean, var = batch_moments(x, 0)
    return normalised(x, gamma, beta, mean, np.sqrt(var + eps), eps)


@wrong_forward("batchnorm2d", "per-image", "Statistics run over each image alone: that is instance norm.")
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    mean, var = batch_moments(x, (2, 3))
    return normalised(x, gamma, beta, mean, np.sqrt(var + eps), eps)


@wrong_forward("batchnorm2d", "all-channels", "All channels share one mean and one variance.")
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    mean, var = batch_moments(x, (0, 1, 2, 3))
    return normalised(x, gamma, beta, mean, np.sqrt(var + eps), eps)


@wrong_forward("batchnorm2d", "second-moment", "The variance is mean(x^2): the mean is not subtracted first.")
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    mean, moment = x.mean(NHW, keepdims=True), (x * x).mean(NHW, keepdims=True)
    return normalised(x, gamma, beta, mean, np.sqrt(moment + eps), eps)


@wrong_arguments("batchnorm2d", "swapped-gamma-beta", "gamma and beta change places.")
def _(x: Any, gamma: Any, beta: Any, **options: Any) -> Any:
    return (x, beta, gamma), options


def weighted_dx(dy: Any, cache: Any, *, mean: float = 1.0, xhat: float = 1.0, m: int | None = None) -> Any:
    """Return dx with the mean term and the xhat term weighted, and M replaced."""
    m = m or dy[:, 0].size
    sums = dy.sum(NHW, keepdims=True), (dy * cache.xhat).sum(NHW, keepdims=True)
    rest = dy - mean * sums[0] / m - xhat * cache.xhat * sums[1] / m
    return per_channel(cache.gamma * cache.rstd) * rest


@wrong_backward("batchnorm2d", "no-mean-term", "dx lacks - mean(dy): x also acts through the batch's mean.")
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_backward(dy, cache)._replace(dx=weighted_dx(dy, cache, mean=0.0))


@wrong_backward(
    "batchnorm2d", "no-variance-term", "dx lacks - xhat mean(dy xhat): x also acts through the variance."
)
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_backward(dy, cache)._replace(dx=weighted_dx(dy, cache, xhat=0.0))


@wrong_backward("batchnorm2d", "constant-statistics", "The batch's statistics are taken for constants.")
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_backward(dy, cache)._replace(dx=weighted_dx(dy, cache, mean=0.0, xhat=0.0))


@wrong_backward("batchnorm2d", "divided-by-m-minus-1", "The means in dx are divided by M - 1.")
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_backward(dy, cache)._replace(dx=weighted_dx(dy, cache, m=dy[:, 0].size - 1))


@wrong_backward("batchnorm2d", "divided-by-n", "The sums in dx are divided by N alone, not by N H W.")
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_backward(dy, cache)._replace(dx=weighted_dx(dy, cache, m=dy.shape[0]))


@wrong_backward("batchnorm2d", "no-gamma", "dx is not multiplied by gamma.")
def _(dy: Any, cache: Any) -> Any:
    dx = weighted_dx(dy, cache._replace(gamma=np.ones_like(cache.gamma)))
    return ops.batchnorm2d_backward(dy, cache)._replace(dx=dx)


@wrong_backward("batchnorm2d", "no-rstd", "dx is not divided by the standard deviation.")
def _(dy: Any, cache: Any) -> Any:
    dx = weighted_dx(dy, cache._replace(rstd=np.ones_like(cache.rstd)))
    return ops.batchnorm2d_backward(dy, cache)._replace(dx=dx)


@wrong_backward("batchnorm2d", "dgamma-averaged", "dgamma is averaged over N, H, W instead of summed.")
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_backward(dy, cache)._replace(dgamma=(dy * cache.xhat).mean(NHW))


@wrong_gradients("batchnorm2d", "dgamma-of-centred-x", "dgamma uses x - mean where xhat belongs.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dgamma=gradients.dgamma / cache.rstd)


@wrong_backward("batchnorm2d", "dbeta-averaged", "dbeta is averaged over N, H, W instead of summed.")
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_backward(dy, cache)._replace(dbeta=dy.mean(NHW))


@wrong_backward("batchnorm2d", "zero-dx", "dx is zero: right for an all-ones dy, and for hardly any other.")
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_backward(dy, cache)._replace(dx=np.zeros_like(dy))


@wrong_forward("batchnorm2d_inference", "batch-statistics", "Inference takes the statistics of the batch.")
def _(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float = 1e-5) -> Any:
    y, _ = ops.batchnorm2d_forward(x, gamma, beta, eps=eps)
    return y, ops.batchnorm2d_inference_forward(x, gamma, beta, mean, var, eps=eps)[1]


@wrong_forward(
    "batchnorm2d_inference", "variance-for-deviation", "It divides by the variance, without a root."
)
def _(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float = 1e-5) -> Any:
    y = per_channel(gamma) * (x - per_channel(mean)) / per_channel(var + eps) + per_channel(beta)
    return y, ops.batchnorm2d_inference_forward(x, gamma, beta, mean, var, eps=eps)[1]


@wrong_backward(
    "batchnorm2d_inference",
    "training-formula",
    "dx has the mean terms of training; the statistics are fixed.",
)
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_inference_backward(dy, cache)._replace(dx=weighted_dx(dy, cache))


@wrong_gradients(
    "batchnorm2d_inference", "dmean-positive", "dmean has the wrong sign: the mean is subtracted."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dmean=-gradients.dmean)


@wrong_gradients("batchnorm2d_inference", "dvar-without-half", "dvar lacks the 1/2 of the root's derivative.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dvar=2.0 * gradients.dvar)
