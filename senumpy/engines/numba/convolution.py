"""Which way a convolution goes, and what has to be laid out for it.

    kernel                                     way
    groups of 1, 2, 4, 8 (float32: 16)         grouped: tap by tap, a block of channels at a time
    channels, as many out
    3x3, stride 1, one group, float32,         Winograd F(4x4, 3x3); in blocks within the cache where the
    multiples of 16 channels                   transformed kernels are small, else in phases
    1x1 with a stride                          a product of the rows that it sees
    everything else, and with exact=True       products of rows

float64 never goes by Winograd: it is there to be compared with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.numba import direct, direct_weights, products, small_groups, winograd
from senumpy.engines.numba.geometry import Array, Geometry, geometry
from senumpy.engines.numba.microkernel import ROWS, panel_width
from senumpy.engines.numba.runtime import NOTHING, Runtime, flat
from senumpy.engines.numba.tiles import POINTS, Tiles
from senumpy.ops.windows import Window

_FUSED_BYTES = 3 << 20  # largest transformed kernels that are read again for each block
_FUSED_TILES = 384  # fewest tiles for which that pays
_FEWEST_PARTS = 8
_FEWEST_CHUNKS = 4
_NARROWEST = 64  # columns of a chunk
_LINES_BYTES = 1 << 16
_SHORT_LINE = 32  # numbers that a window sees of a line: fewer are gathered
_LEAST_SIZE = 7  # of the result, for Winograd: smaller ones are mostly edge


class Epilogue(NamedTuple):
    """What is done to a result while it is in the cache: relu(gate * (y + bias) + shortcut)."""

    bias: Array
    gate: Array
    shortcut: Array
    relu: bool


def no_epilogue(dtype: Any) -> Epilogue:
    """Return the epilogue that leaves the result alone."""
    nothing = NOTHING[dtype]
    return Epilogue(nothing, nothing, nothing, False)


class Convolution(NamedTuple):
    """One convolution's sizes, and the way it goes."""

    g: Geometry
    groups: int
    way: str  # "grouped", "winograd", "decimated" or "direct"

    @property
    def gathered(self) -> bool:
        """Whether a direct convolution gathers what a window sees: with few channels its lines are short."""
        g = self.g
        return g.taps > 1 and g.kw * (g.c // self.groups) < _SHORT_LINE

    def on_decimated(self) -> Convolution:
        """Return the 1x1 convolution with stride 1 of the pixels that a strided one sees."""
        g = self.g
        small = g._replace(h=g.out_h, w=g.out_w, stride_h=1, stride_w=1)
        return Convolution(small, self.groups, "direct")


def plan(
    runtime: Runtime, x: Array, w: Array, window: Window, groups: int, out: tuple[int, int]
) -> Convolution:
    """Choose the way for `x` (N, C, H, W) and `w` (O, C/groups, kh, kw)."""
    g = geometry(x, w.shape[0], window, out)
    if g.c == g.o and small_groups.fits(g.c, groups, x.dtype):
        return Convolution(g, groups, "grouped")
    width = panel_width(x.dtype)
    winograd_fits = (
        g[7:11] == (3, 3, 1, 1)
        and (g.dilation_h, g.dilation_w) == (1, 1)
        and max(g.pad_h, g.pad_w) <= 2
        and min(out) >= _LEAST_SIZE
        and groups == 1
        and g.c % width == 0
        and g.o % width == 0
    )
    if winograd_fits and x.dtype == np.float32 and not runtime.exact:
        return Convolution(g, groups, "winograd")
    if g.taps == 1 and not g.is_plain and max(g.pad_h, g.pad_w) == 0:
        return Convolution(g, groups, "decimated")
    return Convolution(g, groups, "direct")


def forward(runtime: Runtime, x: Array, w: Array, conv: Convolution, epilogue: Epilogue) -> Array:
    """Return y as rows; x is rows, w has any order."""
    g = conv.g
    if conv.way == "decimated":
        return forward(runtime, _decimated(runtime, x, g), w, conv.on_decimated(), epilogue)
    y = runtime.empty(g.out_rows * g.o, x.dtype)
    if conv.way == "grouped":
        kernels = runtime.remember(
            ("grouped", conv.groups), (w,), lambda: small_groups.blocked(w, conv.groups)
        )
        bias, gate, shortcut, relu = epilogue
        last = not (gate.size or shortcut.size)
        small_groups.forward(runtime, x, kernels, g, conv.groups, bias, relu and last, y)
        if not last:
            runtime.run(direct.finish, y, g.n, g.out_h * g.out_w, g.o, bias[:0], gate, shortcut, relu)
    elif conv.way == "winograd":
        u = runtime.remember(("winograd",), (w,), lambda: _winograd_kernels(runtime, w, g, turned=False))
        t, t_out = _tiles(g)
        _winograd(runtime, x, t, u, y, t_out, g.n, epilogue)
    else:
        panels = runtime.remember(("panels", conv.groups), (w,), lambda: _panels(runtime, w, conv))
        _direct(runtime, x, panels, conv, y, epilogue)
    return y


def backward_input(runtime: Runtime, dy: Array, w: Array, conv: Convolution, dx_dtype: Any) -> Array:
    """Return the gradient of x as rows; dy is rows."""
    g, groups = conv.g, conv.groups
    dx = runtime.empty(g.in_rows * g.c, dx_dtype)
    if conv.way == "decimated":
        runtime.run(direct.scatter, backward_input(runtime, dy, w, conv.on_decimated(), dx_dtype), g, dx)
        return dx
    if conv.way == "grouped":
        small_groups.backward_input(runtime, dy, w, g, groups, dx)
        return dx
    nothing = no_epilogue(dx_dtype)
    if conv.way == "winograd":
        # The same convolution with the kernels turned: what was padded p before is padded 2 - p.
        u = _winograd_kernels(runtime, w, g, turned=True)
        rows, columns = -(-g.h // 4), -(-g.w // 4)
        t = Tiles(g.out_h, g.out_w, g.o, rows, columns, 2 - g.pad_h, 2 - g.pad_w)
        _winograd(runtime, dy, t, u, dx, Tiles(g.h, g.w, g.c, rows, columns, 0, 0), g.n, nothing)
        return dx
    width = panel_width(dx_dtype)
    c = g.c // groups
    turned = _turned(g)
    if turned is not None:
        # Stride 1: the gradient is a convolution of dy with the kernels turned by 180 degrees.
        panels = _turned_panels(runtime, w, conv)
        _direct(runtime, dy, panels, Convolution(turned, groups, "direct"), dx, nothing)
        return dx
    panels = _transposed_panels(runtime, w, conv)
    scratch = runtime.scratch(products.ROW_BLOCK * width + products.ROW_BLOCK * g.taps * c, dx_dtype)
    runtime.run(direct.backward_input, dy, g, groups, panels, width, dx, scratch)
    return dx


def backward_weights(runtime: Runtime, x: Array, dy: Array, w: Array, conv: Convolution) -> Array:
    """Return the gradient of w (O, C/groups, kh, kw); x and dy are rows."""
    g, groups = conv.g, conv.groups
    width = panel_width(x.dtype)
    if conv.way == "decimated":
        return backward_weights(runtime, _decimated(runtime, x, g), dy, w, conv.on_decimated())
    if conv.way == "grouped":
        return small_groups.backward_weights(runtime, x, dy, w, g, groups)
    dw = runtime.empty(w.size, x.dtype)
    if conv.way == "winograd":
        _winograd_weights(runtime, x, dy, g, dw)
        return dw.reshape(w.shape)
    c, o = g.c // groups, g.o // groups
    across = g.taps if conv.gathered else g.kw if g.dilation_w == 1 else 1
    runs = g.taps // across
    swapped = g.is_plain and c < o  # the longer side is the one that lies in panels
    m, columns = (c, o) if swapped else (o, across * c)
    size = max(1, min(g.out_h, direct_weights.DEPTH // g.out_w))  # lines that are summed over at a time
    units = -(-g.out_rows // direct_weights.DEPTH) if g.is_plain else g.n * -(-g.out_h // size)
    deepest = direct_weights.DEPTH if g.is_plain else size * g.out_w
    blocks = -(-columns // direct_weights.WIDTH) * -(-m // direct_weights.HEIGHT) * groups * runs
    parts = max(1, min(-(-_FEWEST_PARTS // blocks), units))
    ldr = runs * -(-columns // width) * width
    result = runtime.empty(parts * groups * m * ldr, x.dtype)
    packed = deepest * (direct_weights.HEIGHT + direct_weights.WIDTH + width)
    lines = (size - 1) * g.stride_h + 1 + ((g.kh - 1) * g.dilation_h if conv.gathered else 0)
    padded = 0 if g.is_plain else lines * (g.w + 2 * g.pad_w) * c
    patches = deepest * columns if conv.gathered else 0
    scratch = runtime.scratch(packed + padded + patches, x.dtype)
    runtime.run(
        direct_weights.backward_weights,
        blocks * parts, x, dy, g, groups, swapped, g.is_plain, size, conv.gathered, parts, width, ldr,
        result, scratch, dw,
    )  # fmt: skip
    return dw.reshape(w.shape)


def _direct(runtime: Runtime, x: Array, panels: Array, conv: Convolution, y: Array, e: Epilogue) -> None:
    g, groups = conv.g, conv.groups
    width = panel_width(x.dtype)
    if g.is_plain:
        _rows(runtime, x, panels, conv, y, e)
        return
    # As many lines at a time as a core's cache holds well.
    line = (g.w + 2 * g.pad_w) * (g.c // groups)
    lines = max(g.kh + 1, _LINES_BYTES // (line * x.itemsize))
    size = max(1, min(g.out_h, (lines - (g.kh - 1) * g.dilation_h - 1) // g.stride_h + 1))
    needed = ((size - 1) * g.stride_h + (g.kh - 1) * g.dilation_h + 1) * line
    patches = g.out_w * g.taps * (g.c // groups) if conv.gathered else 0
    scratch = runtime.scratch(g.out_w * width + patches + needed, x.dtype)
    runtime.run(
        direct.forward_lines,
        x, g, groups, panels, width, size, conv.gathered, y, e.bias, e.shortcut, e.relu, scratch,
    )  # fmt: skip


def _rows(runtime: Runtime, x: Array, panels: Array, conv: Convolution, y: Array, e: Epilogue) -> None:
    g, groups = conv.g, conv.groups
    width = panel_width(x.dtype)
    # With a gate, a block of rows lies in one image. Blocks are of one size, and whole tiles.
    images, rows = (g.n, g.out_h * g.out_w) if e.gate.size else (1, g.out_rows)
    blocks = -(-rows // products.ROW_BLOCK)
    row_block = -(-rows // blocks // ROWS) * ROWS
    columns = direct.COLUMN_BLOCK
    while columns > _NARROWEST and images * blocks * groups * -(-(g.o // groups) // columns) < _FEWEST_CHUNKS:
        columns //= 2  # few rows, as in the inference of one image: then columns give work to all threads
    blocks = -(-rows // row_block)
    chunks = images * blocks * groups * -(-(g.o // groups) // columns)
    scratch = runtime.scratch(row_block * width, x.dtype)
    runtime.run(
        direct.forward_rows, chunks, x, g, groups, panels, width, blocks, row_block, columns, y, *e, scratch
    )


def _winograd(
    runtime: Runtime, x: Array, t: Tiles, u: Array, y: Array, t_out: Tiles, n: int, e: Epilogue
) -> None:
    width = panel_width(x.dtype)
    tiles = n * t.rows * t.columns
    cut = POINTS * width
    bias = e.bias if e.bias.size else np.zeros(t_out.c, x.dtype)
    if u.nbytes <= _FUSED_BYTES and tiles >= _FUSED_TILES:
        scratch = runtime.scratch(cut + POINTS * winograd.STRIDE * (t.c + t_out.c), x.dtype)
        runtime.run(winograd.fused, x, t, u, width, y, t_out, tiles, bias, e.relu, scratch)
    else:
        v = runtime.empty(POINTS * (tiles + 1) * t.c, x.dtype)
        m = runtime.empty(POINTS * (tiles + 1) * t_out.c, x.dtype)
        scratch = runtime.scratch(cut, x.dtype)
        size = max(1, min(winograd.PHASE_TILES, tiles // 8))
        # With few tiles the kernels come from memory and are used once or twice: best in one go.
        block = t.c if tiles <= winograd.FEW_TILES else winograd.CHANNEL_BLOCK
        runtime.run(
            winograd.in_phases,
            x, t, u, width, y, t_out, tiles, size, block, bias, e.relu, v, m, scratch,
        )  # fmt: skip


def _winograd_weights(runtime: Runtime, x: Array, dy: Array, g: Geometry, dw: Array) -> None:
    width = panel_width(x.dtype)
    t, t_out = _tiles(g)
    tiles = g.n * t.rows * t.columns
    cut = max(POINTS, winograd.KERNEL_SCRATCH) * width
    matrices = POINTS * g.c * g.o
    if matrices * x.itemsize <= _FUSED_BYTES and tiles >= _FUSED_TILES:
        parts = max(1, min(_FEWEST_PARTS, tiles // winograd.PHASE_TILES))
        sums = runtime.empty(parts * matrices, x.dtype)
        scratch = runtime.scratch(cut + POINTS * winograd.GRADIENT_STRIDE * (g.c + g.o), x.dtype)
        runtime.run(winograd.weights_fused, x, t, dy, t_out, tiles, width, parts, sums, scratch, dw)
    else:
        v = runtime.empty(POINTS * (tiles + 1) * g.c, x.dtype)
        z = runtime.empty(POINTS * (tiles + 1) * g.o, x.dtype)
        sums = runtime.empty(matrices, x.dtype)
        scratch = runtime.scratch(cut, x.dtype)
        size = max(1, min(winograd.PHASE_TILES, tiles // 8))
        runtime.run(winograd.weights_in_phases, x, t, dy, t_out, tiles, size, width, v, z, sums, scratch, dw)


def _decimated(runtime: Runtime, x: Array, g: Geometry) -> Array:
    """Return the pixels that a strided 1x1 convolution sees."""
    pixels = runtime.empty(g.out_rows * g.c, x.dtype)
    runtime.run(direct.decimate, x, g, pixels)
    return pixels


def _tiles(g: Geometry) -> tuple[Tiles, Tiles]:
    """Return the tiles of input and output."""
    rows, columns = -(-g.out_h // 4), -(-g.out_w // 4)
    return (
        Tiles(g.h, g.w, g.c, rows, columns, g.pad_h, g.pad_w),
        Tiles(g.out_h, g.out_w, g.o, rows, columns, 0, 0),
    )


def _winograd_kernels(runtime: Runtime, w: Array, g: Geometry, *, turned: bool) -> Array:
    width = panel_width(w.dtype)
    u = runtime.empty(POINTS * g.c * g.o, w.dtype)
    sizes = (g.o, g.c, 9 * g.c, 9) if turned else (g.c, g.o, 9, 9 * g.c)
    scratch = runtime.scratch(winograd.KERNEL_SCRATCH * width, w.dtype)
    runtime.run(winograd.transform_kernels, flat(w), *sizes, turned, width, u, scratch)
    return u


def _turned(g: Geometry) -> Geometry | None:
    """Return the convolution of dy that is the gradient of x, if there is one: for a stride of 1."""
    pads = (g.dilation_h * (g.kh - 1) - g.pad_h, g.dilation_w * (g.kw - 1) - g.pad_w)
    if (g.stride_h, g.stride_w) != (1, 1) or min(pads) < 0:
        return None
    return Geometry(
        g.n, g.out_h, g.out_w, g.o, g.h, g.w, g.c, g.kh, g.kw, 1, 1, *pads, g.dilation_h, g.dilation_w
    )


def _panels(runtime: Runtime, w: Array, conv: Convolution) -> Array:
    """Return the kernels packed for products with patches: depth (taps, C/groups), columns O/groups."""
    c, o, taps = conv.g.c // conv.groups, conv.g.o // conv.groups, conv.g.taps
    return _packed(runtime, flat(w), conv.groups, (taps, c), (1, taps), o, c * taps)


def _turned_panels(runtime: Runtime, w: Array, conv: Convolution) -> Array:
    """Return the kernels turned and transposed, packed: depth (taps, O/groups), columns C/groups."""
    c, o, taps = conv.g.c // conv.groups, conv.g.o // conv.groups, conv.g.taps
    return _packed(runtime, flat(w), conv.groups, (taps, o), (-1, c * taps), c, taps, start=taps - 1)


def _transposed_panels(runtime: Runtime, w: Array, conv: Convolution) -> Array:
    """Return the kernels packed for products with dy: depth O/groups, columns (taps, C/groups)."""
    c, o, taps = conv.g.c // conv.groups, conv.g.o // conv.groups, conv.g.taps
    # Columns with taps before channels, as patches have them.
    line = flat(w) if taps == 1 else flat(w.reshape(conv.g.o, c, taps).transpose(0, 2, 1))
    return _packed(runtime, line, conv.groups, (1, o), (0, c * taps), taps * c, 1)


def _packed(
    runtime: Runtime, line: Array, groups: int, depth: tuple[int, int], strides: tuple[int, int],
    columns: int, stride: int, start: int = 0,
) -> Array:  # fmt: skip
    """Return each group's kernels in panels; `depth` has two indices, each with its stride in `line`."""
    width = panel_width(line.dtype)
    size = -(-columns // width) * width * depth[0] * depth[1]
    panels = runtime.empty(groups * size, line.dtype)
    for group in range(groups):
        begin = group * (line.size // groups) + start
        to = panels[group * size :]
        runtime.run(products.pack, line, begin, *depth, *strides, columns, stride, width, to)
    return panels
