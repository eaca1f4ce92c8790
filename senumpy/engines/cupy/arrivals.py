"""Arrays from elsewhere: onto the GPU, without a copy where they are there already."""

from __future__ import annotations

from typing import Any

import cupy as cp
import numpy as np

from senumpy.ops.arrays import Array

_PROCESSOR = 1  # DLPack's number for it, kDLCPU


def on_device(array: Any, dtype: Any) -> Array:
    """Return `array` as a CuPy array.

    What lies on the GPU is taken as it is, by `__cuda_array_interface__` (PyTorch, Numba) or by DLPack (JAX
    and others). What lies on the processor, NumPy's arrays and others', is copied; channels-last images
    arrive in channels-last order.
    """
    if not isinstance(array, cp.ndarray) and not hasattr(array, "__cuda_array_interface__"):
        if hasattr(array, "__dlpack_device__") and not isinstance(array, np.ndarray | np.generic):
            array = _by_dlpack(array)
        if isinstance(array, np.ndarray) and array.ndim == 4 and not array.flags.c_contiguous:
            return cp.asarray(np.ascontiguousarray(array.transpose(0, 2, 3, 1)), dtype=dtype).transpose(
                0, 3, 1, 2
            )
    return cp.asarray(array, dtype=dtype)


def _by_dlpack(array: Any) -> Any:
    """Return an array with the DLPack protocol as NumPy's or CuPy's, whichever has its memory."""
    kind, _ = array.__dlpack_device__()
    return np.from_dlpack(array) if int(kind) == _PROCESSOR else cp.from_dlpack(array)
