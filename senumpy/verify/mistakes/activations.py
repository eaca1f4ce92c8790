"""Mistakes in ReLU, sigmoid and tanh."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.activations import ReLUGradients, SigmoidGradients, TanhGradients
from senumpy.verify.mistakes.registry import wrong_backward, wrong_forward


@wrong_forward("relu", "leaky", "Negative inputs pass with a slope: that is a leaky ReLU.")
def _(x: Any) -> Any:
    return np.where(x.real > 0, x, 0.01 * x), ops.relu_forward(x)[1]


@wrong_forward("relu", "absolute-value", "Negative inputs are mirrored instead of cut off.")
def _(x: Any) -> Any:
    return np.sign(x.real) * x, ops.relu_forward(x)[1]


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


@wrong_forward(
    "sigmoid", "hard-sigmoid", "It is the hard sigmoid of MobileNetV3 and PyTorch, relu6(x + 3) / 6."
)
def _(x: Any) -> Any:
    return hard_sigmoid(x), ops.sigmoid_forward(x)[1]


@wrong_forward("sigmoid", "hard-sigmoid-onnx", "It is ONNX's hard sigmoid: 0.2 x + 0.5, cut to 0 and 1.")
def _(x: Any) -> Any:
    return hard_sigmoid(x, 0.2, 0.5), ops.sigmoid_forward(x)[1]


@wrong_forward("tanh", "hard-tanh", "It is the hard tanh: x, cut to -1 and 1.")
def _(x: Any) -> Any:
    return np.where(abs(x.real) < 1, x, np.sign(x.real)), ops.tanh_forward(x)[1]


@wrong_forward("tanh", "sigmoid", "It is the sigmoid.")
def _(x: Any) -> Any:
    return ops.sigmoid_forward(x)[0], ops.tanh_forward(x)[1]


def hard_sigmoid(x: Any, slope: float = 1 / 6, offset: float = 0.5) -> Any:
    """Return slope x + offset, cut to 0 and 1."""
    line = slope * x + offset
    return np.where((line.real > 0) & (line.real < 1), line, line.real >= 1)
