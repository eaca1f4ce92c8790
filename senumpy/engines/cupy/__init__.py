"""The engine for NVIDIA GPUs: CuPy's arrays in channels-last memory, cuBLAS for large products, own kernels.

From the bottom up: `device` finds the GPU, `sources` the CUDA files in `kernels/`, `runtime` compiles and
launches them, `choices` measures ways of computing the same, `products` calls cuBLAS, `passes` lays out
what goes over an activation once. `winograd`, `grouped` and `convolution`, `norm` and `excite` hold the
formulas and choices around the kernels, and the `*_ops` are the operations of the engine: checks, memory
order, caches. What has no kernel of its own runs as `senumpy.ops` defines it, on CuPy's arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import cupy as cp

from senumpy.engines.cupy.arrivals import on_device
from senumpy.engines.cupy.feeding import Feeding
from senumpy.engines.cupy.runtime import Runtime
from senumpy.engines.cupy.structure_ops import StructureOps
from senumpy.errors import InputError
from senumpy.ops.arrays import Array

__all__ = ["CupyEngine"]

PRECISIONS = ("float32", "tf32")
_LEAST_TF32 = 80  # compute capability 8.0, Ampere


class CupyEngine(Feeding, StructureOps):
    """Run operations on a GPU.

    Parameters
    ----------
    device : int
        Number of the GPU, as `nvidia-smi` counts.
    precision : {"float32", "tf32"}
        Of matrix products of float32 arrays. With "tf32" tensor cores take 10 of the 23 bits of their
        factors and sum up in float32: three digits instead of seven.
    deterministic : bool
        Choose ways of convolving by rule instead of by measurement: two runs then give the same bits.
    exact : bool
        No Winograd: float32 results as close to the formula as float32 sums are.
    """

    name = "cupy"
    must_compile = True

    def __init__(
        self, *, device: int = 0, precision: str = "float32", deterministic: bool = False, exact: bool = False
    ) -> None:
        if precision not in PRECISIONS:
            raise InputError(f"precision: got {precision!r}, wanted {' or '.join(map(repr, PRECISIONS))}")
        for name, value in (("deterministic", deterministic), ("exact", exact)):
            if type(value) is not bool:
                raise InputError(f"{name}: got {value!r}, wanted True or False")
        self.runtime = Runtime(device, precision, deterministic, exact)
        found = self.runtime.device
        if precision == "tf32" and found.capability < _LEAST_TF32:
            raise InputError(
                f"precision: got 'tf32', but device {device} ({found.name}, {found.architecture}) can't do "
                f"that: wanted sm_{_LEAST_TF32} or newer; use 'float32'"
            )

    @property
    def precision(self) -> str:
        """Precision of float32's matrix products."""
        return self.runtime.precision

    def describe(self) -> str:
        """Return name, device and precision."""
        found, choices = self.runtime.device, self.runtime.choices
        how = ", deterministic" if choices.deterministic else ""
        return f"cupy (device {found.number}: {found.name}, {self.precision}{how})"

    def notes(self) -> list[str]:
        """Return what determinism has cost, once it is known."""
        choices = self.runtime.choices
        if not choices.deterministic or not choices.taken:
            return []
        taken, least = choices.least + choices.price, choices.least
        return [f"deterministic: one convolution of each shape takes {taken:.2f} ms, at best {least:.2f} ms"]

    @contextmanager
    def frozen_weights(self) -> Iterator[None]:
        """Remember what is made of weights: folded, transformed. Inside, no weight may change."""
        self.runtime.freeze(1)
        try:
            yield
        finally:
            self.runtime.freeze(-1)

    @staticmethod
    def asarray(array: Any, dtype: Any = None) -> Array:
        """Return `array` on the GPU; shares memory with what is there already: CuPy, PyTorch, DLPack."""
        return on_device(array, dtype)

    @staticmethod
    def to_numpy(array: Array) -> Any:
        """Return an array of this engine as a NumPy array, which waits for all that is to be computed."""
        return cp.asnumpy(array)

    @staticmethod
    def zeros(shape: Iterable[int], dtype: Any) -> Array:
        """Return zeros."""
        return cp.zeros(tuple(shape), dtype)
