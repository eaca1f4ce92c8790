"""Launch a kernel beside its twin: NumPy that does what the kernel's comment says, with the same arguments.

A twin is named as its kernel and takes the kernel's arguments in their order, without the results, which it
returns. It computes in float64 on the numbers that the kernel gets, rounded to the kernel's precision.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tests.cuda.sources import THREADS, WIDTHS, Build

TWINS: dict[str, Callable[..., Any]] = {}
DTYPES = tuple(WIDTHS)
DTYPES_AND_WIDTHS = [(dtype, width) for dtype, widest in WIDTHS.items() for width in (1, widest)]


def twin(function: Callable[..., Any]) -> Callable[..., Any]:
    """Enter a function as the twin of the kernel of its name."""
    TWINS[function.__name__] = function
    return function


def twin_of(name: str) -> Callable[..., Any]:
    """Return a kernel's twin, from whichever module has it."""
    for module in ("convolutions", "others", "passes"):
        importlib.import_module(f"tests.cuda.twins.{module}")
    return TWINS[name]


class Launch(NamedTuple):
    """How a kernel is launched; a twin's first argument."""

    build: Build
    grid: tuple[int, ...]
    block: tuple[int, ...]

    @property
    def window(self) -> Mapping[str, int]:
        """What a convolution's kernels are compiled for: KH, KW, SH, ..."""
        return dict(self.build.macros)


class Result(NamedTuple):
    """An argument that the kernel fills: so many numbers, of the build's precision unless told."""

    size: int
    dtype: str | None = None


class Changed:
    """An argument that the kernel reads and overwrites; one that is given twice is the same array twice."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array


class Geometry(NamedTuple):
    """A pass over rows of channels, as `passes.plan` would lay it out for other sizes and devices."""

    images: int
    rows: int
    vecs: int
    rows_a_part: int
    across: int
    down: int

    @property
    def parts(self) -> int:
        return -(-self.rows // self.rows_a_part)

    @property
    def launch(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return (-(-self.vecs // self.across), self.parts, self.images), (self.across, self.down)

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.rows, self.vecs, self.rows_a_part


GEOMETRIES = [
    Geometry(2, 13, 5, 5, 4, 8),  # two blocks of channels, the last part and every block not full
    Geometry(1, 40, 3, 16, 4, 4),  # a thread takes several rows; the last part is half
    Geometry(3, 1, 33, 64, 32, 8),  # one row: most threads have none
    Geometry(2, 70, 1, 256, 1, THREADS),  # one channel or Vec, all threads share it
    Geometry(1, 49, 40, 24, 32, 8),  # the last of three parts has a single row
]


def tiles(pixels: int, columns: int) -> Any:
    """Return grid and block as the engine has them for (pixel, column)."""
    return _runtime().tiles(pixels, columns)


def columns(count: int, across: int) -> Any:
    """Return grid and block as the engine has them for columns that threads share."""
    return _runtime().columns(count, across)


def lines(count: int) -> Any:
    """Return grid and block as the engine has them for single numbers."""
    return _runtime().lines(count)


def _runtime() -> Any:
    return importlib.import_module("senumpy.engines.cupy.runtime")  # once the stand-in for CuPy is there


def rounded(build: Build, array: np.ndarray) -> np.ndarray:
    """Return numbers in a build's precision; integers stay as they are."""
    return array.astype(build.dtype) if array.dtype.kind == "f" else array


def compare(
    engine: Any, cupy: Any, build: Build, name: str, launch: Any, *arguments: Any, terms: int = 1
) -> None:
    """Launch a kernel and assert that it fills results as its twin does and leaves the rest alone.

    `terms` is how many numbers are added up for one result; `launch` is grid and block.
    """
    on_device: dict[int, Any] = {}  # what stands for each array, by its place among the arguments
    filled, for_twin, placed = [], [], {}
    passed = []
    for place, argument in enumerate(arguments):
        if isinstance(argument, Result):
            on_device[place] = cupy.empty(argument.size, argument.dtype or build.dtype)
            filled.append(place)
        elif isinstance(argument, Changed):
            if id(argument) in placed:
                passed.append(on_device[placed[id(argument)]])
                continue
            placed[id(argument)] = place
            on_device[place] = cupy.asarray(rounded(build, argument.array).reshape(-1))
            filled.append(place)
            for_twin.append(_exact(build, argument.array))
        elif isinstance(argument, np.ndarray):
            on_device[place] = cupy.asarray(rounded(build, argument).reshape(-1))
            for_twin.append(_exact(build, argument))
        else:
            for_twin.append(argument)
        passed.append(on_device.get(place, argument))
    engine.runtime.launch(build, name, *launch, *passed)

    expected = twin_of(name)(Launch(build, *launch), *for_twin)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for place, one in zip(filled, expected, strict=True):
        assert_close(cupy.asnumpy(on_device[place]), np.asarray(one).reshape(-1), terms)
    for place, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray):
            after = cupy.asnumpy(on_device[place])
            np.testing.assert_array_equal(after, rounded(build, argument).reshape(-1), f"input {place}")


def assert_close(found: np.ndarray, expected: np.ndarray, terms: int) -> None:
    """Assert that results differ by no more than the rounding of so many terms.

    A sum of n numbers near 1 is off by at most n eps times their sum; the 4 stands for what the terms
    themselves were computed by. NaN is equal to NaN, and so no result may have been left out.
    """
    if found.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected)
        return
    finite = np.abs(expected[np.isfinite(expected)])
    bound = 4 * max(terms, 1) * np.finfo(found.dtype).eps
    np.testing.assert_allclose(found, expected, rtol=bound, atol=bound * max(1.0, finite.max(initial=0.0)))


def _exact(build: Build, array: np.ndarray) -> np.ndarray:
    exact = rounded(build, array)
    return exact.astype(np.float64) if exact.dtype.kind == "f" else exact
