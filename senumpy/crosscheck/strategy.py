"""Calls as Hypothesis draws them: of any shape or of a candidate's own, in any memory order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from senumpy.crosscheck.conduct import Restriction
from senumpy.crosscheck.draws import DRAW, Draw, Drawn, both
from senumpy.verify.calls import Array, OpCall, map_arrays
from senumpy.verify.cases import op_spec
from senumpy.verify.layouts import LAYOUTS

# Numbers of other sizes, for operations whose first argument is data. Each is (name, function of it).
_EXTREMES: dict[str, Callable[[Array], Array]] = {
    "large numbers": lambda x: x * 1e4,
    "small numbers": lambda x: x * 1e-4,
    "a large mean": lambda x: x + 100.0,
    "one number for all": lambda x: np.full_like(x, x.flat[0]),
    "zeros": np.zeros_like,
    "mostly zeros": lambda x: np.where(np.abs(x) > 1.0, x, 0.0),
    "one outlier": lambda x: np.where(np.arange(x.size).reshape(x.shape) == x.size // 2, 1e3, x),
}


@st.composite
def calls(
    draw: st.DrawFn, op: str, *, restriction: Restriction | None = None, extremes: bool = True
) -> OpCall:
    """Draw one call of an operation; its numbers are such that float32 holds them.

    Parameters
    ----------
    op : str
        A name of `senumpy.verify.OPS`.
    restriction : Restriction, optional
        Shapes and options that a candidate of fixed geometry takes; what it leaves open is drawn.
    extremes : bool
        Draw arrays of large, small, equal and vanishing numbers, too, about one in four.
    """
    d = Draw(draw)
    args, options = DRAW[op](d)
    if restriction is not None:
        args, options = fitted(d, op, args, options, restriction)
    note = ""
    if extremes and d.one_of(False, False, False, True):
        note = d.one_of(*_EXTREMES)
        args = (map_arrays(_EXTREMES[note], args[0]), *args[1:])

    def rounded(array: Array) -> Array:
        return array.astype(np.float32).astype(np.float64) if array.dtype.kind == "f" else array

    call = OpCall(op, tuple(map_arrays(rounded, value) for value in args), options, d.seed, note)
    return replace(call, layouts=tuple(d.one_of(*LAYOUTS) for _ in call.floats()))


def fitted(
    d: Draw, op: str, args: tuple[Any, ...], options: dict[str, Any], restriction: Restriction
) -> Drawn:
    """Return a drawn call with the shapes and options that a restriction asks for.

    Images have the sizes of the first one where they are free, and at least those of the window.
    """
    options = {name: restriction.options.get(name, value) for name, value in options.items()}
    options |= restriction.options
    names = [*op_spec(op).arguments, *op_spec(op).others]
    first = args[0]
    if isinstance(first, np.ndarray):
        wanted = restriction.shapes.get(names[0], (None,) * first.ndim)
        shape = [
            had if want is None else want
            for had, want in zip(_grown(first.shape, wanted), wanted, strict=True)
        ]
        if len(shape) == 4:
            shape[2:] = _at_least(shape[2:], restriction, options)
        if op in ("batchnorm2d", "conv_bn_relu", "residual_tail", "bn_relu_se"):
            shape[0] = max(2, shape[0])
        first = d.normal(*shape)
    fit: list[Any] = [first]
    for name, value in zip(names[1:], args[1:], strict=True):
        fit.append(_fitted_one(d, name, value, fit[0], restriction))
    return tuple(fit), options


def _fitted_one(d: Draw, name: str, value: Any, first: Any, restriction: Restriction) -> Any:
    """Return one argument beside the first, in the shape that the restriction or the first one asks for."""
    if name in restriction.absent:
        return None
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu":
        return np.resize(value, len(first)) % first.shape[1]
    wanted = restriction.shapes.get(name)
    if wanted is None:
        if value is None or not isinstance(first, np.ndarray):
            return value
        wanted = first.shape[: value.ndim] if value.ndim in (2, 4) and name not in ("w", "w1", "w2") else None
        return value if wanted is None else d.normal(*wanted)
    if value is None and name not in restriction.present:
        return None
    shape = [first.shape[axis] if size is None else size for axis, size in enumerate(wanted)]
    return d.positive(*shape) if name == "var" else d.normal(*shape)


def _grown(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> tuple[int, ...]:
    return (*shape, *(1,) * len(wanted))[: len(wanted)]


def _at_least(size: list[int], restriction: Restriction, options: dict[str, Any]) -> list[int]:
    """Return the size of an image, enlarged until one window fits."""
    weights = restriction.shapes.get("w")
    kernel = weights[2:] if weights is not None and len(weights) == 4 else both(options.get("kernel", 1))
    windows = zip(kernel, both(options.get("padding", 0)), both(options.get("dilation", 1)), strict=True)
    return [
        max(have, dilation * ((k or 1) - 1) + 1 - 2 * pad)
        for have, (k, pad, dilation) in zip(size, windows, strict=True)
    ]
