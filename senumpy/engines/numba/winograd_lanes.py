"""The transforms of Winograd's convolution F(4x4, 3x3) in vector registers (Lavin & Gray, arXiv 1509.09308).

    U = G w G^T,  V = B^T d B,  y = A^T (U * V) A          3x3, 6x6 -> 4x4;  * entry by entry
    dU = A dy A^T * V,  dw = G^T dU G                      the derivative

    G   = [[1/4, 0, 0], [-1/6, -1/6, -1/6], [-1/6, 1/6, -1/6], [1/24, 1/12, 1/6], [1/24, -1/12, 1/6],
           [0, 0, 1]]
    B^T = [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0], [0, -2, -1, 2, 1, 0],
           [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]]
    A^T = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]

Each lane is a channel or a kernel of its own, 64 bytes of them at a time. A function here transforms columns,
then rows, of a square of vectors; LLVM keeps in registers what fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from senumpy.engines.numba.lanes import Lanes, data_of, lanes_of

_I64 = ir.IntType(64)
_SIZE = types.intp
_Line = Callable[[Lanes, list[Any]], list[Any]]


def _times(lanes: Lanes, vector: Any, number: float) -> Any:
    return lanes.builder.fmul(vector, ir.Constant(lanes.vector, [number] * lanes.lanes))


def _g(lanes: Lanes, x: list[Any]) -> list[Any]:
    """Return G x: three vectors to six."""
    add, sub = lanes.builder.fadd, lanes.builder.fsub
    even = _times(lanes, add(x[0], x[2]), -1 / 6)
    odd = _times(lanes, x[1], 1 / 6)
    far = add(_times(lanes, x[0], 1 / 24), _times(lanes, x[2], 1 / 6))
    half = _times(lanes, x[1], 1 / 12)
    return [_times(lanes, x[0], 1 / 4), sub(even, odd), add(even, odd), add(far, half), sub(far, half), x[2]]


def _g_back(lanes: Lanes, x: list[Any]) -> list[Any]:
    """Return G^T x: six vectors to three."""
    add, sub = lanes.builder.fadd, lanes.builder.fsub
    plus = _times(lanes, add(x[2], x[1]), 1 / 6)
    minus = _times(lanes, sub(x[2], x[1]), 1 / 6)
    plus2 = _times(lanes, add(x[3], x[4]), 1 / 24)
    minus2 = _times(lanes, sub(x[3], x[4]), 1 / 12)
    return [
        add(sub(_times(lanes, x[0], 1 / 4), plus), plus2),
        add(minus, minus2),
        add(sub(x[5], plus), _times(lanes, plus2, 4.0)),
    ]


def _b(lanes: Lanes, x: list[Any]) -> list[Any]:
    """Return B^T x: six vectors to six."""
    add, sub = lanes.builder.fadd, lanes.builder.fsub
    even, odd = sub(x[4], _times(lanes, x[2], 4.0)), sub(x[3], _times(lanes, x[1], 4.0))
    near, far = sub(x[4], x[2]), _times(lanes, sub(x[3], x[1]), 2.0)
    first = add(sub(_times(lanes, x[0], 4.0), _times(lanes, x[2], 5.0)), x[4])
    last = add(sub(_times(lanes, x[1], 4.0), _times(lanes, x[3], 5.0)), x[5])
    return [first, add(even, odd), sub(even, odd), add(near, far), sub(near, far), last]


def _a(lanes: Lanes, x: list[Any]) -> list[Any]:
    """Return A^T x: six vectors to four."""
    add, sub = lanes.builder.fadd, lanes.builder.fsub
    plus, minus, plus2, minus2 = add(x[1], x[2]), sub(x[1], x[2]), add(x[3], x[4]), sub(x[3], x[4])
    return [
        add(add(x[0], plus), plus2),
        add(minus, _times(lanes, minus2, 2.0)),
        add(plus, _times(lanes, plus2, 4.0)),
        add(add(minus, _times(lanes, minus2, 8.0)), x[5]),
    ]


def _a_back(lanes: Lanes, x: list[Any]) -> list[Any]:
    """Return A x: four vectors to six."""
    add, sub = lanes.builder.fadd, lanes.builder.fsub
    even, odd = add(x[0], x[2]), add(x[1], x[3])
    even2 = add(x[0], _times(lanes, x[2], 4.0))
    odd2 = add(_times(lanes, x[1], 2.0), _times(lanes, x[3], 8.0))
    return [x[0], add(even, odd), sub(even, odd), add(even2, odd2), sub(even2, odd2), x[3]]


def _both_ways(lanes: Lanes, square: list[list[Any]], line: _Line) -> list[list[Any]]:
    """Transform columns, then rows."""
    columns = [line(lanes, list(column)) for column in zip(*square, strict=True)]
    return [line(lanes, list(row)) for row in zip(*columns, strict=True)]


def _load(lanes: Lanes, data: Any, start: Any, down: Any, right: Any, side: int) -> list[list[Any]]:
    builder = lanes.builder
    rows = [builder.add(start, builder.mul(down, _I64(i))) for i in range(side)]
    return [
        [lanes.load(data, builder.add(row, builder.mul(right, _I64(j)))) for j in range(side)] for row in rows
    ]


def _store(lanes: Lanes, square: list[list[Any]], data: Any, start: Any, down: Any, right: Any) -> None:
    builder = lanes.builder
    for i, row in enumerate(square):
        at = builder.add(start, builder.mul(down, _I64(i)))
        for j, value in enumerate(row):
            lanes.store(value, data, builder.add(at, builder.mul(right, _I64(j))))


def _transform(line: _Line, side: int, result: int) -> Any:
    """Return the intrinsic that transforms a square of vectors.

    Vector (i, j) lies at a[a0 + i down + j right], its result at b[b0 + (i result + j) step].
    """

    @intrinsic
    def transform(typingctx: Any, a: Any, a0: Any, down: Any, right: Any, b: Any, b0: Any, step: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, a0, down, right, _, b0, step = args
            lanes = lanes_of(context, builder, signature.args[0].dtype)
            a, b = (data_of(context, builder, signature.args[k], args[k]) for k in (0, 4))
            square = _both_ways(lanes, _load(lanes, a, a0, down, right, side), line)
            _store(lanes, square, b, b0, builder.mul(step, _I64(result)), step)
            return context.get_dummy_value()

        return types.void(a, _SIZE, _SIZE, _SIZE, b, _SIZE, _SIZE), codegen

    return transform


kernel_points, kernel_points_back = _transform(_g, 3, 6), _transform(_g_back, 6, 3)
input_points, gradient_points = _transform(_b, 6, 6), _transform(_a_back, 4, 6)


@intrinsic
def output_tile(
    typingctx: Any, m: Any, m0: Any, step: Any, bias: Any, bias0: Any, relu: Any, y: Any, y0: Any, down: Any,
    right: Any,
) -> Any:  # fmt: skip
    """Transform 36 vectors that lie `step` apart to 4x4, add the bias, apply ReLU if wanted."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, m0, step, _, bias0, relu, _, y0, down, right = args
        lanes = lanes_of(context, builder, signature.args[0].dtype)
        m, bias, y = (data_of(context, builder, signature.args[k], args[k]) for k in (0, 3, 6))
        points = _load(lanes, m, m0, builder.mul(step, _I64(6)), step, 6)
        added, zero = lanes.load(bias, bias0), ir.Constant(lanes.vector, None)

        def finished(value: Any) -> Any:
            total = builder.fadd(value, added)
            above = builder.select(builder.fcmp_unordered(">", total, zero), total, zero)  # NaN stays
            return builder.select(relu, above, total)

        square = [[finished(value) for value in row] for row in _both_ways(lanes, points, _a)]
        _store(lanes, square, y, y0, down, right)
        return context.get_dummy_value()

    flag = types.boolean
    return types.void(m, _SIZE, _SIZE, bias, _SIZE, flag, y, _SIZE, _SIZE, _SIZE), codegen
