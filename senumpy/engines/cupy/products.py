"""Matrix products, by cuBLAS: row-major matrices, one or a batch of them, at an offset into their arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy as cp
import numpy as np

from senumpy.engines.cupy.device import check_current, raise_again
from senumpy.engines.cupy.runtime import Runtime
from senumpy.ops.arrays import Array

_TF32 = 3  # CUBLAS_TF32_TENSOR_OP_MATH: float32 factors are rounded to 10 bits, sums stay float32
_DEFAULT = 0  # CUBLAS_DEFAULT_MATH

# cuBLAS reads its two factors from the host's memory.
_NUMBERS = {(name, value): np.array(value, name) for name in ("float32", "float64") for value in (0.0, 1.0)}
_ADDRESSES = {key: number.ctypes.data for key, number in _NUMBERS.items()}


class Matrix(NamedTuple):
    """Rows in an array: `step` numbers from one to the next, and `batch_step` from one matrix to the next."""

    array: Array  # flat
    step: int
    batch_step: int = 0
    turned: bool = False  # whether the factor is the transpose of what lies in memory
    first: int = 0  # where the matrix begins


def multiply(
    runtime: Runtime,
    a: Matrix,
    b: Matrix,
    out: Matrix,
    m: int,
    n: int,
    k: int,
    *,
    batch: int = 1,
    add: bool = False,
) -> None:
    """Set out (m, n) = a (m, k) b (k, n), or add to it, for each matrix of a batch."""
    # cuBLAS sees columns where we see rows: out^T = b^T a^T, and each array already is its transpose.
    name = out.array.dtype.name
    cublas = cp.cuda.cublas
    handle = cp.cuda.device.get_cublas_handle()
    first, second = (_operand(factor) for factor in (b, a))
    operations = tuple(cublas.CUBLAS_OP_T if x.turned else cublas.CUBLAS_OP_N for x in (b, a))
    scales = _ADDRESSES[name, 1.0], _ADDRESSES[name, 1.0 if add else 0.0]
    letter = "s" if name == "float32" else "d"
    tensor_cores = runtime.precision == "tf32" and name == "float32"
    check_current(runtime.device)
    try:
        if tensor_cores:
            cublas.setMathMode(handle, _TF32)
        if batch == 1:
            product = getattr(cublas, f"{letter}gemm")
            product(
                handle, *operations, n, m, k, scales[0], first, b.step, second, a.step, scales[1],
                _operand(out), out.step,
            )  # fmt: skip
        else:
            product = getattr(cublas, f"{letter}gemmStridedBatched")
            product(
                handle, *operations, n, m, k, scales[0], first, b.step, b.batch_step, second, a.step,
                a.batch_step, scales[1], _operand(out), out.step, out.batch_step, batch,
            )  # fmt: skip
    except RuntimeError as error:
        raise_again(error)
    finally:
        if tensor_cores:
            cublas.setMathMode(handle, _DEFAULT)  # the handle is CuPy's: others use it too


def _operand(matrix: Matrix) -> Any:
    """Return the address of a matrix's first number."""
    array: Any = matrix.array
    return array.data.ptr + matrix.first * array.itemsize
