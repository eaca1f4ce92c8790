"""Conventions of batch norm: where eps goes, what gamma is, what the sums of the backward are divided by."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.arrays import per_channel
from senumpy.verify.mistakes.norm import batch_moments, normalised, weighted_dx
from senumpy.verify.mistakes.registry import (
    library,
    wrong_arguments,
    wrong_backward,
    wrong_forward,
    wrong_gradients,
    wrong_result,
)


@wrong_forward("batchnorm2d", "eps-forgotten", "eps is left out.")
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    mean, var = batch_moments(x)
    return normalised(x, gamma, beta, mean, np.sqrt(var), eps)


@wrong_forward("batchnorm2d", "variance-for-deviation", "It divides by the variance, without a root.")
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    mean, var = batch_moments(x)
    return normalised(x, gamma, beta, mean, var + eps, eps)


@wrong_forward(
    "batchnorm2d", "not-centred", "The mean is not subtracted: x is only divided by its deviation."
)
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    _, var = batch_moments(x)
    return normalised(x, gamma, beta, 0.0, np.sqrt(var + eps), eps)


@wrong_forward(
    "batchnorm2d", "layer-norm", "Statistics run over the channels of each image: that is layer norm."
)
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    mean, var = batch_moments(x, (1, 2, 3))
    return normalised(x, gamma, beta, mean, np.sqrt(var + eps), eps)


for _op in ("batchnorm2d", "batchnorm2d_inference"):

    @wrong_arguments(_op, "eps-of-keras", "eps is 0.001, as in Keras, whatever it should be.")
    def _(*args: Any, eps: float = 1e-5) -> Any:
        return args, {"eps": 1e-3}

    @wrong_arguments(
        _op, "one-plus-gamma", "xhat is scaled by 1 + gamma: gamma is taken for an offset from 1."
    )
    def _(x: Any, gamma: Any, *rest: Any, **options: Any) -> Any:
        return (x, 1.0 + gamma, *rest), options

    @wrong_result(_op, "beta-forgotten", "beta is not added.")
    def _(y: Any, x: Any, gamma: Any, beta: Any, *rest: Any, **options: Any) -> Any:
        return y - per_channel(beta)

    @wrong_arguments(_op, "gamma-forgotten", "xhat is not multiplied by gamma.")
    def _(x: Any, gamma: Any, *rest: Any, **options: Any) -> Any:
        return (x, np.ones_like(gamma), *rest), options

    @wrong_gradients(
        _op, "dgamma-of-one-image", "dgamma is not summed over the batch: only the first image counts."
    )
    def _(gradients: Any, dy: Any, cache: Any) -> Any:
        return gradients._replace(dgamma=(dy * cache.xhat)[0].sum((1, 2)))


@wrong_backward("batchnorm2d", "divided-by-hw", "The sums in dx are divided by H W alone, not by N H W.")
def _(dy: Any, cache: Any) -> Any:
    return ops.batchnorm2d_backward(dy, cache)._replace(dx=weighted_dx(dy, cache, m=dy[0, 0].size))


@wrong_gradients("batchnorm2d", "dgamma-averaged-over-batch", "dgamma is divided by the batch size.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dgamma=gradients.dgamma / dy.shape[0])


@wrong_gradients("batchnorm2d", "dbeta-averaged-over-batch", "dbeta is divided by the batch size.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dbeta=gradients.dbeta / dy.shape[0])


@wrong_gradients("batchnorm2d", "dgamma-without-xhat", "dgamma lacks the factor xhat: it is dbeta.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dgamma=gradients.dbeta.copy())


@wrong_gradients(
    "batchnorm2d", "dx-averaged", "dx is divided by the batch size; the mean belongs to the loss."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dx=gradients.dx / dy.shape[0])


def _given(x: Any, gamma: Any, beta: Any, mean: Any, root: Any) -> Any:
    return per_channel(gamma) * (x - per_channel(mean)) / per_channel(root) + per_channel(beta)


@wrong_forward("batchnorm2d_inference", "eps-forgotten", "eps is left out.")
def _(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float = 1e-5) -> Any:
    cache = ops.batchnorm2d_inference_forward(x, gamma, beta, mean, var, eps=eps)[1]
    return _given(x, gamma, beta, mean, np.sqrt(var)), cache


@wrong_forward(
    "batchnorm2d_inference", "eps-outside-root", "eps is added to the root instead of to the variance."
)
def _(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float = 1e-5) -> Any:
    cache = ops.batchnorm2d_inference_forward(x, gamma, beta, mean, var, eps=eps)[1]
    return _given(x, gamma, beta, mean, np.sqrt(var) + eps), cache


@wrong_arguments("batchnorm2d_inference", "mean-added", "The running mean is added instead of subtracted.")
def _(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **options: Any) -> Any:
    return (x, gamma, beta, -mean, var), options


@wrong_arguments("batchnorm2d_inference", "swapped-gamma-beta", "gamma and beta change places.")
def _(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, **options: Any) -> Any:
    return (x, beta, gamma, mean, var), options


@wrong_forward(
    "batchnorm2d_inference", "variance-is-deviation", "The given variance is taken for a deviation."
)
def _(x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float = 1e-5) -> Any:
    cache = ops.batchnorm2d_inference_forward(x, gamma, beta, mean, var, eps=eps)[1]
    return _given(x, gamma, beta, mean, np.sqrt(var * var + eps)), cache


# -- the units that batch norm is part of ------------------------------------------------------------------


@wrong_forward("conv_bn_relu", "eps-outside-root", "eps is added to the root instead of to the variance.")
def _(x: Any, w: Any, gamma: Any, beta: Any, *, eps: float = 1e-5, **settings: Any) -> Any:
    cache = ops.conv_bn_relu_forward(x, w, gamma, beta, eps=eps, **settings)[1]
    u, _ = ops.conv2d_forward(x, w, **settings)
    mean, var = batch_moments(u)
    normed, _ = normalised(u, gamma, beta, mean, np.sqrt(var) + eps, eps)
    return ops.relu_forward(normed)[0], cache


@wrong_forward(
    "conv_bn_relu", "unbiased-variance", "Batch norm divides by the unbiased variance, over M - 1."
)
def _(x: Any, w: Any, gamma: Any, beta: Any, *, eps: float = 1e-5, **settings: Any) -> Any:
    cache = ops.conv_bn_relu_forward(x, w, gamma, beta, eps=eps, **settings)[1]
    u, _ = ops.conv2d_forward(x, w, **settings)
    mean, var = batch_moments(u)
    m = u[:, 0].size
    normed, _ = normalised(u, gamma, beta, mean, np.sqrt(var * (m / (m - 1)) + eps), eps)
    return ops.relu_forward(normed)[0], cache


@wrong_backward("conv_bn_relu", "constant-statistics", "The batch's statistics are taken for constants.")
def _(dy: Any, cache: Any) -> Any:
    (dv,) = ops.relu_backward(dy, cache.relu)
    _, dgamma, dbeta = ops.batchnorm2d_backward(dv, cache.norm)
    du = per_channel(cache.norm.gamma * cache.norm.rstd) * dv
    dx, dw, _ = ops.conv2d_backward(du, cache.conv)
    return ops.conv_bn_relu_backward(dy, cache)._replace(dx=dx, dw=dw, dgamma=dgamma, dbeta=dbeta)


@wrong_gradients(
    "conv_bn_relu", "dw-averaged", "dw is averaged over the batch; the mean belongs to the loss."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dw=gradients.dw / dy.shape[0])


for _op in ("conv_bn_relu", "conv_bn_relu_inference"):

    @wrong_forward(_op, "flipped-kernel", "The kernel is flipped: frameworks correlate, they don't convolve.")
    def _(x: Any, w: Any, *rest: Any, _op: str = _op, **settings: Any) -> Any:
        y, _ = library(_op, "forward")(x, np.ascontiguousarray(w[:, :, ::-1, ::-1]), *rest, **settings)
        return y, library(_op, "forward")(x, w, *rest, **settings)[1]


@wrong_forward("conv_bn_relu_inference", "no-relu", "The ReLU at the end is missing.")
def _(x: Any, w: Any, *norm: Any, eps: float = 1e-5, **settings: Any) -> Any:
    cache = ops.conv_bn_relu_inference_forward(x, w, *norm, eps=eps, **settings)[1]
    u, _ = ops.conv2d_forward(x, w, **settings)
    return ops.batchnorm2d_inference_forward(u, *norm, eps=eps)[0], cache
