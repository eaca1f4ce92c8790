"""Activations, one number at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.naive.precision import double
from senumpy.ops.activations import ReLUGradients, SigmoidGradients, TanhGradients
from senumpy.ops.arrays import Array


class ActivationCache(NamedTuple):
    """The argument."""

    x: Array


def relu(x: float) -> float:
    """Return max(x, 0); NaN stays NaN."""
    return 0.0 if x <= 0 else x


def relu_slope(x: float) -> float:
    """Return the derivative of `relu`: 0 at the kink, by convention."""
    return 1.0 if x > 0 else 0.0


def sigmoid(x: float) -> float:
    """Return 1 / (1 + exp(-x)); for a negative x as exp(x) / (1 + exp(x)), which can't overflow."""
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def sigmoid_slope(x: float) -> float:
    """Return the derivative of `sigmoid`: exp(-|x|) / (1 + exp(-|x|))^2, the same on both sides."""
    e = math.exp(-abs(x))
    return e / (1.0 + e) ** 2


def tanh_slope(x: float) -> float:
    """Return the derivative of tanh: 1 / cosh(x)^2 = 4 e / (1 + e)^2 with e = exp(-2 |x|)."""
    e = math.exp(-2.0 * abs(x))
    return 4.0 * e / (1.0 + e) ** 2


def relu_forward(x: Array) -> tuple[Array, Any]:
    """Return max(x, 0) for an array of any shape."""
    return _each(relu, x), ActivationCache(x)


def relu_backward(dy: Array, cache: Any) -> ReLUGradients:
    """Return the gradient for an upstream gradient `dy`."""
    return ReLUGradients(_chain(relu_slope, dy, cache.x))


def sigmoid_forward(x: Array) -> tuple[Array, Any]:
    """Return the sigmoid for an array of any shape."""
    return _each(sigmoid, x), ActivationCache(x)


def sigmoid_backward(dy: Array, cache: Any) -> SigmoidGradients:
    """Return the gradient for an upstream gradient `dy`."""
    return SigmoidGradients(_chain(sigmoid_slope, dy, cache.x))


def tanh_forward(x: Array) -> tuple[Array, Any]:
    """Return tanh for an array of any shape."""
    return _each(math.tanh, x), ActivationCache(x)


def tanh_backward(dy: Array, cache: Any) -> TanhGradients:
    """Return the gradient for an upstream gradient `dy`."""
    return TanhGradients(_chain(tanh_slope, dy, cache.x))


def _each(function: Callable[[float], float], x: Array) -> Array:
    """Return function(x), entry by entry."""
    y = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        y[index] = function(float(x[index]))
    return y.astype(x.dtype)


def _chain(slope: Callable[[float], float], dy: Array, x: Array) -> Array:
    """Return slope(x) dy, entry by entry."""
    dx, dy64 = np.zeros(x.shape), double(dy)
    for index in np.ndindex(x.shape):
        dx[index] = slope(float(x[index])) * dy64[index]
    return dx.astype(dy.dtype)
