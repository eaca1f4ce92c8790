"""Winograd's transforms of kernels in vector registers: U = G w G^T, 3x3 to 6x6, and back dw = G^T dU G.

    G = [[1/4, 0, 0], [-1/6, -1/6, -1/6], [-1/6, 1/6, -1/6], [1/24, 1/12, 1/6], [1/24, -1/12, 1/6], [0, 0, 1]]

Each lane is a kernel of its own; a panel holds 64 bytes of them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from senumpy.engines.numba.lanes import Lanes, data_of, lanes_of

_I64 = ir.IntType(64)


def _times(lanes: Lanes, vector: Any, number: float) -> Any:
    return lanes.builder.fmul(vector, ir.Constant(lanes.vector, [number] * lanes.lanes))


def _line(lanes: Lanes, x: list[Any]) -> list[Any]:
    """Return G x: three vectors to six."""
    add, sub = lanes.builder.fadd, lanes.builder.fsub
    even = _times(lanes, add(x[0], x[2]), -1 / 6)
    odd = _times(lanes, x[1], 1 / 6)
    far = add(_times(lanes, x[0], 1 / 24), _times(lanes, x[2], 1 / 6))
    half = _times(lanes, x[1], 1 / 12)
    return [_times(lanes, x[0], 1 / 4), sub(even, odd), add(even, odd), add(far, half), sub(far, half), x[2]]


def _line_back(lanes: Lanes, x: list[Any]) -> list[Any]:
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


@intrinsic
def kernel_points(typingctx: Any, taps: Any, t0: Any, u: Any, u0: Any, step: Any) -> Any:
    """Transform a panel of kernels: nine vectors side by side to 36 that lie `step` apart."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, t0, _, u0, step = args
        lanes = lanes_of(context, builder, signature.args[0].dtype)
        taps, u = (data_of(context, builder, signature.args[k], args[k]) for k in (0, 2))
        w = [lanes.load(taps, builder.add(t0, _I64(tap * lanes.lanes))) for tap in range(9)]
        columns = [_line(lanes, w[j::3]) for j in range(3)]
        for i in range(6):
            for j, value in enumerate(_line(lanes, [column[i] for column in columns])):
                lanes.store(value, u, builder.add(u0, builder.mul(step, _I64(6 * i + j))))
        return context.get_dummy_value()

    return types.void(taps, types.intp, u, types.intp, types.intp), codegen


@intrinsic
def kernel_points_back(typingctx: Any, du: Any, u0: Any, step: Any, taps: Any, t0: Any) -> Any:
    """Transform a panel of gradients back: 36 vectors that lie `step` apart to nine side by side."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, u0, step, _, t0 = args
        lanes = lanes_of(context, builder, signature.args[0].dtype)
        du, taps = (data_of(context, builder, signature.args[k], args[k]) for k in (0, 3))
        points = [lanes.load(du, builder.add(u0, builder.mul(step, _I64(point)))) for point in range(36)]
        columns = [_line_back(lanes, points[j::6]) for j in range(6)]
        for i in range(3):
            for j, value in enumerate(_line_back(lanes, [column[i] for column in columns])):
                lanes.store(value, taps, builder.add(t0, _I64((3 * i + j) * lanes.lanes)))
        return context.get_dummy_value()

    return types.void(du, types.intp, types.intp, taps, types.intp), codegen
