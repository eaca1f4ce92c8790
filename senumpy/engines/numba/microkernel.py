"""The innermost product: a few rows times one panel of columns, all sums in vector registers.

Everything that multiplies matrices in this engine ends here. `tile_R` computes, for R rows and a panel of
`panel_width` columns (64 bytes: 16 of float32, 8 of float64),

    c[i, j] (+)= sum_k a[i, k] b[k, j]          i < R, j < panel_width, k < depth

with one vector of sums a row. Each step of k loads one vector of b, which lies without gaps, and multiplies
it by R single numbers of a, which may lie anywhere (a row and a column stride), so a needs no packing. Six
rows take 12 of the 16 vector registers of AVX2, and enough sums are under way to hide the latency of the
multiply-add. The code is written in LLVM's own vectors because nothing else keeps 12 sums in registers
reliably; LLVM fits them to the machine's width.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from senumpy.engines.numba.compiler import kernel

PANEL_BYTES = 64
ROWS = 6  # of the largest tile
_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


def panel_width(dtype: Any) -> int:
    """Return how many columns a panel has: 16 of float32, 8 of float64."""
    return PANEL_BYTES // int(dtype.itemsize)


def _make_tile(rows: int) -> Any:
    """Return the intrinsic for tiles of this many rows."""

    @intrinsic
    def tile(
        typingctx: Any, a: Any, a0: Any, row: Any, column: Any, b: Any, b0: Any,
        c: Any, c0: Any, ldc: Any, depth: Any, add: Any,
    ) -> Any:  # fmt: skip
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit(context, builder, signature.args, args, rows)
            return context.get_dummy_value()

        size = types.intp
        signature = types.void(a, size, size, size, b, size, c, size, size, size, types.boolean)
        return signature, codegen

    return tile


def _emit(context: Any, builder: Any, argument_types: Any, args: Any, rows: int) -> None:
    _, a0, row, column, _, b0, _, c0, ldc, depth, add = args
    scalar = context.get_data_type(argument_types[6].dtype)
    lanes = PANEL_BYTES // (4 if isinstance(scalar, ir.FloatType) else 8)
    vector = ir.VectorType(scalar, lanes)
    align = PANEL_BYTES // lanes  # of one number: nothing is known of the vectors

    def pointer(index: int, offset: Any) -> Any:
        array = context.make_array(argument_types[index])(context, builder, args[index])
        return builder.gep(array.data, [offset])

    def as_vector(address: Any) -> Any:
        return builder.bitcast(address, vector.as_pointer())

    a_data, b_data, c_data = pointer(0, a0), pointer(4, b0), pointer(6, c0)
    name = f"llvm.fma.v{lanes}f{8 * align}"
    multiply_add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    a_rows = [builder.gep(a_data, [builder.mul(_I64(r), row)]) for r in range(rows)]
    c_rows = [as_vector(builder.gep(c_data, [builder.mul(_I64(r), ldc)])) for r in range(rows)]

    zero = ir.Constant(vector, None)
    undefined = ir.Constant(vector, ir.Undefined)
    everywhere = ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    entry = builder.block
    loop = builder.append_basic_block("depth")
    done = builder.append_basic_block("done")
    builder.branch(loop)  # depth is at least 1

    builder.position_at_end(loop)
    k = builder.phi(_I64)
    k.add_incoming(_I64(0), entry)
    sums = [builder.phi(vector) for _ in range(rows)]
    b_vector = builder.load(as_vector(builder.gep(b_data, [builder.mul(k, _I64(lanes))])), align=align)
    at = builder.mul(k, column)
    following = []
    for r in range(rows):
        number = builder.load(builder.gep(a_rows[r], [at]), align=align)
        spread = builder.shuffle_vector(
            builder.insert_element(undefined, number, _I32(0)), undefined, everywhere
        )
        following.append(builder.call(multiply_add, [spread, b_vector, sums[r]]))
    next_k = builder.add(k, _I64(1))
    k.add_incoming(next_k, loop)
    for r in range(rows):
        sums[r].add_incoming(zero, entry)
        sums[r].add_incoming(following[r], loop)
    builder.cbranch(builder.icmp_signed("<", next_k, depth), loop, done)

    builder.position_at_end(done)
    with builder.if_else(add) as (then, otherwise):
        with then:
            for r in range(rows):
                before = builder.load(c_rows[r], align=align)
                builder.store(builder.fadd(before, following[r]), c_rows[r], align=align)
        with otherwise:
            for r in range(rows):
                builder.store(following[r], c_rows[r], align=align)


@intrinsic
def copy_panel_row(typingctx: Any, b: Any, b0: Any, a: Any, a0: Any) -> Any:
    """Copy one row of a panel, 64 bytes, from a[a0] to b[b0]."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scalar = context.get_data_type(signature.args[0].dtype)
        lanes = PANEL_BYTES // (4 if isinstance(scalar, ir.FloatType) else 8)
        vector = ir.VectorType(scalar, lanes).as_pointer()
        to, start = (
            builder.gep(context.make_array(signature.args[k])(context, builder, args[k]).data, [args[k + 1]])
            for k in (0, 2)
        )
        value = builder.load(builder.bitcast(start, vector), align=PANEL_BYTES // lanes)
        builder.store(value, builder.bitcast(to, vector), align=PANEL_BYTES // lanes)
        return context.get_dummy_value()

    return types.void(b, types.intp, a, types.intp), codegen


_tile_6, _tile_4, _tile_2, _tile_1 = (_make_tile(rows) for rows in (6, 4, 2, 1))


@kernel
def multiply_panel(a, a0, row, column, b, b0, c, c0, ldc, rows, depth, add):
    """c[:rows, one panel] (+)= a[:rows, :depth] b[:depth, one panel].

    a, b, c are flat arrays, a0, b0, c0 where the matrices begin in them; `row` and `column` are a's strides,
    `ldc` is c's row stride, all in elements. b is packed: its rows follow each other without a gap.
    """
    i = 0
    while rows - i >= 6:
        _tile_6(a, a0 + i * row, row, column, b, b0, c, c0 + i * ldc, ldc, depth, add)
        i += 6
    if rows - i >= 4:
        _tile_4(a, a0 + i * row, row, column, b, b0, c, c0 + i * ldc, ldc, depth, add)
        i += 4
    if rows - i >= 2:
        _tile_2(a, a0 + i * row, row, column, b, b0, c, c0 + i * ldc, ldc, depth, add)
        i += 2
    if rows - i == 1:
        _tile_1(a, a0 + i * row, row, column, b, b0, c, c0 + i * ldc, ldc, depth, add)
