"""The engine for processors: kernels compiled by Numba, fused, in channels-last memory, on all cores.

From the bottom up: `compiler`, `threads` and `memory` compile code, run it on all cores and give it memory;
`microkernel` and the `*lanes` are what happens in vector registers; `products`, `direct` and `direct_weights`
multiply matrices, and convolve by that; `tiles` and `winograd`, `grouped`, and `depthwise` are other ways to;
`passes`, `recalibrate`, `pooling`, `excite` and `elementwise` go over an activation once. `convolution`,
`small_groups`, `norm`, `tail`, `activated`, `recalibration` and `dense` hold the formulas and choices around
these kernels, and the `*_ops` are the operations of the engine: checks, memory order, caches. `ahead`
compiles in another process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from senumpy.engines.cores import MOST_THREADS, default_threads
from senumpy.engines.numba import ahead
from senumpy.engines.numba.compiler import cache_is_empty
from senumpy.engines.numba.conv_ops import ConvOps
from senumpy.engines.numba.norm_ops import NormOps
from senumpy.engines.numba.other_ops import OtherOps
from senumpy.engines.numba.runtime import Runtime
from senumpy.engines.numba.se_ops import SEUnits
from senumpy.errors import InputError

__all__ = ["NumbaEngine"]


class NumbaEngine(ConvOps, NormOps, OtherOps, SEUnits):
    """Run operations by compiled kernels on `threads` cores.

    Parameters
    ----------
    threads : int, optional
        `SENUMPY_NUM_THREADS`, or all cores, where not given.
    exact : bool
        No Winograd: float32 results as close to the formula as float32 sums are.
    """

    name = "numba"
    defers_gates = True

    def __init__(self, *, threads: int | None = None, exact: bool = False) -> None:
        threads = default_threads() if threads is None else threads
        if type(threads) is not int or not 1 <= threads <= MOST_THREADS:
            raise InputError(f"threads: got {threads!r}, wanted 1 to {MOST_THREADS}")
        if type(exact) is not bool:
            raise InputError(f"exact: got {exact!r}, wanted True or False")
        self.runtime = Runtime(threads, exact)

    @property
    def threads(self) -> int:
        """How many threads a kernel uses, the caller's included."""
        return self.runtime.threads

    @property
    def must_compile(self) -> bool:  # type: ignore[override]
        """Whether no compiled kernels are found on the disk: the first calls take some seconds."""
        return cache_is_empty()

    def compile_ahead(self) -> None:
        """Begin to compile the gradients' kernels in another process."""
        ahead.start()

    def describe(self) -> str:
        """Return name and threads."""
        return f"numba ({self.threads} thread{'s' if self.threads > 1 else ''})"

    @contextmanager
    def frozen_weights(self) -> Iterator[None]:
        """Remember what is made of weights that are marked read-only: packed, transformed, folded."""
        self.runtime.freeze(1)
        try:
            yield
        finally:
            self.runtime.freeze(-1)
