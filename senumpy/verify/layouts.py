"""The same numbers in other memory orders: what a caller may hand to an operation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LAYOUTS = ("C", "Fortran", "channels last", "strided", "reversed")


def laid_out(array: Array, layout: str) -> Array:
    """Return the same values in another memory order, one of `LAYOUTS`; always new memory."""
    if layout == "Fortran":
        return array.copy(order="F")
    if layout == "channels last" and array.ndim > 1:
        return np.moveaxis(np.moveaxis(array, 1, -1).copy(order="C"), -1, 1)
    if layout == "strided":
        every_second = (slice(None, None, 2),) * array.ndim
        base = np.full([2 * size for size in array.shape], 99, array.dtype)
        base[every_second] = array
        return base[every_second]
    if layout == "reversed":
        backwards = (slice(None, None, -1),) * array.ndim
        return array[backwards].copy(order="C")[backwards]
    return array.copy(order="C")
