"""The innermost step of convolutions with small groups: 64 bytes of channels at a time, pixel by pixel.

A block of channels (16 of float32, 8 of float64) holds whole groups of M channels. With lane l in the group
that begins at first(l) = l - l % M,

    pixels_tile:   y[r, l]    = start[l] + sum_{t, m} x[r, t, first(l) + m] w[t, m, l]
    weights_tile:  sums[t, m, l] += sum_r x[r, t, first(l) + m] dy[r, l]

where x[r, t] is what window r sees through tap t of the kernel. The channel that all lanes of a group need is
spread over them by a shuffle in the registers, so nothing is multiplied with a zero and nothing is copied.
M is part of a type, for shuffles have to be known when the code is compiled: it is the length of a tuple.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from senumpy.engines.numba.microkernel import PANEL_BYTES

PIXELS = 4  # windows of the larger tile
_I64 = ir.IntType(64)
_I32 = ir.IntType(32)


def tile_taps(members: int) -> int:
    """Return how many taps `weights_tile` does at a time: with more members, fewer fit the registers."""
    return {1: 5, 2: 2}.get(members, 1)


class Lanes(NamedTuple):
    """Vectors of one block of channels."""

    builder: Any
    scalar: Any
    lanes: int
    members: int

    @property
    def vector(self) -> Any:
        """The LLVM type of a block."""
        return ir.VectorType(self.scalar, self.lanes)

    @property
    def bytes(self) -> int:
        """Of one number."""
        return PANEL_BYTES // self.lanes

    def load(self, data: Any, index: Any) -> Any:
        """Read a block from data[index]."""
        address = self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())
        return self.builder.load(address, align=self.bytes)

    def store(self, value: Any, data: Any, index: Any) -> None:
        """Write a block to data[index]."""
        address = self.builder.bitcast(self.builder.gep(data, [index]), self.vector.as_pointer())
        self.builder.store(value, address, align=self.bytes)

    def reader(self, data: Any, index: Any) -> Callable[[int, Any], Any]:
        """Return a function of a member: the vector whose lanes hold that member of their group."""
        if self.members < 8:
            pixel = self.load(data, index)
            return lambda member, after: self._shuffled(pixel, member)
        return lambda member, after: self._broadcast(data, index, member, after)

    def _shuffled(self, pixel: Any, member: int) -> Any:
        if self.members == 1:
            return pixel
        firsts = [lane - lane % self.members + member for lane in range(self.lanes)]
        return self._shuffle(pixel, pixel, firsts)

    def _broadcast(self, data: Any, index: Any, member: int, after: Any) -> Any:
        """Load one number a group; cheaper than a shuffle that crosses the halves of a register."""
        builder, spread = self.builder, []
        index = builder.add(index, after)
        for group in range(self.lanes // self.members):
            at = builder.add(index, _I64(group * self.members + member))
            number = builder.load(builder.gep(data, [at]), align=self.bytes)
            undefined = ir.Constant(self.vector, ir.Undefined)
            one = builder.insert_element(undefined, number, _I32(0))
            spread.append(self._shuffle(one, undefined, [0] * self.lanes))
        if len(spread) == 1:
            return spread[0]
        half = self.lanes // 2
        return self._shuffle(spread[0], spread[1], [*range(half), *range(self.lanes + half, 2 * self.lanes)])

    def _shuffle(self, a: Any, b: Any, lanes: list[int]) -> Any:
        mask = ir.Constant(ir.VectorType(_I32, self.lanes), lanes)
        return self.builder.shuffle_vector(a, b, mask)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Return a b + c, rounded once."""
        name = f"llvm.fma.v{self.lanes}f{8 * self.bytes}"
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [a, b, c])


