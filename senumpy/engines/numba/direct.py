"""Convolution as products of rows: any kernel, stride, padding and dilation.

A 1x1 convolution is one product, its rows are the pixels. Otherwise the numbers that a window sees are
gathered into a row of a patch matrix (im2col) for a block of windows at a time, which stays in the cache.

    forward:             y  = P w            rows of patches times packed kernels, block by block
    gradient of x:       dP = dy w^T         added back to the pixels they came from, image by image
    gradient of w:       dw = dy^T P         blocks of the result, each summed over all rows
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled
from senumpy.engines.numba.microkernel import ROWS, copy_panel_row, multiply_panel
from senumpy.engines.numba.products import DEPTH_BLOCK, ROW_BLOCK, block_product
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp
COLUMN_BLOCK = 512  # columns of a result that one chunk computes
TRANSPOSE_DEPTH = 128  # rows that are summed over at a time for a gradient of weights
TRANSPOSE_ROWS = 126
TRANSPOSE_COLUMNS = 256
FEWEST_CHUNKS = 8  # of a gradient of weights: smaller results are summed in parts


@compiled
def gather_patches(x, g, channel, channels, first, rows, patches):
    """Write what `rows` windows from number `first` on see of some channels, one window a row."""
    line = channels * g.kw
    for r in range(rows):
        window = first + r
        i = window // g.out_w % g.out_h * g.stride_h - g.pad_h
        j = window % g.out_w * g.stride_w - g.pad_w
        n = window // (g.out_w * g.out_h)
        for p in range(g.kh):
            y = i + p * g.dilation_h
            to = (r * g.kh + p) * line
            if y < 0 or y >= g.h:
                for k in range(line):
                    patches[_index(to + k)] = 0
                continue
            start = (n * g.h + y) * g.w
            if channels == g.c and g.dilation_w == 1 and j >= 0 and j + g.kw <= g.w:
                start = (start + j) * g.c
                for k in range(line):
                    patches[_index(to + k)] = x[_index(start + k)]
                continue
            for q in range(g.kw):
                xx = j + q * g.dilation_w
                inside = 0 <= xx < g.w
                at = (start + xx) * g.c + channel
                for k in range(channels):
                    patches[_index(to + q * channels + k)] = x[_index(at + k)] if inside else x.dtype.type(0)


@compiled
def scatter_patches(patches, g, channel, channels, first, rows, dx):
    """Add rows of a patch matrix to the pixels that they were gathered from."""
    for r in range(rows):
        window = first + r
        i = window // g.out_w % g.out_h * g.stride_h - g.pad_h
        j = window % g.out_w * g.stride_w - g.pad_w
        n = window // (g.out_w * g.out_h)
        for p in range(g.kh):
            y = i + p * g.dilation_h
            if y < 0 or y >= g.h:
                continue
            for q in range(g.kw):
                xx = j + q * g.dilation_w
                if 0 <= xx < g.w:
                    at = ((n * g.h + y) * g.w + xx) * g.c + channel
                    start = ((r * g.kh + p) * g.kw + q) * channels
                    for k in range(channels):
                        dx[_index(at + k)] += patches[_index(start + k)]


@compiled
def finish_rows(y, y0, ldy, rows, columns, column, bias, gate, g0, shortcut, relu):
    """Add the bias, multiply with the gate, add the shortcut, apply ReLU: what is there of them."""
    zero = y.dtype.type(0)
    for r in range(rows):
        start = y0 + r * ldy
        if bias.size:
            for k in range(columns):
                y[_index(start + k)] += bias[_index(column + k)]
        if gate.size:
            for k in range(columns):
                y[_index(start + k)] *= gate[_index(g0 + k)]
        if shortcut.size:
            for k in range(columns):
                y[_index(start + k)] += shortcut[_index(start + k)]
        if relu:
            for k in range(columns):
                value = y[_index(start + k)]
                y[_index(start + k)] = zero if value <= zero else value  # NaN stays


@compiled
def _finish_chunk(y, rows, columns, bias, gate, shortcut, relu, chunk, thread):
    finish_rows(y, chunk * rows * columns, columns, rows, columns, 0, bias, gate, chunk * columns, shortcut, relu)


@compiled
def finish(pool, y, images, rows, columns, bias, gate, shortcut, relu):
    """Do to a whole result what `forward` does to a block."""
    parallel_for(pool, images, _finish_chunk, (y, rows, columns, bias, gate, shortcut, relu))


@compiled
def _forward_chunk(
    x, g, groups, panels, width, plain, blocks, y, bias, gate, shortcut, relu, scratch, chunk, thread
):
    """Compute one block of rows and columns of one group."""
    rows_an_image = g.out_h * g.out_w
    c, o = g.c // groups, g.o // groups
    depth = g.kh * g.kw * c
    column_blocks = (o + COLUMN_BLOCK - 1) // COLUMN_BLOCK
    group = chunk % groups
    column_block = chunk // groups % column_blocks
    block = chunk // groups // column_blocks
    total = g.n * rows_an_image
    if gate.size:  # a block lies in one image: it has one gate
        first = block // blocks * rows_an_image + block % blocks * ROW_BLOCK
        last = min(first + ROW_BLOCK, (block // blocks + 1) * rows_an_image)
    else:
        first = block * ROW_BLOCK
        last = min(first + ROW_BLOCK, total)
    rows = last - first
    own = scratch[thread]
    edge, patches = own[: 6 * width], own[6 * width :]
    p0 = group * ((o + width - 1) // width) * width * depth
    left = column_block * COLUMN_BLOCK
    columns = min(COLUMN_BLOCK, o - left)
    y0 = first * g.o + group * o
    from_panel = left // width
    to_panel = (left + columns + width - 1) // width
    if not plain:
        gather_patches(x, g, group * c, c, first, rows, patches)
    for k in range(0, depth, DEPTH_BLOCK):
        some = min(DEPTH_BLOCK, depth - k)
        at = p0 + k * width
        if plain:
            start = first * g.c + group * c + k
            block_product(
                x, start, g.c, rows, some, panels, at, depth, from_panel, to_panel, o, width,
                y, y0, g.o, k > 0, edge,
            )  # fmt: skip
        else:
            block_product(
                patches, k, depth, rows, some, panels, at, depth, from_panel, to_panel, o, width,
                y, y0, g.o, k > 0, edge,
            )  # fmt: skip
    column = group * o + left
    finish_rows(
        y, y0 + left, g.o, rows, columns, column, bias, gate, first // rows_an_image * g.o + column,
        shortcut, relu,
    )  # fmt: skip


@compiled
def forward(pool, chunks, x, g, groups, panels, width, plain, blocks, y, bias, gate, shortcut, relu, scratch):
    """Compute y from x and packed kernels."""
    arguments = (x, g, groups, panels, width, plain, blocks, y, bias, gate, shortcut, relu, scratch)
    parallel_for(pool, chunks, _forward_chunk, arguments)


@compiled
def _backward_input_chunk(dy, g, groups, panels, width, dx, scratch, chunk, thread):
    """Compute the gradient of one image's channels of one group."""
    n, group = chunk // groups, chunk % groups
    rows_an_image = g.out_h * g.out_w
    c, o = g.c // groups, g.o // groups
    depth = g.kh * g.kw * c
    own = scratch[thread]
    edge, patches = own[: 6 * width], own[6 * width :]
    all_panels = (depth + width - 1) // width
    p0 = group * all_panels * width * o
    for pixel in range(n * g.h * g.w, (n + 1) * g.h * g.w):
        at = pixel * g.c + group * c
        for k in range(c):
            dx[_index(at + k)] = 0
    for block in range(0, rows_an_image, ROW_BLOCK):
        rows = min(ROW_BLOCK, rows_an_image - block)
        first = n * rows_an_image + block
        for k in range(0, o, DEPTH_BLOCK):
            some = min(DEPTH_BLOCK, o - k)
            block_product(
                dy, first * g.o + group * o + k, g.o, rows, some, panels, p0 + k * width, o, 0, all_panels,
                depth, width, patches, 0, depth, k > 0, edge,
            )  # fmt: skip
        scatter_patches(patches, g, group * c, c, first, rows, dx)


