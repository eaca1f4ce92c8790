"""The stand-in's cuBLAS: column-major products at addresses and leading dimensions, computed by NumPy."""

from __future__ import annotations

import ctypes
import types
from typing import Any

import numpy as np

from tests.cuda.memory import LIVE


class Cublas(types.ModuleType):
    """Column-major products at addresses."""

    CUBLAS_OP_N, CUBLAS_OP_T = 0, 1
    CUBLAS_DEFAULT_MATH = 0

    def __init__(self) -> None:
        super().__init__("cupy.cuda.cublas")
        self.mode = 0
        self.calls: list[tuple[int, int, int, int, int]] = []  # m, n, k, batch, mode

    def setMathMode(self, handle: int, mode: int) -> None:  # noqa: N802
        self.mode = mode

    def sgemm(self, *args: Any) -> None:
        self._one(np.float32, *args)

    def dgemm(self, *args: Any) -> None:
        self._one(np.float64, *args)

    def _one(
        self, dtype: Any, handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int, lda: int,
        b: int, ldb: int, beta: int, c: int, ldc: int,
    ) -> None:  # fmt: skip
        self._products(dtype, handle, ta, tb, m, n, k, alpha, a, lda, 0, b, ldb, 0, beta, c, ldc, 0, 1)

    def sgemmStridedBatched(self, *args: Any) -> None:  # noqa: N802
        self._products(np.float32, *args)

    def dgemmStridedBatched(self, *args: Any) -> None:  # noqa: N802
        self._products(np.float64, *args)

    def _products(
        self, dtype: Any, handle: int, ta: int, tb: int, m: int, n: int, k: int, alpha: int, a: int, lda: int,
        step_a: int, b: int, ldb: int, step_b: int, beta: int, c: int, ldc: int, step_c: int, count: int,
    ) -> None:  # fmt: skip
        self.calls.append((m, n, k, count, self.mode))
        one, zero = (float(np.ctypeslib.as_array((_C[dtype] * 1).from_address(p))[0]) for p in (alpha, beta))
        for i in range(count):
            left = _matrix(a, i * step_a, *((k, m) if ta else (m, k)), lda, dtype)
            right = _matrix(b, i * step_b, *((n, k) if tb else (k, n)), ldb, dtype)
            if dtype is np.float32 and self.mode == 3:
                left, right = _tf32(left), _tf32(right)
            out = _matrix(c, i * step_c, m, n, ldc, dtype)
            product = one * ((left.T if ta else left) @ (right.T if tb else right))
            out[...] = product + zero * out if zero else product


_C = {np.float32: ctypes.c_float, np.float64: ctypes.c_double}


def _matrix(address: int, first: int, rows: int, columns: int, leading: int, dtype: Any) -> np.ndarray:
    """Return a column-major matrix at an address; raise where it leaves its memory."""
    if leading < max(1, rows):
        raise ValueError(f"CUBLAS_STATUS_INVALID_VALUE: leading dimension {leading} for {rows} rows")
    size = np.dtype(dtype).itemsize
    start = address + first * size
    end = start + ((columns - 1) * leading + rows) * size
    for reference in LIVE.values():
        memory = reference()
        if memory and memory.address <= start < memory.address + memory.size:
            if end > memory.address + memory.size:
                raise AssertionError("a matrix reaches beyond its array")
            return np.ndarray(
                (rows, columns), dtype, memory.bytes, start - memory.address, (size, leading * size)
            )
    raise AssertionError("a matrix that is no array's")


def _tf32(x: np.ndarray) -> np.ndarray:
    """Round to 10 bits after the point, as tensor cores do with float32."""
    bits = np.ascontiguousarray(x).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)
