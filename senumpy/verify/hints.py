"""What the numbers say about the mistake: telling ratios and shapes of the difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_AXES = {4: ("N", "C", "H", "W"), 3: ("N", "C", "L"), 2: ("N", "C"), 1: ("C",)}


def sizes_of(shapes: Mapping[str, tuple[int, ...]], result: tuple[int, ...]) -> dict[str, int]:
    """Return the sizes that a factor may be made of, by a readable name, from the shapes of a call."""
    largest = max(shapes.values(), key=lambda shape: (len(shape), int(np.prod(shape))))
    axes = dict(zip(_AXES.get(len(largest), ()), largest, strict=False))
    sizes = dict(axes)
    if {"H", "W"} <= axes.keys():
        space = axes["H"] * axes["W"]
        sizes |= {"H*W": space, "N*H*W": axes["N"] * space, "C*H*W": axes["C"] * space}
    if len(result) == 4 and result[2:] != largest[2:]:
        sizes |= {"H'*W'": result[2] * result[3], "N*H'*W'": result[0] * result[2] * result[3]}
    if len(result) > 1 and result[1] != axes.get("C"):
        sizes["C'"] = result[1]
    return {name: size for name, size in sizes.items() if size > 1}


def explain_ratio(ratio: float, sizes: Mapping[str, int]) -> str:
    """Return what a factor of `ratio` between got and expected value usually comes from; may be empty."""
    telling = [
        (0.0, "is zero: the gradient is missing"),
        (-1.0, "has the wrong sign"),
        (2.0, "is doubled: counted twice, or a factor 1/2 is missing"),
        (0.5, "is halved"),
        (-2.0, "is doubled and has the wrong sign"),
        (-0.5, "is halved and has the wrong sign"),
    ]
    for name, size in sizes.items():
        telling += [
            (float(size), f"is {name} = {size} times too large: a mean is treated as a sum"),
            (1 / size, f"is {name} = {size} times too small: divided once too often, or a sum is missing"),
            (-float(size), f"has the wrong sign and is {name} = {size} times too large"),
            (-1 / size, f"has the wrong sign and is {name} = {size} times too small"),
        ]
        if size > 2:
            telling += [
                (size / (size - 1), f"is {name}/({name}-1) = {size}/{size - 1} times too large: M - 1 for M"),
                ((size - 1) / size, f"is {name}/({name}-1) = {size}/{size - 1} times too small: M for M - 1"),
            ]
    matches = list(
        dict.fromkeys(text for value, text in telling if abs(ratio - value) <= 1e-6 * max(1, abs(value)))
    )
    return "; or ".join(matches[:2])


def explain(got: Array, expected: Array, sizes: Mapping[str, int]) -> str:
    """Return a hint from whole gradients, or from what is known of them.

    Parameters
    ----------
    got, expected : array
        Of the argument's shape where every coordinate is known, else flat lists of directional derivatives.
    sizes : mapping
        From `sizes_of`.
    """
    difference = got - expected
    scale = np.abs(expected).max(initial=0)
    if not scale or not np.isfinite(got).all():
        return ""
    wrong = np.abs(difference) > 1e-6 * scale
    if not wrong.any():
        return ""
    ratio = (
        float((got[wrong] * expected[wrong]).sum() / (expected[wrong] ** 2).sum())
        if (expected[wrong] ** 2).sum()
        else np.nan
    )
    if np.abs(got[wrong] - ratio * expected[wrong]).max() <= 1e-6 * scale:
        text = explain_ratio(ratio, sizes)
        which = "every entry" if wrong.mean() > 0.9 else f"every wrong entry ({wrong.sum()} of {wrong.size})"
        return f"{which} {text}" if text else ""
    if got.ndim == 2 and got.shape[0] == got.shape[1] and np.abs(got.T - expected).max() <= 1e-6 * scale:
        return "it is the transpose of the right gradient"
    if got.ndim == 4 and difference[0, 0].size > 1:
        if (
            np.abs(difference - difference.mean((2, 3), keepdims=True)).max()
            <= 1e-6 * np.abs(difference).max()
        ):
            return (
                "the difference is constant over space: a term with a mean or sum over space (gate path, "
                "mean term) is missing or wrong"
            )
        if np.abs(got[..., ::-1, ::-1] - expected).max() <= 1e-6 * scale:
            return "it is the right gradient flipped in space"
    return ""
