"""Memory that is used again: results of one step take the place of those of the step before.

A new array of 50 MB costs as much in page faults as the kernel that fills it. So an engine keeps the blocks
of arrays that nobody holds any more, and hands them out again by size. Sizes differ, so that it takes more
than was once in use (or 64 MB) to find a block for each array: a quarter more, never beyond. All of it goes
with the engine.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any

import numpy as np

_SMALL = 1 << 14  # bytes; below, NumPy's own allocator does well
_ALWAYS_KEPT = 1 << 26  # bytes
_SPARE = 4  # this part more is kept than was once in use
_ALIGNMENT = 64  # a cache line, and the widest vector


class Memory:
    """The blocks of one engine."""

    def __init__(self) -> None:
        self._free: dict[int, list[_Block]] = {}
        self._free_bytes = 0
        self._live_bytes = 0
        self._most_live_bytes = _ALWAYS_KEPT
        # Arrays die wherever the last reference goes, also inside a call of ours: hence re-entrant.
        self._lock = threading.RLock()
        self._self = weakref.ref(self)

    def empty(self, count: int, dtype: Any) -> np.ndarray[Any, Any]:
        """Return a flat array of `count` numbers; what it holds is left from before."""
        size = count * dtype.itemsize
        if size < _SMALL:
            return np.empty(count, dtype)
        with self._lock:
            block = self._take(_rounded(size))
            self._live_bytes += block.capacity
            self._most_live_bytes = max(self._most_live_bytes, self._live_bytes)
        return np.asarray(_Lease(self._self, block, count, dtype))

    def take_back(self, block: _Block) -> None:
        """Keep a block for the next array of its size; sizes that were not asked for longest make room."""
        capacity = block.capacity
        with self._lock:
            self._live_bytes -= capacity
            self._free_bytes += capacity
            blocks = self._free.pop(capacity, [])
            blocks.append(block)
            self._free[capacity] = blocks  # the end of the dict: used last
            most = self._most_live_bytes + self._most_live_bytes // _SPARE
            while self._live_bytes + self._free_bytes > most:
                oldest = next(iter(self._free))
                if self._free[oldest]:
                    self._free[oldest].pop()
                    self._free_bytes -= oldest
                else:
                    del self._free[oldest]

    def _take(self, capacity: int) -> _Block:
        """Return the smallest block in store that is large enough and not twice too large, or a new one."""
        if not self._free.get(capacity):
            fitting = [c for c, blocks in self._free.items() if capacity < c <= 2 * capacity and blocks]
            if not fitting:
                return _Block(capacity)
            capacity = min(fitting)
        self._free_bytes -= capacity
        return self._free[capacity].pop()

    @property
    def bytes_held(self) -> int:
        """Bytes in use and in store."""
        return self._live_bytes + self._free_bytes


class _Block:
    """Memory that begins at the beginning of a cache line."""

    __slots__ = ("_bytes", "address", "capacity")

    def __init__(self, capacity: int) -> None:
        self._bytes = aligned(capacity, np.dtype(np.uint8))
        self.address = self._bytes.ctypes.data
        self.capacity = capacity


class _Lease:
    """The base of a handed-out array: it lives as long as any view of the array, and gives the block back."""

    __slots__ = ("__array_interface__", "_block", "_memory")

    def __init__(self, memory: Any, block: _Block, count: int, dtype: Any) -> None:
        self._memory = memory
        self._block = block
        self.__array_interface__ = {
            "version": 3, "shape": (count,), "typestr": dtype.str, "data": (block.address, False),
        }  # fmt: skip

    def __del__(self) -> None:
        memory = self._memory()
        if memory is not None:
            memory.take_back(self._block)


def aligned(count: int, dtype: Any) -> np.ndarray[Any, Any]:
    """Return a new flat array that begins at the beginning of a cache line."""
    size = count * dtype.itemsize
    block = np.empty(size + _ALIGNMENT, np.uint8)
    start = -block.ctypes.data % _ALIGNMENT
    return block[start : start + size].view(dtype)


def _rounded(size: int) -> int:
    """Return `size` rounded up to an eighth of its power of two: few sizes, at most an eighth wasted."""
    step = max(_SMALL, 1 << (size.bit_length() - 4))
    return -(-size // step) * step
