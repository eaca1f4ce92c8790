"""What the parts of one engine share: the device, kernels, memory order, and weights that don't change."""

from __future__ import annotations

import threading
from typing import Any

import cupy as cp
import numpy as np

from senumpy.engines.cupy import device
from senumpy.engines.cupy.choices import Choices
from senumpy.engines.cupy.sources import THREADS, WIDTHS, Build, signatures, source
from senumpy.errors import InputError
from senumpy.ops.arrays import Array

REAL = frozenset(np.dtype(name) for name in WIDTHS)  # what kernels are compiled for; the rest goes by `ops`
_NOTHING = np.uint64(0)  # a pointer to nothing
_MOST_PIXELS = 2**31 - THREADS  # kernels count them in 32 bits


class Runtime:
    """One engine's state.

    Attributes
    ----------
    device : Properties
    precision : {"float32", "tf32"}
        Of matrix products of float32 arrays: tensor cores round their factors to 10 bits with "tf32".
    exact : bool
        No Winograd.
    choices : Choices
        Which way of convolving is taken for which shape.
    workspace : int
        Bytes that a convolution may take beside its arguments and results.
    updates : dict
        How weights of each dtype are updated.
    frozen : dict or None
        While weights are promised not to change: what has been made of them.
    """

    def __init__(self, number: int, precision: str, deterministic: bool, exact: bool) -> None:
        self.device = device.select(number)
        self.precision = precision
        self.exact = exact
        self.choices = Choices(deterministic)
        self.workspace = 512 * 2**20
        self.updates: dict[Any, Any] = {}
        self.frozen: dict[Any, Any] | None = None
        self._freezes = 0
        self._freezing = threading.Lock()
        self._kernels: dict[tuple[str, Build], Any] = {}

    # -- kernels ---------------------------------------------------------------------------------------

    def launch(
        self, build: Build, name: str, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any
    ) -> None:
        """Run a kernel on the current stream; None stands for an absent array."""
        device.check_current(self.device)
        try:
            found = self._kernels.get((name, build))
            if found is None:
                found = self._kernels[name, build] = self._compiled(build, name)
            kernel, converters = found
            values = (convert(value) for convert, value in zip(converters, arguments, strict=True))
            kernel(grid, block, tuple(values))
        except RuntimeError as error:
            device.raise_again(error)

    def _compiled(self, build: Build, name: str) -> tuple[Any, tuple[Any, ...]]:
        module = cp.RawModule(code=source(build.file), options=build.options, backend="nvrtc")
        try:
            kernel = module.get_function(name)
        except cp.cuda.compiler.CompileException as error:
            lines = error.get_message().splitlines()
            line = next((line for line in lines if "error" in line), "no message")
            raise InputError(
                f"kernel {name} ({build.file}.cu, {' '.join(build.options)}) does not compile for "
                f"{self.device.architecture}: {line.strip()}"
            ) from None
        real = np.dtype(build.dtype).type
        convert = {"p": _pointer, "i": np.int32, "l": np.int64, "r": real, "d": np.float64}
        return kernel, tuple(convert[kind] for kind in signatures(build.file)[name])

    # -- memory order ----------------------------------------------------------------------------------

    def rows(self, x: Array) -> Array:
        """Return `x` (N, C, H, W) as flat channels-last rows: the same memory if it is in that order."""
        return in_order(x.transpose(0, 2, 3, 1))

    def image(self, n: int, c: int, h: int, w: int, dtype: Any) -> tuple[Array, Array]:
        """Return new rows, and the same as an array (N, C, H, W)."""
        rows = cp.empty(n * c * h * w, dtype)
        return rows, as_image(rows, (n, c, h, w))

    # -- weights that don't change ---------------------------------------------------------------------

    def freeze(self, change: int) -> None:
        """Begin (1) or end (-1) the promise that weights don't change; at each end all is forgotten."""
        with self._freezing:
            self._freezes += change
            if change < 0 or self.frozen is None:
                self.frozen = {} if self._freezes else None

    def remember(self, key: tuple[Any, ...], owners: tuple[Array, ...], make: Any) -> Any:
        """Return `make()`; while weights are frozen, only the first time for the same owners."""
        frozen = self.frozen
        if frozen is None:
            return make()
        full_key = (*key, *map(id, owners))
        found = frozen.get(full_key)
        if found is None:
            found = frozen[full_key] = (make(), owners)  # the owners are kept: their ids stay theirs
        return found[0]


def as_image(rows: Array, shape: tuple[int, int, int, int]) -> Array:
    """Return channels-last rows as an array (N, C, H, W)."""
    n, c, h, w = shape
    return rows.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def in_order(x: Array) -> Array:
    """Return an array flat in C order, the same memory if it lies so, at an address for 16-byte loads."""
    if not isinstance(x, cp.ndarray):
        raise TypeError(
            f"got an array of {type(x).__module__}, wanted one on the GPU: engine.asarray(x) takes it there"
        )
    flat = cp.ascontiguousarray(x).reshape(-1)
    return flat if flat.data.ptr % 16 == 0 else flat.copy()


def width(dtype: Any, *channels: int) -> int:
    """Return how many channels a thread may take at once."""
    widest = WIDTHS[dtype.name]
    return 1 if any(c % widest for c in channels) else widest


def lines(count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return grid and block of one thread for each of `count` numbers."""
    return (-(-count // THREADS),), (THREADS,)


def tiles(pixels: int, columns: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return grid and block of one thread for each (pixel, column); neighbouring threads are columns."""
    if pixels >= _MOST_PIXELS:
        raise InputError(f"a batch of {pixels:,} pixels: wanted less than {_MOST_PIXELS:,} on a GPU")
    across = min(32, 1 << (columns - 1).bit_length())
    return (-(-pixels // (THREADS // across)), -(-columns // across)), (across, THREADS // across)


def columns(count: int, across: int = 8) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return grid and block of `across` columns and of threads that share the work of a column."""
    return (-(-count // across),), (across, THREADS // across)


def _pointer(array: Any) -> Any:
    return _NOTHING if array is None else array
