"""Calls as Hypothesis draws them: of any shape or of a candidate's own, in any memory order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
from hypothesis import strategies as st

from senumpy.crosscheck.draws import DRAW, Draw, Drawn, both
from senumpy.verify.calls import Array, OpCall, map_arrays
from senumpy.verify.cases import op_spec
from senumpy.verify.conduct import Restriction
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
    draw: st.DrawFn,
    op: str,
    *,
    restriction: Restriction | None = None,
    extremes: bool = True,
    layouts: Sequence[str] = LAYOUTS,
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
    layouts : sequence of str
        Memory orders to draw from.
    """
    d = Draw(draw, None if restriction is None else restriction.options)
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
    return replace(call, layouts=tuple(d.one_of(*layouts) for _ in call.floats()))


def fitted(
    d: Draw, op: str, args: tuple[Any, ...], options: dict[str, Any], restriction: Restriction
) -> Drawn:
    """Return a drawn call with the shapes and options that a restriction asks for.

    Weights come first; the images have as many channels as they want, and are large enough for one window.
    """
    options = {**options, **restriction.options}
    if "groups" in options and "w" in restriction.shapes:  # which a drawn number need not divide
        options["groups"] = restriction.options.get("groups", 1)
    names = [*op_spec(op).arguments, *op_spec(op).others]
    named = dict(zip(names, args, strict=True))
    if not isinstance(args[0], np.ndarray):  # a list of arrays has no fixed shapes
        return args, options
    weights = [name for name in names[1:] if name in _WEIGHTS and op != "shake"]
    for name in weights:
        named[name] = _weight(d, name, named, restriction)
    first = [*args[0].shape]
    if len(first) > 1:
        first[1] = _channels(named, options, first[1])
    wanted = restriction.shapes.get(names[0], ())
    first = [have if want is None else want for have, want in zip_longest(first, wanted)]
    if len(first) == 4:
        first[2:] = _at_least(first[2:], named.get("w"), options)
    named[names[0]] = _like(args[0], tuple(first), d)
    for name in names[1:]:
        if name not in weights:
            named[name] = _beside(d, named[name], named[names[0]])
    return tuple(named[name] for name in names), options


_WEIGHTS = ("w", "b", "gamma", "beta", "mean", "var", "w1", "b1", "w2", "b2")
_OF = {"b": "w", "b1": "w1", "b2": "w2"}  # a bias has as many numbers as its weight has rows


def _weight(d: Draw, name: str, named: dict[str, Any], restriction: Restriction) -> Any:
    """Return a weight of the shape wanted; where that is left open, of the drawn one's."""
    value, wanted = named[name], restriction.shapes.get(name)
    if name in restriction.absent or (value is None and name not in restriction.present):
        return None
    shape: tuple[int, ...] = () if value is None else value.shape
    if wanted is not None:
        shape = tuple(
            have if want is None else want for have, want in zip_longest(shape[: len(wanted)], wanted)
        )
    elif name in _OF:
        shape = named[_OF[name]].shape[:1]
    elif "w" in named:  # batch norm behind a convolution
        shape = named["w"].shape[:1] if name != "w" else shape
    if value is not None and value.shape == shape:
        return value
    return d.positive(*shape) if name == "var" else d.normal(*shape)


def _channels(named: dict[str, Any], options: dict[str, Any], drawn: int) -> int:
    """Return how many channels the weights want."""
    if named.get("w") is not None:
        return named["w"].shape[1] * options.get("groups", 1)
    if named.get("w1") is not None:
        return named["w1"].shape[1]
    gamma = named.get("gamma")
    return drawn if gamma is None else len(gamma)


def _like(array: Array, shape: tuple[int, ...], d: Draw) -> Array:
    return array if array.shape == shape else d.normal(*shape)


def _beside(d: Draw, value: Any, first: Array) -> Any:
    """Return labels, gates or images that go with the first argument."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.kind in "iu":
        return np.resize(value, len(first)) % first.shape[1]
    return _like(value, first.shape[: value.ndim], d)


def _at_least(size: list[int], w: Array | None, options: dict[str, Any]) -> list[int]:
    """Return the size of an image, enlarged until one window fits."""
    kernel = w.shape[2:] if w is not None and w.ndim == 4 else both(options.get("kernel", 1))
    padding, dilation = both(options.get("padding", 0)), both(options.get("dilation", 1))
    windows = zip(size, kernel, padding, dilation, strict=True)
    return [max(have, spread * (k - 1) + 1 - 2 * pad) for have, k, pad, spread in windows]
