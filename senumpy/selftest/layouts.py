"""Arrays of an engine in every memory order: a NumPy array is prepared, and the engine's own array turned."""

from __future__ import annotations

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import Array

LAYOUTS = ("C", "Fortran", "channels last", "strided", "reversed")


def laid_out(engine: Engine, array: Array, layout: str) -> Array:
    """Return the NumPy array `array` as an array of `engine` that lies in memory as `layout` says."""
    axes = tuple(range(array.ndim))
    if layout == "Fortran":
        return _turned(engine, array, axes[::-1])
    if layout == "channels last" and array.ndim > 2:
        return _turned(engine, array, (0, *axes[2:], 1))
    if layout == "strided" and array.ndim:
        every_second = (slice(None, None, 2),) * array.ndim
        base = np.full([2 * size for size in array.shape], 99, array.dtype)
        base[every_second] = array
        return engine.asarray(base)[every_second]
    if layout == "reversed" and array.ndim:
        backwards = (slice(None, None, -1),) * array.ndim
        return engine.asarray(np.ascontiguousarray(array[backwards]))[backwards]
    return engine.asarray(np.array(array, order="C"))


def _turned(engine: Engine, array: Array, axes: tuple[int, ...]) -> Array:
    """Return the array whose axes lie in memory in the order `axes`."""
    back = tuple(int(axis) for axis in np.argsort(axes))
    return engine.asarray(np.array(array.transpose(axes), order="C")).transpose(back)