@compiled
def backward_input(pool, dy, g, groups, panels, width, dx, scratch):
    """Compute dx from dy and packed transposed kernels."""
    arguments = (dy, g, groups, panels, width, dx, scratch)
    parallel_for(pool, g.n * groups, _backward_input_chunk, arguments)


@compiled
def _pack_panels(source, start, lds, rows, columns, width, packed):
    """Copy a block into panels: `rows` rows of `width` columns after each other, filled up with zeros."""
    to = 0
    for left in range(0, columns, width):
        lanes = min(width, columns - left)
        for r in range(rows):
            at = start + r * lds + left
            if lanes == width:
                copy_panel_row(packed, to, source, at)
            else:
                for lane in range(lanes):
                    packed[_index(to + lane)] = source[_index(at + lane)]
                for lane in range(lanes, width):
                    packed[_index(to + lane)] = 0
            to += width


@compiled
def _pack_strips(source, start, lds, rows, columns, packed):
    """Copy a block into strips of `ROWS` columns; the last one may have fewer."""
    to = _index(0)
    for left in range(0, columns - columns % ROWS, ROWS):
        for r in range(rows):
            at = _index(start + r * lds + left)
            for lane in range(ROWS):
                packed[to + _index(lane)] = source[at + _index(lane)]
            to += _index(ROWS)
    left = columns - columns % ROWS
    for r in range(rows):
        at = _index(start + r * lds + left)
        for lane in range(columns % ROWS):
            packed[to + _index(lane)] = source[at + _index(lane)]
        to += _index(ROWS)


