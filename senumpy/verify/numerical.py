"""Numerical derivatives along a direction, each with an estimate of its own error.

Complex step
    Along v, f(x + ihv) = f(x) + ih f'(x)v - h^2 f''(x)[v,v]/2 - ..., so

        f'(x) v = Im f(x + ihv) / h + O(h^2).

    Nothing is subtracted, so nothing cancels: with h = 1e-30 the truncation error is 1e-60 and the result
    is exact to rounding. It needs an f that is analytic at x and written without |z|, conj, or casts.
    Squire & Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 1998;
    Martins, Sturdza & Alonso, "The complex-step derivative approximation", ACM TOMS 2003.

Richardson extrapolation
    The central difference D(h) = (f(x + hv) - f(x - hv)) / 2h = f'v + a h^2 + b h^4 + O(h^6), so

        D'(h)  = (4 D(h/2) - D(h)) / 3        has no h^2 term,
        D''(h) = (16 D'(h/2) - D'(h)) / 15    has no h^4 term either.

    |D'' - D'(h/2)| estimates what the last extrapolation still changed. The same trick on one-sided
    differences (f(x + hv) - f(x)) / h, whose error has every power of h, gives the derivatives on the two
    sides of a kink.
    Richardson, "The approximate arithmetical solution by finite differences", Phil. Trans. A 1911.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Function = Callable[[Array], Array]
SamePiece = Callable[[Array], bool]

EPS = float(np.finfo(np.float64).eps)
COMPLEX_STEP = 1e-30
# Relative to the spread of x. The first is a little below the optimum eps^(1/7) of the sixth-order formula,
# so that rounding dominates, which is easier to estimate than truncation; the others are for functions
# that bend sharply or have a kink nearby.
STEPS = (4e-3, 1e-3, 1e-4, 1e-5, 1e-6)
SETTLED = 2e-10  # relative error estimate at which no smaller step is tried


def complex_step(f: Function, x: Array, v: Array, h: float = COMPLEX_STEP) -> Array:
    """Return f'(x) v as a flat array; `f` has to take and return complex arrays.

    Parameters
    ----------
    f : callable
        Array like `x` -> array.
    x, v : array
        The point and the direction, of equal shapes.
    h : float
        The step.
    """
    # exercise complex_step: 1 point, level 1, lesson 2 "The complex step"
    return f(x + 1j * (h * v)).imag.ravel() / h
    # end of exercise


def central_difference(f: Function, x: Array, v: Array, h: float) -> Array:
    """Return (f(x + hv) - f(x - hv)) / 2h, which approximates f'(x) v, as a flat array.

    Parameters
    ----------
    f : callable
        Array like `x` -> array.
    x, v : array
        The point and the direction, of equal shapes.
    h : float
        The step.
    """
    # exercise central_difference: 1 point, level 1, lesson 2 "Finite differences"
    return (f(x + h * v) - f(x - h * v)).ravel() / (2 * h)
    # end of exercise


@dataclass(frozen=True)
class Opinion:
    """Directional derivatives of K weighted sums <u_k, f> by differences.

    Attributes
    ----------
    value, error : (K,) array
        Central differences, extrapolated, and the estimate of their error (truncation and rounding).
    summed : (K,) array
        |u_k| . |f'v|: what was added up, before anything cancelled.
    kink : bool
        x itself is at a kink along this direction; then `value` means nothing.
    lower, upper : (K,) array
        The range between the one-sided derivatives, output by output, and `value` where there is no kink.
    settled : bool
        The error is so small already that no other step needs to be tried.
    """

    value: Array
    error: Array
    summed: Array
    kink: bool
    lower: Array
    upper: Array
    settled: bool


def differences(
    f: Function,
    x: Array,
    y: Array,
    v: Array,
    u: Array,
    noise: float = 0.0,
    same_piece: SamePiece | None = None,
) -> Opinion:
    """Return the derivatives of <u_k, f(x)> along `v`, from the step that promises the smallest error.

    Parameters
    ----------
    f : callable
    x : array
        The point.
    y : array
        f(x).
    v : array
        Direction, of x's shape.
    u : (K, y.size) array
        Upstream gradients.
    noise : float
        Error of a value of f by rounding, where that is more than the rounding of the value itself.
    same_piece : callable, optional
        Whether the activation pattern at a point is that of `x`. A step over which it changes is not used;
        if it changes over the smallest, x is at a kink. None: kinks show as one-sided derivatives that
        disagree at every step.
    """
    rounding = np.maximum(8 * EPS * np.abs(y.ravel()), noise)
    spread = _spread(x)
    opinions = []
    for relative in STEPS:
        h = relative * spread
        crossing = same_piece is not None and not (same_piece(x + h * v) and same_piece(x - h * v))
        if crossing and relative != STEPS[-1]:
            continue
        opinions.append(_at_step(f, x, y, v, u, h, rounding, crossing if same_piece is not None else None))
        if opinions[-1].settled:
            break
    return min(opinions, key=lambda opinion: (opinion.kink, opinion.error.max()))


def slopes_nearby(f: Function, x: Array, v: Array, u: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the range of the derivatives of <u_k, f> along `v` over points scattered closely around `x`.

    Where several kinks meet in one output, each convention may choose a side of each of them, and the two
    one-sided derivatives along `v` don't span what is right; the derivatives on the pieces around x do
    (their hull is Clarke's generalised gradient).
    """
    spread = _spread(x)
    low, high = np.full(len(u), np.inf), np.full(len(u), -np.inf)
    for _ in range(24):
        near = x + 1e-4 * spread * rng.standard_normal(x.shape)
        slope = central_difference(f, near, v, 1e-7 * spread)
        low, high = np.minimum(low, u @ slope), np.maximum(high, u @ slope)
    doubt = 1e-3 * np.maximum(np.abs(low), np.abs(high))
    return low - doubt, high + doubt


