"""The units, composed of the naive operations; float64 from end to end."""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.engines.naive.activation import relu_backward, relu_forward
from senumpy.engines.naive.conv import Pair, conv2d_backward, conv2d_forward
from senumpy.engines.naive.norm import (
    batchnorm2d_backward,
    batchnorm2d_forward,
    batchnorm2d_inference_backward,
    batchnorm2d_inference_forward,
)
from senumpy.engines.naive.precision import double, doubles, rounded
from senumpy.engines.naive.squeeze_excite import squeeze_excite_backward, squeeze_excite_forward
from senumpy.engines.naive.structure import residual_add_backward, residual_add_forward
from senumpy.ops.arrays import Array
from senumpy.ops.conv_bn_relu import ConvBNReLUGradients, ConvBNReLUInferenceGradients
from senumpy.ops.residual_tail import ResidualTailGradients, ResidualTailInferenceGradients


class ConvBNReLUCache(NamedTuple):
    """The caches of the steps, and batch norm's statistics."""

    conv: Any
    norm: Any
    relu: Any
    mean: Array
    var: Array


def conv_bn_relu_forward(
    x: Array,
    w: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float = 1e-5,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> tuple[Array, Any]:
    """Run convolution, batch norm with the statistics of the batch, and ReLU."""
    x64, w64, gamma64, beta64 = doubles(x, w, gamma, beta)
    u, conv = conv2d_forward(x64, w64, stride=stride, padding=padding, dilation=dilation, groups=groups)
    v, norm = batchnorm2d_forward(u, gamma64, beta64, eps=eps)
    y, relu = relu_forward(v)
    return y.astype(x.dtype), ConvBNReLUCache(conv, norm, relu, *rounded((norm.mean, norm.var), x))


def conv_bn_relu_backward(dy: Array, cache: Any, *, need_dx: bool = True) -> ConvBNReLUGradients:
    """Return the gradients for an upstream gradient `dy` (N, O, H', W')."""
    dv = relu_backward(double(dy), cache.relu).dx
    du, dgamma, dbeta = batchnorm2d_backward(dv, cache.norm)
    dx, dw, _ = conv2d_backward(du, cache.conv, need_dx=need_dx)
    return ConvBNReLUGradients(*rounded((dx, dw, dgamma, dbeta), dy))


def conv_bn_relu_inference_forward(
    x: Array,
    w: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    *,
    eps: float = 1e-5,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> tuple[Array, Any]:
    """Run convolution, batch norm with the given statistics, and ReLU."""
    x64, w64, *norm64 = doubles(x, w, gamma, beta, mean, var)
    u, conv = conv2d_forward(x64, w64, stride=stride, padding=padding, dilation=dilation, groups=groups)
    v, norm = batchnorm2d_inference_forward(u, *norm64, eps=eps)
    y, relu = relu_forward(v)
    return y.astype(x.dtype), ConvBNReLUCache(conv, norm, relu, mean, var)


def conv_bn_relu_inference_backward(
    dy: Array, cache: Any, *, need_dx: bool = True
) -> ConvBNReLUInferenceGradients:
    """Return the gradients for an upstream gradient `dy` (N, O, H', W')."""
    dv = relu_backward(double(dy), cache.relu).dx
    du, *dnorm = batchnorm2d_inference_backward(dv, cache.norm)
    dx, dw, _ = conv2d_backward(du, cache.conv, need_dx=need_dx)
    return ConvBNReLUInferenceGradients(*rounded((dx, dw, *dnorm), dy))


class ResidualTailCache(NamedTuple):
    """The caches of the steps, and batch norm's statistics."""

    norm: Any
    se: Any
    add: Any
    relu: Any
    mean: Array
    var: Array


def residual_tail_forward(
    c: Array,
    gamma: Array,
    beta: Array,
    w1: Array | None,
    b1: Array | None,
    w2: Array | None,
    b2: Array | None,
    shortcut: Array,
    *,
    eps: float = 1e-5,
    squeeze: str = "avg",
    gate: str = "sigmoid",
) -> tuple[Array, Any]:
    """Run batch norm with the statistics of the batch, SE (unless w1 is None), addition and ReLU."""
    v, norm = batchnorm2d_forward(*doubles(c, gamma, beta), eps=eps)
    y, caches = _after_norm(v, (w1, b1, w2, b2), shortcut, squeeze, gate)
    return y.astype(c.dtype), ResidualTailCache(norm, *caches, *rounded((norm.mean, norm.var), c))


def residual_tail_backward(dy: Array, cache: Any) -> ResidualTailGradients:
    """Return the gradients for an upstream gradient `dy` (N, C, H, W)."""
    dv, dse, dshortcut = _before_norm(double(dy), cache)
    dnorm = batchnorm2d_backward(dv, cache.norm)
    return ResidualTailGradients(*rounded((*dnorm, *dse, dshortcut), dy))


def residual_tail_inference_forward(
    c: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    w1: Array | None,
    b1: Array | None,
    w2: Array | None,
    b2: Array | None,
    shortcut: Array,
    *,
    eps: float = 1e-5,
    squeeze: str = "avg",
    gate: str = "sigmoid",
) -> tuple[Array, Any]:
    """Run batch norm with the given statistics, SE (unless w1 is None), addition and ReLU."""
    v, norm = batchnorm2d_inference_forward(*doubles(c, gamma, beta, mean, var), eps=eps)
    y, caches = _after_norm(v, (w1, b1, w2, b2), shortcut, squeeze, gate)
    return y.astype(c.dtype), ResidualTailCache(norm, *caches, mean, var)


def residual_tail_inference_backward(dy: Array, cache: Any) -> ResidualTailInferenceGradients:
    """Return the gradients for an upstream gradient `dy` (N, C, H, W)."""
    dv, dse, dshortcut = _before_norm(double(dy), cache)
    dnorm = batchnorm2d_inference_backward(dv, cache.norm)
    return ResidualTailInferenceGradients(*rounded((*dnorm, *dse, dshortcut), dy))


def _after_norm(
    v: Array, se_arguments: tuple[Array | None, ...], shortcut: Array, squeeze: str, gate: str
) -> tuple[Array, tuple[Any, Any, Any]]:
    se = None
    if se_arguments[0] is not None:
        v, se = squeeze_excite_forward(v, *doubles(*se_arguments), squeeze=squeeze, gate=gate)
    total, add = residual_add_forward(v, double(shortcut))
    y, relu = relu_forward(total)
    return y, (se, add, relu)


def _before_norm(dy: Array, cache: ResidualTailCache) -> tuple[Array, tuple[Any, ...], Array]:
    dtotal = relu_backward(dy, cache.relu).dx
    dv, dshortcut = residual_add_backward(dtotal, cache.add)
    if cache.se is None:
        return dv, (None, None, None, None), dshortcut
    dv, *dse = squeeze_excite_backward(dv, cache.se)
    return dv, tuple(dse), dshortcut
