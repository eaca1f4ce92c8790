"""What every operation asks about its array arguments: array module, dtype, rank, size.

No operation names NumPy: the array module is taken from the argument, and its functions are called by the
names of the Python array API standard, so the same file runs on a CuPy array.

Complex arrays are let in for one purpose: complex-step differentiation, where f(x + ih) carries the
derivative in its imaginary part. Kinks (ReLU, max) are decided by the real part, see `senumpy.verify`.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

# longdouble, NumPy's extended precision, is let in as a reference for float64 (`senumpy.verify.rounding`).
_FLOATS = frozenset(
    np.dtype(name) for name in ("float32", "float64", "complex64", "complex128", "longdouble")
)


def namespace(x: Array) -> Any:
    """Return the array module that `x` belongs to (`numpy`, `cupy`, ...)."""
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    return sys.modules["cupy"]  # its arrays don't name their module


def is_array(x: Any) -> bool:
    """Return whether `x` is an array that the operations take."""
    return hasattr(x, "__array_namespace__") or type(x).__module__.partition(".")[0] == "cupy"


def check_array(name: str, x: Any, shape: tuple[str | int | None, ...] | None = None) -> None:
    """Raise unless `x` is a non-empty floating-point array of the wanted shape.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    x : array
        The argument.
    shape : tuple, optional
        One entry an axis: an int is the size wanted; a string ("C") names an axis of any size; None
        allows any rank of at least one.

    Raises
    ------
    TypeError
        `x` is no array, or its dtype is not float32 or float64.
    ValueError
        Wrong rank, wrong size, or an axis of size 0.
    """
    if not is_array(x):
        raise TypeError(f"{name}: got {type(x).__name__}, wanted an array of float32 or float64")
    if x.dtype not in _FLOATS:
        raise TypeError(f"{name}: got dtype {x.dtype}, wanted float32 or float64 (use astype)")
    if shape is None:
        if x.ndim == 0:
            raise ValueError(f"{name}: got shape (), wanted at least one axis")
    elif len(shape) != x.ndim or any(
        isinstance(want, int) and want != got for want, got in zip(shape, x.shape, strict=True)
    ):
        raise ValueError(f"{name}: got shape {x.shape}, wanted {_shape_text(shape)}")
    if 0 in x.shape:
        raise ValueError(f"{name}: got shape {x.shape}, wanted no axis of size 0 (an empty batch?)")


def check_same_dtype(**arrays: Array | None) -> None:
    """Raise TypeError unless all arrays share the first one's dtype; None stands for an absent argument."""
    (first_name, first), *others = ((name, a) for name, a in arrays.items() if a is not None)
    for name, array in others:
        if array.dtype != first.dtype:
            raise TypeError(f"{name}: got dtype {array.dtype}, wanted {first.dtype} like {first_name}")


def check_upstream(dy: Any, shape: tuple[int, ...], dtype: Any) -> None:
    """Raise unless the upstream gradient `dy` has the shape and dtype of the forward result."""
    check_array("dy", dy, shape)
    if dy.dtype != dtype:
        raise TypeError(f"dy: got dtype {dy.dtype}, wanted {dtype} like the forward's arguments")


def zeros(shape: tuple[int, ...], like: Array) -> Array:
    """Return zeros of `like`'s dtype in `like`'s array module."""
    return namespace(like).zeros(shape, dtype=like.dtype)


def contiguous(x: Array) -> Array:
    """Return a copy of `x` in C order."""
    copy = zeros(x.shape, x)
    copy[...] = x
    return copy


def per_channel(v: Array) -> Array:
    """Return a (C,) or (N, C) array as (1, C, 1, 1) or (N, C, 1, 1), to meet (N, C, H, W)."""
    return namespace(v).reshape(v, (-1, v.shape[-1], 1, 1))


def _shape_text(shape: tuple[str | int | None, ...]) -> str:
    return "(" + ", ".join(str(axis) for axis in shape) + ("," if len(shape) == 1 else "") + ")"