def _at_step(
    f: Function, x: Array, y: Array, v: Array, u: Array, h: float, noise: Array, kink: bool | None
) -> Opinion:
    """Return the opinion of steps h, h/2 and h/4; a `kink` of None is decided by the one-sided slopes."""
    steps = (h, h / 2, h / 4)
    y = y.ravel()
    ahead = [f(x + step * v).ravel() for step in steps]
    behind = [f(x - step * v).ravel() for step in steps]
    right, right_error = _extrapolate([(a - y) / s for a, s in zip(ahead, steps, strict=True)], (2, 4))
    left, left_error = _extrapolate([(y - b) / s for b, s in zip(behind, steps, strict=True)], (2, 4))
    central, truncation = _extrapolate(
        [(a - b) / (2 * s) for a, b, s in zip(ahead, behind, steps, strict=True)], (4, 16)
    )
    # Rounding of the values, and of x + hv, which is that much of a step.
    rounding = noise / h + EPS * float(np.abs(x).max()) / (h * float(np.abs(v).max())) * np.abs(central)
    if kink is None:
        # One-sided slopes of a smooth function agree as far as they are known; at a kink they jump.
        doubt = 20 * (right_error + left_error + rounding) + 1e-7 * np.abs(central).max(initial=0)
        kink = bool((np.abs(right - left) > doubt).any())
    value, summed = u @ central, np.abs(u) @ np.abs(central)
    # Truncation errors may add up or cancel over outputs, rounding errors are independent.
    error = np.abs(u @ truncation) + np.sqrt(u**2 @ (truncation**2 + rounding**2))
    error = np.where(np.isnan(error), np.inf, error)  # the step has left the function's domain
    if not kink:
        size = np.abs(u).max(1)  # relative to the largest derivative, as reports count errors
        settled = bool((error <= SETTLED * size * (summed / size).max()).all())
        return Opinion(value, error, summed, False, value, value, settled)
    error = np.sqrt(u**2 @ (right_error**2 + left_error**2 + rounding**2))
    low, high = np.minimum(u * right, u * left).sum(1), np.maximum(u * right, u * left).sum(1)
    return Opinion(value, error, summed, True, low, high, False)


def _extrapolate(slopes: list[Array], factors: tuple[int, int]) -> tuple[Array, Array]:
    """Return Richardson's limit of three slopes at h, h/2, h/4 and the size of its last correction.

    A factor of 2^p removes the error term h^p.
    """
    p, q = factors
    first = [(p * fine - coarse) / (p - 1) for coarse, fine in pairwise(slopes)]
    limit = (q * first[1] - first[0]) / (q - 1)
    return limit, np.abs(limit - first[1])


def _spread(x: Array) -> float:
    """Return the scale on which x varies: its standard deviation, or a part of its size if that is more."""
    return max(float(x.std()), 0.01 * float(np.abs(x).max())) or 1.0
