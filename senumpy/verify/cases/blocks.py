"""Cases of squeeze and excitation and of the units built from it.

A hidden ReLU that is dead for every sample hides the whole gate path (about a quarter of random blocks
with two hidden units): these draws are repeated until every hidden unit is alive somewhere and no
pre-activation is close to its kink.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.verify.cases import patterns
from senumpy.verify.cases.spec import Array, Case, Draw

_MARGIN = 0.02  # every hidden pre-activation is at least this far from zero


def _alive(z: Array, w1: Array, b1: Array | None) -> bool:
    """Whether each hidden unit is on for some sample, one is off somewhere, and none is near zero."""
    hidden = z @ w1.T + (0 if b1 is None else b1)  # (N, h)
    on = hidden > 0
    return bool(on.any(0).all() and not on.all() and np.abs(hidden).min() > _MARGIN)


def _gate_alive(z: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None, gate: str) -> bool:
    """Whether a ReLU gate lets something through and is not near its kink; other gates always do."""
    if gate != "relu":
        return True
    hidden = np.maximum(z @ w1.T + (0 if b1 is None else b1), 0)
    logits = hidden @ w2.T + (0 if b2 is None else b2)  # (N, C)
    return bool((logits > 0).any(0).sum() > 1 and not (logits > 0).all() and np.abs(logits).min() > _MARGIN)


def gate_weights(draw: Draw, C: int, hidden: int, *, first: bool, second: bool) -> tuple[Array | None, ...]:
    """Draw w1, b1, w2, b2; None for a bias that is not wanted."""
    n = draw.normal
    return n(hidden, C), n(hidden) if first else None, n(C, hidden), n(C) if second else None


def squeeze(draw: Draw) -> list[Case]:
    """Draw images for both operators of the squeeze."""
    return [
        Case("mean", (draw.normal(2, 3, 4, 5),)),
        Case("mean, one pixel", (draw.normal(3, 2, 1, 1),), {"operator": "avg"}),
        Case("maximum", (draw.spaced(2, 3, 3, 4),), {"operator": "max"}),
        Case(
            "maximum, ties", (np.round(draw.normal(2, 3, 3, 3, scale=0.7)),), {"operator": "max"}, kink=True
        ),
    ]


def excitation(draw: Draw) -> list[Case]:
    """Draw excitations: three gates, biases on either, both and neither layer, and zeros of the ReLU."""

    def case(name: str, N: int, C: int, hidden: int, gate: str, first: bool, second: bool) -> Case:
        def make() -> tuple[Any, ...]:
            return draw.normal(N, C), *gate_weights(draw, C, hidden, first=first, second=second)

        def accept(z: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None) -> bool:
            return _alive(z, w1, b1) and _gate_alive(z, w1, b1, w2, b2, gate)

        return Case(name, draw.until(make, accept), {"gate": gate})

    # One sample is zero, so its first hidden unit is exactly at the kink and the second is on.
    z, w1, b1, w2, b2 = case("", 3, 4, 2, "sigmoid", True, True).args
    z, b1 = z * np.array([[1.0], [0.0], [1.0]], draw.dtype), np.array([0.0, 0.5], draw.dtype)
    return [
        case("sigmoid", 3, 4, 2, "sigmoid", True, True),
        case("sigmoid, no biases", 4, 3, 2, "sigmoid", False, False),
        case("tanh, first bias only", 3, 5, 2, "tanh", True, False),
        case("relu, second bias only", 4, 3, 3, "relu", False, True),
        case("square weights", 3, 3, 3, "sigmoid", True, True),
        Case("hidden ReLU at zero", (z, w1, b1, w2, b2), kink=True),
    ]


def scale(draw: Draw) -> list[Case]:
    """Draw images and one factor a sample and channel."""
    n = draw.normal
    return [
        Case("image", (n(2, 3, 4, 2), n(2, 3))),
        Case("as many samples as channels", (n(3, 3, 2, 2), n(3, 3))),
        Case("one pixel", (n(1, 4, 1, 1), n(1, 4))),
    ]


def block(
    draw: Draw,
    shape: tuple[int, ...],
    hidden: int,
    options: dict[str, str],
    *,
    first: bool = True,
    second: bool = True,
) -> tuple[Any, ...]:
    """Draw (u, w1, b1, w2, b2) of a squeeze-and-excitation block that is alive."""
    N, C = shape[:2]
    gate, operator = options.get("gate", "sigmoid"), options.get("squeeze", "avg")

    def make() -> tuple[Any, ...]:
        level = draw.normal(N, C, 1, 1)  # channels of different mean, or a large image's squeeze is all zero
        image = draw.spaced(*shape) if operator == "max" else draw.normal(*shape)
        return image + level, *gate_weights(draw, C, hidden, first=first, second=second)

    def accept(u: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None) -> bool:
        z = u.mean((2, 3)) if operator == "avg" else u.max((2, 3))
        return _alive(z, w1, b1) and _gate_alive(z, w1, b1, w2, b2, gate)

    return draw.until(make, accept)


def squeeze_excite(draw: Draw) -> list[Case]:
    """Draw blocks; at 56x56 the gate path is a 3,000th of an entry, and must be seen."""

    def case(name: str, shape: tuple[int, ...], hidden: int, options: dict[str, str], **biases: bool) -> Case:
        return Case(name, block(draw, shape, hidden, options, **biases), dict(options))

    return [
        case("paper", (2, 4, 3, 2), 2, {}),
        case("no biases", (3, 3, 2, 3), 2, {}, first=False, second=False),
        case("maximum, tanh", (2, 4, 3, 2), 2, {"squeeze": "max", "gate": "tanh"}, second=False),
        case("ReLU gate", (4, 3, 2, 2), 3, {"gate": "relu"}),
        case("56x56", (2, 3, 56, 56), 2, {}),
    ]


def conv_bn_relu(draw: Draw) -> list[Case]:
    """Draw convolution, batch norm of the batch and ReLU."""
    return _conv_bn_relu(draw, statistics=False)


def conv_bn_relu_inference(draw: Draw) -> list[Case]:
    """Draw convolution, batch norm by given statistics and ReLU."""
    return _conv_bn_relu(draw, statistics=True)


def _conv_bn_relu(draw: Draw, *, statistics: bool) -> list[Case]:
    def case(name: str, x: tuple[int, ...], w: tuple[int, ...], **options: Any) -> Case:
        def make() -> tuple[Any, ...]:
            O = w[0]  # noqa: E741
            extra = (draw.normal(O), draw.positive(O)) if statistics else ()
            return draw.normal(*x), draw.normal(*w), draw.positive(O), draw.normal(O, scale=0.5), *extra

        def accept(*args: Any) -> bool:
            (mask,) = patterns.conv_bn_relu(args, options)
            return bool(mask.any((0, 2, 3)).all() and not mask.all())

        return Case(name, draw.until(make, accept), options)

    return [
        case("3x3, padding 1", (2, 2, 4, 3), (3, 2, 3, 3), padding=1),
        case("stride (2, 1), 2x3", (3, 3, 4, 4), (2, 3, 2, 3), stride=(2, 1)),
        case("groups 2, dilation 2, large eps", (2, 4, 4, 5), (4, 2, 2, 2), groups=2, dilation=2, eps=0.1),
    ]


def residual_tail(draw: Draw) -> list[Case]:
    """Draw residual tails with batch statistics."""
    return _residual_tail(draw, statistics=False)


def residual_tail_inference(draw: Draw) -> list[Case]:
    """Draw residual tails with given statistics."""
    return _residual_tail(draw, statistics=True)


def _residual_tail(draw: Draw, *, statistics: bool) -> list[Case]:
    def case(
        name: str,
        shape: tuple[int, ...],
        hidden: int,
        *,
        first: bool = True,
        second: bool = True,
        **options: Any,
    ) -> Case:
        C = shape[1]

        def make() -> tuple[Any, ...]:
            c = draw.normal(*shape) + draw.normal(shape[0], C, 1, 1)
            extra = (draw.normal(C), draw.positive(C)) if statistics else ()
            weights = gate_weights(draw, C, hidden, first=first, second=second) if hidden else (None,) * 4
            normalisation = (draw.positive(C), draw.normal(C), *extra)
            return c, *normalisation, *weights, draw.normal(*shape)

        def accept(*args: Any) -> bool:
            # Every mask is on somewhere and off somewhere; every hidden unit is on for some sample.
            masks = [mask for mask in patterns.residual_tail(args, options) if mask.dtype == bool]
            return all(mask.any(0).all() if mask.ndim == 2 else mask.any() for mask in masks) and not any(
                mask.all() for mask in masks
            )

        return Case(name, draw.until(make, accept), options)

    return [
        case("sigmoid", (3, 4, 3, 2), 2),
        case("no biases", (3, 3, 2, 3), 2, first=False, second=False, eps=0.1),
        case("maximum, tanh", (2, 4, 3, 2), 2, first=False, squeeze="max", gate="tanh"),
        case("ReLU gate", (4, 3, 2, 2), 3, gate="relu"),
        case("without SE", (2, 3, 3, 2), 0),
    ]
