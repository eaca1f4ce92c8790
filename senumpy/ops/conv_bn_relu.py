"""The most common unit of the paper's networks: convolution without bias, batch norm, ReLU.

    y = relu(BN(conv2d(x, w)))

A bias before batch norm would be subtracted with the mean: there is none. In batch norm's two modes, as
compositions; an engine may run them in one go.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.activations import ReLUCache, relu_backward, relu_forward
from senumpy.ops.arrays import Array
from senumpy.ops.batchnorm import batchnorm2d_backward, batchnorm2d_forward
from senumpy.ops.batchnorm_inference import batchnorm2d_inference_backward, batchnorm2d_inference_forward
from senumpy.ops.conv2d import Conv2dCache, conv2d_backward, conv2d_forward
from senumpy.ops.windows import IntOrPair


class ConvBNReLUCache(NamedTuple):
    """The caches of the three steps."""

    conv: Conv2dCache
    norm: Any  # BatchNorm2dCache, or BatchNorm2dInferenceCache
    relu: ReLUCache

    @property
    def mean(self) -> Array:
        """Mean of the batch, (O,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (O,)."""
        return self.norm.var


class ConvBNReLUGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    dx: Array | None
    dw: Array
    dgamma: Array
    dbeta: Array


def conv_bn_relu_forward(
    x: Array,
    w: Array,
    gamma: Array,
    beta: Array,
    *,
    eps: float = 1e-5,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, ConvBNReLUCache]:
    """Run convolution, batch norm and ReLU, with the statistics of the batch.

    Parameters
    ----------
    x : (N, C, H, W) array, float32 or float64
    w : (O, C/groups, kh, kw) array
    gamma, beta : (O,) arrays
    eps, stride, padding, dilation, groups
        As in `batchnorm2d_forward` and `conv2d_forward`.

    Returns
    -------
    y : (N, O, H', W') array
    cache : ConvBNReLUCache
    """
    u, conv = conv2d_forward(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    v, norm = batchnorm2d_forward(u, gamma, beta, eps=eps)
    y, relu = relu_forward(v)
    return y, ConvBNReLUCache(conv, norm, relu)


def conv_bn_relu_backward(dy: Array, cache: ConvBNReLUCache, *, need_dx: bool = True) -> ConvBNReLUGradients:
    """Return the gradients of `conv_bn_relu_forward` for an upstream gradient `dy` (N, O, H', W')."""
    # exercise conv_bn_relu_backward: 2 points, level 2, lesson 10 "The chain of a unit";
    #   given: relu_backward, batchnorm2d_backward, conv2d_backward
    (dv,) = relu_backward(dy, cache.relu)
    du, dgamma, dbeta = batchnorm2d_backward(dv, cache.norm)
    dx, dw, _ = conv2d_backward(du, cache.conv, need_dx=need_dx)
    return ConvBNReLUGradients(dx, dw, dgamma, dbeta)
    # end of exercise


class ConvBNReLUInferenceGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    dx: Array | None
    dw: Array
    dgamma: Array
    dbeta: Array
    dmean: Array
    dvar: Array


def conv_bn_relu_inference_forward(
    x: Array,
    w: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    *,
    eps: float = 1e-5,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
) -> tuple[Array, ConvBNReLUCache]:
    """Run the same with given (running) statistics `mean` and `var`, both (O,)."""
    u, conv = conv2d_forward(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
    v, norm = batchnorm2d_inference_forward(u, gamma, beta, mean, var, eps=eps)
    y, relu = relu_forward(v)
    return y, ConvBNReLUCache(conv, norm, relu)


def conv_bn_relu_inference_backward(
    dy: Array, cache: ConvBNReLUCache, *, need_dx: bool = True
) -> ConvBNReLUInferenceGradients:
    """Return the gradients of `conv_bn_relu_inference_forward` for an upstream gradient `dy`."""
    (dv,) = relu_backward(dy, cache.relu)
    du, dgamma, dbeta, dmean, dvar = batchnorm2d_inference_backward(dv, cache.norm)
    dx, dw, _ = conv2d_backward(du, cache.conv, need_dx=need_dx)
    return ConvBNReLUInferenceGradients(dx, dw, dgamma, dbeta, dmean, dvar)
