"""What the parts of one engine share: memory, threads, precision, and weights that don't change."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from senumpy.engines.numba.geometry import Array, as_image, is_channels_last
from senumpy.engines.numba.memory import Memory, aligned
from senumpy.engines.numba.threads import POOL


class Runtime:
    """One engine's state.

    Attributes
    ----------
    threads : int
        Threads that a kernel may use, the caller's included.
    exact : bool
        Whether every sum is taken as the formula says: no Winograd.
    memory : Memory
    frozen : dict or None
        While weights are promised not to change: what has been made of them, by what it is and whose.
    """

    def __init__(self, threads: int, exact: bool) -> None:
        self.threads = threads
        self.exact = exact
        self.memory = Memory()
        self._scratch = threading.local()  # each Python thread has its own
        self.frozen: dict[Any, Any] | None = None
        self._freezes = 0
        self._freezing = threading.Lock()

    def run(self, driver: Any, *arguments: Any) -> None:
        """Call a compiled driver, with the workers if they are free."""
        state = 0
        try:
            state = POOL.acquire(self.threads)
            driver(state, *arguments)
        finally:
            POOL.release(state)

    def empty(self, count: int, dtype: Any) -> Array:
        """Return a flat array that is to be filled."""
        return self.memory.empty(count, dtype)

    def scratch(self, count: int, dtype: Any) -> Array:
        """Return (threads, count) numbers, a row for each thread, to be used up in the next `run`."""
        needed = self.threads * count
        held: Array = getattr(self._scratch, dtype.char, NOTHING[dtype])
        if held.size < needed:
            held = aligned(needed, dtype)
            setattr(self._scratch, dtype.char, held)
        return held[:needed].reshape(self.threads, count)

    def rows(self, x: Array) -> Array:
        """Return `x` (N, C, H, W) as flat channels-last rows: the same memory if it is in that order."""
        if is_channels_last(x):
            return flat(x.transpose(0, 2, 3, 1))
        rows = self.empty(x.size, x.dtype)
        n, c, h, w = x.shape
        as_image(rows, n, c, h, w)[...] = x
        return rows

    def image_like(self, x: Array) -> tuple[Array, Array]:
        """Return new rows, and the same as an array of the shape of `x` (N, C, H, W)."""
        n, c, h, w = x.shape
        return self.image(n, c, h, w, x.dtype)

    def image(self, n: int, c: int, h: int, w: int, dtype: Any) -> tuple[Array, Array]:
        """Return new rows, and the same as an array (N, C, H, W)."""
        rows = self.empty(n * c * h * w, dtype)
        return rows, as_image(rows, n, c, h, w)

    def freeze(self, change: int) -> None:
        """Begin (1) or end (-1) the promise that read-only weights don't change.

        Promises overlap where threads serve networks. At each end all is forgotten: the weights of the one
        may change from now on, those of the others are prepared again.
        """
        with self._freezing:
            self._freezes += change
            if change < 0 or self.frozen is None:
                self.frozen = {} if self._freezes else None

    def is_frozen(self, *arrays: Array) -> bool:
        """Return whether these arrays are promised not to change: marked read-only, in inference."""
        if self.frozen is None:
            return False
        return all(isinstance(array, np.ndarray) and not array.flags.writeable for array in arrays)

    def remember(self, key: tuple[Any, ...], owners: tuple[Array, ...], make: Any) -> Any:
        """Return `make()`; while weights are frozen, only the first time for the same owners."""
        frozen = self.frozen
        if frozen is None or not self.is_frozen(*owners):
            return make()
        full_key = (*key, *map(id, owners))
        found = frozen.get(full_key)
        if found is None:
            # The owners are kept, so that their ids stay theirs.
            found = frozen[full_key] = (make(), owners)
        return found[0]


def flat(array: Array) -> Array:
    """Return a C-ordered array as one axis, as kernels take it: in order, and not marked read-only.

    Numba would compile everything again for read-only arrays. Kernels don't write what comes in.
    """
    return unlocked(np.ascontiguousarray(array).reshape(-1))


def unlocked(array: Array) -> Array:
    """Return a C-ordered array without the mark that it is read-only."""
    return array if array.flags.writeable else np.asarray(_Unlocked(array))


class _Unlocked:
    """The memory of a read-only array, without the mark."""

    def __init__(self, array: Array) -> None:
        self._array = array
        self.__array_interface__ = {
            "version": 3, "shape": array.shape, "typestr": array.dtype.str,
            "data": (array.ctypes.data, False),
        }  # fmt: skip


NOTHING = {np.dtype(name): np.zeros(0, name) for name in ("float32", "float64")}