def lanes_of(context: Any, builder: Any, dtype: Any, members: int = 1) -> Lanes:
    """Return the block of channels for numbers of this type."""
    scalar = context.get_data_type(dtype)
    return Lanes(builder, scalar, PANEL_BYTES // (4 if isinstance(scalar, ir.FloatType) else 8), members)


def data_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Return the address of an array's first number."""
    return context.make_array(kind)(context, builder, array).data


def emit_loop(
    builder: Any, begin: Any, end: Any, sums: list[Any], body: Callable[[Any, list[Any]], list[Any]]
) -> list[Any]:
    """Emit `for k in range(begin, end): sums = body(k, sums)`; return the sums."""
    entry = builder.block
    head, inside, done = (builder.append_basic_block(name) for name in ("head", "inside", "done"))
    builder.branch(head)
    builder.position_at_end(head)
    k = builder.phi(_I64)
    k.add_incoming(begin, entry)
    carried = [builder.phi(value.type) for value in sums]
    for phi, value in zip(carried, sums, strict=True):
        phi.add_incoming(value, entry)
    builder.cbranch(builder.icmp_signed("<", k, end), inside, done)
    builder.position_at_end(inside)
    following = body(k, carried)
    k.add_incoming(builder.add(k, _I64(1)), builder.block)
    for phi, value in zip(carried, following, strict=True):
        phi.add_incoming(value, builder.block)
    builder.branch(head)
    builder.position_at_end(done)
    return carried


@intrinsic
def stream(typingctx: Any, to: Any, to0: Any, source: Any, source0: Any) -> Any:
    """Copy 64 bytes past the caches, to an address divisible by that; `end_stream` must follow in the end."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        lanes = lanes_of(context, builder, signature.args[0].dtype)
        data, data0, source, source0 = args
        data, source = (data_of(context, builder, signature.args[k], args[k]) for k in (0, 2))
        address = builder.bitcast(builder.gep(data, [data0]), lanes.vector.as_pointer())
        stored = builder.store(lanes.load(source, source0), address, align=PANEL_BYTES)
        stored.set_metadata("nontemporal", builder.module.add_metadata([_I32(1)]))
        return context.get_dummy_value()

    return types.void(to, types.intp, source, types.intp), codegen


@intrinsic
def end_stream(typingctx: Any) -> Any:
    """Wait until other threads see what was written past the caches."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def prefetch(typingctx: Any, data: Any, index: Any) -> Any:
    """Ask for the cache line of data[index], without waiting; an index outside of the array does no harm."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = builder.gep(data_of(context, builder, signature.args[0], args[0]), [args[1]])
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        builder.call(function, [builder.bitcast(address, byte), _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(data, types.intp), codegen


def _make_pixels_tile(pixels: int) -> Any:
    """Return the intrinsic for tiles of this many windows."""

    @intrinsic
    def pixels_tile(
        typingctx: Any, group: Any, x: Any, x0: Any, step: Any, offsets: Any, taps: Any, first: Any,
        last: Any, w: Any, w0: Any, start: Any, start0: Any, y: Any, y0: Any, ldy: Any, relu: Any,
    ) -> Any:  # fmt: skip
        """Compute y for windows whose sight in x lies `step` apart; offsets of taps, and their kernels."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _emit_pixels(context, builder, signature.args, args, pixels)
            return context.get_dummy_value()

        size, flag = types.intp, types.boolean
        return types.void(
            group, x, size, size, offsets, taps, size, size, w, size, start, size, y, size, size, flag
        ), codegen

    return pixels_tile


def _emit_pixels(context: Any, builder: Any, kinds: Any, args: Any, pixels: int) -> None:
    members = kinds[0].count
    _, _, x0, step, _, _, first, last, _, w0, _, start0, _, y0, ldy, relu = args
    lanes = lanes_of(context, builder, kinds[12].dtype, members)
    x, offsets, taps, w, start, y = (
        data_of(context, builder, kinds[k], args[k]) for k in (1, 4, 5, 8, 10, 12)
    )
    windows = [builder.add(x0, builder.mul(step, _I64(r))) for r in range(pixels)]

    def body(t: Any, sums: list[Any]) -> list[Any]:
        offset = builder.load(builder.gep(offsets, [t]))
        tap = builder.load(builder.gep(taps, [t]))
        kernel = builder.add(w0, builder.mul(tap, _I64(members * lanes.lanes)))
        read = [lanes.reader(x, builder.add(window, offset)) for window in windows]
        for member in range(members):
            weights = lanes.load(w, builder.add(kernel, _I64(member * lanes.lanes)))
            sums = [lanes.multiply_add(read[r](member, _I64(0)), weights, sums[r]) for r in range(pixels)]
        return sums

    begin = lanes.load(start, start0)
    sums = emit_loop(builder, first, last, [begin] * pixels, body)
    zero = ir.Constant(lanes.vector, None)
    for r, total in enumerate(sums):
        positive = builder.select(builder.fcmp_unordered(">", total, zero), total, zero)  # NaN stays
        lanes.store(builder.select(relu, positive, total), y, builder.add(y0, builder.mul(ldy, _I64(r))))


pixels_tile, pixel_tile = _make_pixels_tile(PIXELS), _make_pixels_tile(1)


@intrinsic
def weights_tile(
    typingctx: Any, group: Any, x: Any, x0: Any, step: Any, offsets: Any, taps: Any, first: Any,
    member: Any, dy: Any, dy0: Any, ldy: Any, pixels: Any, sums: Any, s0: Any,
) -> Any:  # fmt: skip
    """Add a line of windows to the sums of the taps from the `first` one on, and of members from `member`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _emit_weights(context, builder, signature.args, args)
        return context.get_dummy_value()

    size = types.intp
    return types.void(
        group, x, size, size, offsets, taps, size, size, dy, size, size, size, sums, size
    ), codegen


def _emit_weights(context: Any, builder: Any, kinds: Any, args: Any) -> None:
    members = kinds[0].count
    _, _, x0, step, _, _, first, member, _, dy0, ldy, pixels, _, s0 = args
    lanes = lanes_of(context, builder, kinds[12].dtype, members)
    x, offsets, taps, dy, results = (data_of(context, builder, kinds[k], args[k]) for k in (1, 4, 5, 8, 12))
    some = min(members, 4)
    places, seen = [], []
    for tap in range(tile_taps(members)):
        t = builder.add(first, _I64(tap))
        seen.append(builder.add(x0, builder.load(builder.gep(offsets, [t]))))
        number = builder.load(builder.gep(taps, [t]))
        base = builder.add(builder.mul(number, _I64(members)), member)
        for m in range(some):
            at = builder.mul(builder.add(base, _I64(m)), _I64(lanes.lanes))
            places.append(builder.add(s0, at))

    def body(r: Any, sums: list[Any]) -> list[Any]:
        gradient = lanes.load(dy, builder.add(dy0, builder.mul(r, ldy)))
        following = []
        for tap, begin in enumerate(seen):
            read = lanes.reader(x, builder.add(begin, builder.mul(r, step)))
            for m in range(some):
                following.append(lanes.multiply_add(read(m, member), gradient, sums[tap * some + m]))
        return following

    before = [lanes.load(results, place) for place in places]
    after = emit_loop(builder, _I64(0), pixels, before, body)
    for value, place in zip(after, places, strict=True):
        lanes.store(value, results, place)
