"""Memory that is used again: results of one step take the place of those of the step before.

A new array of 50 MB costs as much in page faults as the kernel that fills it. So an engine keeps the blocks of
arrays that nobody holds any more, and hands them out again by size. What it keeps never exceeds what is in
use (or 64 MB), and all of it goes with the engine.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

_SMALL = 1 << 14  # bytes; below, NumPy's own allocator does well
_ALWAYS_KEPT = 1 << 26  # bytes
_ALIGNMENT = 64  # a cache line, and the widest vector


class Memory:
    """The blocks of one engine."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray[Any, Any]]] = {}
        self._free_bytes = 0
        self._live_bytes = 0

    def empty(self, count: int, dtype: Any) -> np.ndarray[Any, Any]:
        """Return a flat array of `count` numbers; what it holds is left from before."""
        size = count * dtype.itemsize
        if size < _SMALL:
            return np.empty(count, dtype)
        capacity = _rounded(size)
        blocks = self._free.get(capacity)
        if blocks:
            block = blocks.pop()  # one operation: safe from several threads
            self._free_bytes -= capacity
        else:
            block = np.empty(capacity + _ALIGNMENT, np.uint8)
        self._live_bytes += capacity
        return np.asarray(_Lease(weakref.ref(self), block, count, dtype))

    def take_back(self, block: np.ndarray[Any, Any]) -> None:
        """Keep a block for the next array of its size, unless there is more in store than in use."""
        capacity = block.size - _ALIGNMENT
        self._live_bytes -= capacity
        if self._free_bytes + capacity <= max(self._live_bytes, _ALWAYS_KEPT):
            self._free_bytes += capacity
            self._free.setdefault(capacity, []).append(block)

    @property
    def kept_bytes(self) -> int:
        """Bytes in store, in use by nobody."""
        return self._free_bytes


class _Lease:
    """The base of a handed-out array: it lives as long as any view of the array, and gives the block back."""

    __slots__ = ("__array_interface__", "_block", "_memory")

    def __init__(self, memory: Any, block: np.ndarray[Any, Any], count: int, dtype: Any) -> None:
        self._memory = memory
        self._block = block
        address = -(-block.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        self.__array_interface__ = {
            "version": 3, "shape": (count,), "typestr": dtype.str, "data": (address, False),
        }  # fmt: skip

    def __del__(self) -> None:
        memory = self._memory()
        if memory is not None:
            memory.take_back(self._block)


def _rounded(size: int) -> int:
    """Return `size` rounded up to an eighth of its power of two: few sizes, at most an eighth wasted."""
    step = max(_SMALL, 1 << (size.bit_length() - 4))
    return -(-size // step) * step
