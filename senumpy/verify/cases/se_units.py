"""Cases of the units around SE."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.verify.cases import patterns
from senumpy.verify.cases.blocks import block, gate_weights
from senumpy.verify.cases.spec import Case, Draw


def bn_relu_se(draw: Draw) -> list[Case]:
    """Draw batch norm, ReLU and SE; ReLU and hidden units are on somewhere and off somewhere."""

    def case(name: str, shape: tuple[int, ...], hidden: int, **options: Any) -> Case:
        C = shape[1]

        def make() -> tuple[Any, ...]:
            c = draw.normal(*shape) + draw.normal(shape[0], C, 1, 1)
            weights = gate_weights(draw, C, hidden, first="no biases" not in name, second="no" not in name)
            return c, draw.positive(C), draw.normal(C, scale=0.5), *weights

        def accept(*args: Any) -> bool:
            masks = [mask for mask in patterns.bn_relu_se(args, options) if mask.dtype == bool]
            return all(mask.any(0).all() if mask.ndim == 2 else mask.any() for mask in masks) and not any(
                mask.all() for mask in masks
            )

        return Case(name, draw.until(make, accept), options)

    return [
        case("sigmoid", (3, 4, 3, 2), 2),
        case("no biases, large eps", (3, 3, 2, 3), 2, eps=0.1),
        case("maximum, tanh, no second bias", (2, 4, 3, 2), 2, squeeze="max", gate="tanh"),
        case("ReLU gate", (4, 3, 2, 2), 3, gate="relu"),
    ]


def concat_se(draw: Draw) -> list[Case]:
    """Draw blocks and cut them into branches."""

    def case(
        name: str, shape: tuple[int, ...], cuts: list[int], hidden: int, options: dict[str, str]
    ) -> Case:
        u, *weights = block(draw, shape, hidden, options, first="no biases" not in name)
        return Case(name, ([part.copy() for part in np.split(u, cuts, axis=1)], *weights), dict(options))

    return [
        case("three branches", (2, 6, 3, 2), [1, 4], 2, {}),
        case("no biases in front", (3, 4, 2, 3), [2], 2, {"gate": "tanh"}),
        case("maximum, one branch", (2, 4, 3, 2), [], 2, {"squeeze": "max"}),
        case("ReLU gate", (4, 3, 2, 2), [1], 3, {"gate": "relu"}),
    ]


def se_add(draw: Draw) -> list[Case]:
    """Draw blocks and shortcuts."""

    def case(name: str, shape: tuple[int, ...], hidden: int, options: dict[str, str], **bias: bool) -> Case:
        return Case(name, (*block(draw, shape, hidden, options, **bias), draw.normal(*shape)), dict(options))

    return [
        case("sigmoid", (2, 4, 3, 2), 2, {}),
        case("no biases", (3, 3, 2, 3), 2, {}, first=False, second=False),
        case("maximum, tanh", (2, 4, 3, 2), 2, {"squeeze": "max", "gate": "tanh"}, second=False),
        case("ReLU gate", (4, 3, 2, 2), 3, {"gate": "relu"}),
    ]