@compiled
def transpose_block(a, a0, lda, rows, m, b, b0, ldb, columns, width, result, r0, ldr, add, packed_a, packed_b):
    """result[:m, :columns] (+)= a[:rows, :m]^T b[:rows, :columns]."""
    _pack_panels(b, b0, ldb, rows, columns, width, packed_b)
    _pack_strips(a, a0, lda, rows, m, packed_a)
    for panel in range((columns + width - 1) // width):
        for i in range(0, m, ROWS):
            multiply_panel(
                packed_a, i * rows, 1, ROWS, packed_b, panel * rows * width,
                result, r0 + i * ldr + panel * width, ldr, min(ROWS, m - i), rows, add,
            )  # fmt: skip


@compiled
def _backward_weights_chunk(x, dy, g, groups, swapped, plain, parts, width, ldr, result, scratch, chunk, thread):
    """Sum one block of one part of one group's gradient."""
    c, o = g.c // groups, g.o // groups
    depth = g.kh * g.kw * c
    m, columns = (depth, o) if swapped else (o, depth)
    column_blocks = (columns + TRANSPOSE_COLUMNS - 1) // TRANSPOSE_COLUMNS
    row_blocks = (m + TRANSPOSE_ROWS - 1) // TRANSPOSE_ROWS
    left = chunk % column_blocks * TRANSPOSE_COLUMNS
    top = chunk // column_blocks % row_blocks * TRANSPOSE_ROWS
    part = chunk // column_blocks // row_blocks % parts
    group = chunk // column_blocks // row_blocks // parts
    some_columns, some_rows = min(TRANSPOSE_COLUMNS, columns - left), min(TRANSPOSE_ROWS, m - top)

    own = scratch[thread]
    packed_a = own[: TRANSPOSE_DEPTH * (TRANSPOSE_ROWS + 6)]
    packed_b = own[packed_a.size : packed_a.size + TRANSPOSE_DEPTH * (TRANSPOSE_COLUMNS + width)]
    patches = own[packed_a.size + packed_b.size :]
    r0 = ((part * groups + group) * m + top) * ldr + left
    total = g.n * g.out_h * g.out_w
    first, last = part * total // parts, (part + 1) * total // parts
    for start in range(first, last, TRANSPOSE_DEPTH):
        rows = min(TRANSPOSE_DEPTH, last - start)
        add = start > first
        at_dy = start * g.o + group * o
        at_x = start * g.c + group * c
        if not plain:
            gather_patches(x, g, group * c, c, start, rows, patches)
            transpose_block(
                dy, at_dy + top, g.o, rows, some_rows, patches, left, depth, some_columns, width,
                result, r0, ldr, add, packed_a, packed_b,
            )  # fmt: skip
        elif swapped:
            transpose_block(
                x, at_x + top, g.c, rows, some_rows, dy, at_dy + left, g.o, some_columns, width,
                result, r0, ldr, add, packed_a, packed_b,
            )  # fmt: skip
        else:
            transpose_block(
                dy, at_dy + top, g.o, rows, some_rows, x, at_x + left, g.c, some_columns, width,
                result, r0, ldr, add, packed_a, packed_b,
            )  # fmt: skip


@compiled
def _collect_chunk(result, parts, groups, swapped, m, ldr, taps, c, dw, chunk, thread):
    """Sum the parts for one output channel (or one input channel, if swapped), in the order of dw."""
    o = dw.size // (groups * taps * c)
    group, i = chunk // m, chunk % m
    step = groups * m * ldr
    for k in range(o if swapped else taps * c):
        total = result[chunk * ldr + k]
        for part in range(1, parts):
            total += result[part * step + chunk * ldr + k]
        if swapped:
            dw[(group * o + k) * c + i] = total
        else:
            dw[((group * o + i) * c + k % c) * taps + k // c] = total


@compiled
def backward_weights(pool, x, dy, g, groups, swapped, plain, parts, width, ldr, result, scratch, dw):
    """Compute dw (O, C/groups, kh, kw) from x and dy."""
    c, o = g.c // groups, g.o // groups
    depth = g.kh * g.kw * c
    m, columns = (depth, o) if swapped else (o, depth)
    blocks = ((columns + TRANSPOSE_COLUMNS - 1) // TRANSPOSE_COLUMNS) * (
        (m + TRANSPOSE_ROWS - 1) // TRANSPOSE_ROWS
    )
    parallel_for(
        pool, blocks * parts * groups, _backward_weights_chunk,
        (x, dy, g, groups, swapped, plain, parts, width, ldr, result, scratch),
    )  # fmt: skip
    parallel_for(
        pool, groups * m, _collect_chunk, (result, parts, groups, swapped, m, ldr, g.kh * g.kw, c, dw)
    )
