"""Mistakes in ReLU, sigmoid and tanh."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.activations import ReLUGradients, SigmoidGradients, TanhGradients
from senumpy.verify.mistakes.registry import MISTAKES, Mistake, wrong_backward, wrong_forward


@wrong_forward("relu", "leaky", "Negative inputs pass with a slope: that is a leaky ReLU.")
def _(x: Any) -> Any:
    return np.where(x.real > 0, x, 0.01 * x), ops.relu_forward(x)[1]


@wrong_forward("relu", "absolute-value", "Negative inputs are mirrored instead of cut off.")
def _(x: Any) -> Any:
    return np.where(x.real > 0, x, -x), ops.relu_forward(x)[1]


@wrong_backward("relu", "wrong-side", "The gradient passes where the input was negative.")
def _(dy: Any, cache: Any) -> Any:
    return ReLUGradients(dy * ~cache.mask)


@wrong_backward("relu", "no-mask", "The gradient passes everywhere.")
def _(dy: Any, cache: Any) -> Any:
    return ReLUGradients(dy.copy())


@wrong_backward(
    "relu", "overwrites-upstream", "The caller's gradient is changed in place; a second branch needs it."
)
def _(dy: Any, cache: Any) -> Any:
    dy *= cache.mask
    return ReLUGradients(dy)


def _relu_with_input(x: Any) -> Any:
    return ops.relu_forward(x)[0], x


def _passes_at_zero(dy: Any, cache: Any) -> Any:
    return ReLUGradients(dy * (cache >= 0))


MISTAKES.append(
    Mistake(
        "relu",
        "derivative-1-at-zero",
        "The gradient passes at 0 too, where the convention of every framework is a derivative of 0.",
        _relu_with_input,
        _passes_at_zero,
    )
)


@wrong_backward("sigmoid", "one-plus-s", "The derivative is s (1 + s) instead of s (1 - s).")
def _(dy: Any, cache: Any) -> Any:
    return SigmoidGradients(dy * cache.y * (1.0 + cache.y))


@wrong_backward("sigmoid", "no-upstream", "The upstream gradient is left out of the product.")
def _(dy: Any, cache: Any) -> Any:
    return SigmoidGradients(cache.y * (1.0 - cache.y))


@wrong_backward(
    "sigmoid", "applied-twice", "The derivative is taken at the result: sigmoid is applied a second time."
)
def _(dy: Any, cache: Any) -> Any:
    again, _ = ops.sigmoid_forward(cache.y)
    return SigmoidGradients(dy * again * (1.0 - again))


@wrong_backward("tanh", "one-minus-y", "The derivative is 1 - y instead of 1 - y^2.")
def _(dy: Any, cache: Any) -> Any:
    return TanhGradients(dy * (1.0 - cache.y))


@wrong_backward("tanh", "sigmoid-derivative", "The derivative is that of the sigmoid, y (1 - y).")
def _(dy: Any, cache: Any) -> Any:
    return TanhGradients(dy * cache.y * (1.0 - cache.y))
