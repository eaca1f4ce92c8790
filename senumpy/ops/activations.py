"""Activations, entry by entry: ReLU, sigmoid, tanh.

relu(x)    = max(x, 0)              relu'(x)    = 1 if x > 0 else 0     (0 at the kink, as in every framework)
sigmoid(x) = 1 / (1 + exp(-x))      sigmoid'(x) = y (1 - y)
tanh(x)                             tanh'(x)    = 1 - y^2
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.arrays import Array, check_array, check_upstream, namespace


class ReLUCache(NamedTuple):
    """Where the input was positive."""

    mask: Array
    dtype: Any


class ReLUGradients(NamedTuple):
    """Gradient of the one argument."""

    dx: Array


def relu_forward(x: Array) -> tuple[Array, ReLUCache]:
    """Return max(x, 0) for an array of any shape, and its cache. NaN stays NaN."""
    check_array("x", x)
    y = namespace(x).maximum(x, 0.0)  # not x * mask, which is NaN at -inf
    return y, ReLUCache(x.real > 0, x.dtype)


# y changes with x where x > 0 and is constant elsewhere: dx = dy relu'(x). The upstream gradient belongs to
# the caller, who may need it for a second branch: the result is a new array.
def relu_backward(dy: Array, cache: ReLUCache) -> ReLUGradients:
    """Return dy where the input was positive, else 0."""
    check_upstream(dy, cache.mask.shape, cache.dtype)
    # exercise relu_backward: 1 point, level 1, lesson 3 "ReLU"
    return ReLUGradients(dy * namespace(dy).astype(cache.mask, dy.dtype))
    # end of exercise


class SigmoidCache(NamedTuple):
    """The result of the forward."""

    y: Array


class SigmoidGradients(NamedTuple):
    """Gradient of the one argument."""

    dx: Array


def sigmoid_forward(x: Array) -> tuple[Array, SigmoidCache]:
    """Return 1 / (1 + exp(-x)) for an array of any shape, and its cache; no overflow at any x."""
    check_array("x", x)
    # exercise sigmoid_forward: 1 point, level 2, lesson 3 "A sigmoid that does not overflow"
    xp = namespace(x)
    positive = x.real >= 0
    decay = xp.exp(xp.where(positive, -x, x))  # exp(-|x|) <= 1
    y = xp.where(positive, xp.ones_like(x), decay) / (1.0 + decay)
    return y, SigmoidCache(y)
    # end of exercise


# y = 1/(1 + e) with e = exp(-x), de/dx = -e:  dy/dx = e / (1 + e)^2 = y (1 - y).
def sigmoid_backward(dy: Array, cache: SigmoidCache) -> SigmoidGradients:
    """Return dy y (1 - y)."""
    y = cache.y
    check_upstream(dy, y.shape, y.dtype)
    return SigmoidGradients(dy * y * (1.0 - y))


class TanhCache(NamedTuple):
    """The result of the forward."""

    y: Array


class TanhGradients(NamedTuple):
    """Gradient of the one argument."""

    dx: Array


def tanh_forward(x: Array) -> tuple[Array, TanhCache]:
    """Return tanh(x) for an array of any shape, and its cache."""
    check_array("x", x)
    y = namespace(x).tanh(x)
    return y, TanhCache(y)


# tanh = sinh / cosh, so tanh' = (cosh^2 - sinh^2) / cosh^2 = 1 - tanh^2.
def tanh_backward(dy: Array, cache: TanhCache) -> TanhGradients:
    """Return dy (1 - y^2)."""
    y = cache.y
    check_upstream(dy, y.shape, y.dtype)
    return TanhGradients(dy * (1.0 - y * y))
