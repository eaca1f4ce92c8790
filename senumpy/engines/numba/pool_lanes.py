"""The innermost step of max pooling, forward and back: 64 bytes of channels at a time, in vector registers.

max_tile:       y = max over the taps of a window, winner = which tap it was
max_back_tile:  dx = sum of dy over the windows that this pixel won
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from senumpy.engines.numba.lanes import Lanes, data_of, emit_loop, lanes_of

_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


def _splat(lanes: Lanes, number: Any) -> Any:
    """Return a vector of ints with one number in all lanes."""
    builder = lanes.builder
    kind = ir.VectorType(number.type, lanes.lanes)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), number, _I32(0))
    mask = ir.Constant(ir.VectorType(_I32, lanes.lanes), [0] * lanes.lanes)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), mask)


def _vector_at(lanes: Lanes, data: Any, index: Any) -> Any:
    """Return the address of as many ints as there are lanes."""
    kind = ir.VectorType(data.type.pointee, lanes.lanes)
    return lanes.builder.bitcast(lanes.builder.gep(data, [index]), kind.as_pointer())


@intrinsic
def max_tile(
    typingctx: Any, x: Any, x0: Any, rows: Any, columns: Any, line: Any, pixel: Any, tap0: Any, tap_line: Any,
    y: Any, winner: Any, y0: Any,
) -> Any:  # fmt: skip
    """Take the first maximum of rows x columns taps from x0 on; NaN, not equal to itself, wins always."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        _, x0, rows, columns, line, pixel, tap0, tap_line, _, _, y0 = args
        lanes = lanes_of(context, builder, kinds[8].dtype)
        x, y, winner = (data_of(context, builder, kinds[k], args[k]) for k in (0, 8, 9))

        def row(p: Any, best: list[Any]) -> list[Any]:
            at = builder.add(x0, builder.mul(p, line))
            tap = builder.add(tap0, builder.mul(p, tap_line))

            def column(q: Any, best: list[Any]) -> list[Any]:
                rival = lanes.load(x, builder.add(at, builder.mul(q, pixel)))
                number = _splat(lanes, builder.trunc(builder.add(tap, q), _I32))
                above = builder.fcmp_ordered(">", rival, best[0])
                wins = builder.or_(above, builder.fcmp_unordered("uno", rival, rival))
                return [builder.select(wins, rival, best[0]), builder.select(wins, number, best[1])]

            return emit_loop(builder, _I64(0), columns, best, column)

        begin = [lanes.load(x, x0), _splat(lanes, builder.trunc(tap0, _I32))]
        best, number = emit_loop(builder, _I64(0), rows, begin, row)
        lanes.store(best, y, y0)
        if winner.type.pointee != _I32:
            number = builder.trunc(number, ir.VectorType(winner.type.pointee, lanes.lanes))
        builder.store(number, _vector_at(lanes, winner, y0), align=1)
        return context.get_dummy_value()

    size = types.intp
    return types.void(x, size, size, size, size, size, size, size, y, winner, size), codegen


@intrinsic
def max_back_tile(
    typingctx: Any, dy: Any, winner: Any, dy0: Any, rows: Any, columns: Any, line: Any, pixel: Any, tap0: Any,
    tap_line: Any, tap_step: Any, dx: Any, dx0: Any,
) -> Any:  # fmt: skip
    """Sum dy over rows x columns windows from dy0 on; what tap the pixel is to them falls step by step."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        _, _, dy0, rows, columns, line, pixel, tap0, tap_line, tap_step, _, dx0 = args
        lanes = lanes_of(context, builder, kinds[10].dtype)
        dy, winner, dx = (data_of(context, builder, kinds[k], args[k]) for k in (0, 1, 10))
        zero = ir.Constant(lanes.vector, None)

        def row(i: Any, sums: list[Any]) -> list[Any]:
            begin = builder.add(dy0, builder.mul(i, line))
            tap = builder.sub(tap0, builder.mul(i, tap_line))

            def column(j: Any, sums: list[Any]) -> list[Any]:
                at = builder.add(begin, builder.mul(j, pixel))
                number = builder.trunc(builder.sub(tap, builder.mul(j, tap_step)), winner.type.pointee)
                winners = builder.load(_vector_at(lanes, winner, at), align=1)
                won = builder.icmp_unsigned("==", winners, _splat(lanes, number))
                return [builder.fadd(sums[0], builder.select(won, lanes.load(dy, at), zero))]

            return emit_loop(builder, _I64(0), columns, sums, column)

        (total,) = emit_loop(builder, _I64(0), rows, [zero], row)
        lanes.store(total, dx, dx0)
        return context.get_dummy_value()

    size = types.intp
    return types.void(dy, winner, size, size, size, size, size, size, size, size, dx, size), codegen
