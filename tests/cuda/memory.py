"""The stand-in's device memory: filled with NaN, guarded, counted, and watched for races between streams."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

import numpy as np

from tests.cuda import streams

GUARD = 64  # bytes on both sides of an array
LIVE: dict[int, weakref.ref[Memory]] = {}  # by address
BASES: weakref.WeakValueDictionary[int, Memory] = weakref.WeakValueDictionary()


class OutOfMemoryError(MemoryError):
    """As `cupy.cuda.memory.OutOfMemoryError`."""


class Memory:
    """A block of the device's memory, filled with NaN, guarded on both sides."""

    capacity: int | None = None  # bytes the "device" has; None: no end
    used = 0
    peak = 0

    def __init__(self, size: int) -> None:
        if Memory.capacity is not None and Memory.used + size > Memory.capacity:
            raise OutOfMemoryError(
                f"Out of memory allocating {size:,} bytes (allocated so far: {Memory.used:,} bytes)."
            )
        Memory.used += size
        Memory.peak = max(Memory.peak, Memory.used)
        self.size = size
        self._block = np.full(size + 2 * GUARD + 64, 0xFF, np.uint8)  # all bits set: NaN in every precision
        offset = -(self._block.ctypes.data + GUARD) % 64  # aligned as CUDA's
        self.bytes = self._block[GUARD + offset : GUARD + offset + size]
        self._guards = self._block[: GUARD + offset], self._block[GUARD + offset + size :]
        self.address = self._block.ctypes.data + GUARD + offset
        LIVE[self.address] = weakref.ref(self)
        # CuPy's pool may give out memory that kernels of the current stream are still using.
        self.uses: dict[int, int] = {streams.current().number: streams.current().time}
        for base in (self._block, self.bytes):  # what NumPy may name as the base of a view
            BASES[id(base)] = self

    def __del__(self) -> None:
        if hasattr(self, "address"):
            streams.check_free(self.uses)
            Memory.used -= self.size
            LIVE.pop(self.address, None)

    def check(self) -> None:
        """Raise if something was written outside."""
        if any((guard != 0xFF).any() for guard in self._guards):
            raise AssertionError(f"a kernel wrote beside an array of {self.size} bytes")


@contextlib.contextmanager
def device_memory(size: int) -> Any:
    """Let the device have so many bytes."""
    Memory.capacity = size
    try:
        yield
    finally:
        Memory.capacity = None


class MemoryPool:
    """Keeps what was freed for the next arrays, as CuPy's does: what it took is what was used at most."""

    def used_bytes(self) -> int:
        return Memory.used

    def total_bytes(self) -> int:
        return Memory.peak

    def free_all_blocks(self, stream: Any = None) -> None:
        Memory.peak = Memory.used
