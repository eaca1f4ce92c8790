"""The oracle computes in float64, whatever comes in, and returns the dtype that came in."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.ops.arrays import Array


def double(x: Any) -> Array:
    """Return `x` in float64."""
    return np.asarray(x, np.float64)


def doubles(*arrays: Array | None) -> tuple[Any, ...]:
    """Return the arrays in float64; None stays None."""
    return tuple(None if array is None else double(array) for array in arrays)


def rounded(arrays: tuple[Any, ...], like: Array) -> tuple[Any, ...]:
    """Return copies of the float64 arrays in the dtype of `like`; None stays None."""
    return tuple(None if array is None else array.astype(like.dtype) for array in arrays)
