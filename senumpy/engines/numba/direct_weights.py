"""The gradient of a convolution's kernels as products of rows: dw = dy^T P, block by block of the result.

P is the matrix of what windows see (`direct.py`), one run of taps at a time. Each block of dw is summed over
all rows, or over a part of them if there are few blocks; the parts are added afterwards, in their order. Both
factors are copied, some rows at a time: the one that goes along the result's rows closer together, the other
into panels. A 1x1 convolution with more outputs than inputs is computed transposed ("swapped").
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, inlined, kernel
from senumpy.engines.numba.direct import copy_lines, gather, taps_of_a_run
from senumpy.engines.numba.microkernel import ROWS, copy_panel_row, multiply_panel
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp
DEPTH = 128  # rows that are summed over at a time
HEIGHT = 132  # rows of a block of the result: 256 and 512 channels make even blocks of it
WIDTH = 256  # and columns


@inlined
def _pack_panels(source, start, lds, line, line_step, rows, columns, width, packed):
    """Copy a block into panels: `rows` rows of `width` columns after each other, filled up with zeros.

    Rows come in lines of `line`, `lds` apart; lines are `line_step` apart. They are read as they lie.
    """
    full = columns // width
    for r in range(rows):
        at = start + r // line * line_step + r % line * lds
        to = r * width
        for _ in range(full):
            copy_panel_row(packed, to, source, at)
            at += width
            to += rows * width
        if full * width < columns:
            lanes = columns - full * width
            for lane in range(lanes):
                packed[_index(to + lane)] = source[_index(at + lane)]
            for lane in range(lanes, width):
                packed[_index(to + lane)] = 0


@inlined
def _copy_rows(source, start, lds, rows, columns, packed):
    """Copy a block, so that its rows lie close together: far apart, they compete for a few cache lines."""
    for r in range(rows):
        at, to = start + r * lds, r * HEIGHT
        for k in range(columns):
            packed[_index(to + k)] = source[_index(at + k)]


@kernel
def _weights_chunk(
    x, dy, g, groups, swapped, plain, size, gathered, parts, width, ldr, result, scratch, chunk, thread
):
    """Sum one block of one part of one group's gradient: some rows m, some columns of one run."""
    c, o = g.c // groups, g.o // groups
    across = taps_of_a_run(g, gathered)
    runs = g.kh * g.kw // across
    m, columns = (c, o) if swapped else (o, across * c)
    column_blocks = (columns + WIDTH - 1) // WIDTH
    row_blocks = (m + HEIGHT - 1) // HEIGHT
    left = chunk % column_blocks * WIDTH
    top = chunk // column_blocks % row_blocks * HEIGHT
    rest = chunk // column_blocks // row_blocks
    run, part, group = rest % runs, rest // runs % parts, rest // runs // parts
    some_columns, some_rows = min(WIDTH, columns - left), min(HEIGHT, m - top)
    p, q = run * across // g.kw, run * across % g.kw
    padded_width = (g.w + 2 * g.pad_w) * c

    # A unit is what is summed over at a time: some rows of a 1x1 convolution, or `size` lines of an image.
    blocks = (g.out_h + size - 1) // size
    total = g.n * g.out_h * g.out_w
    units = (total + DEPTH - 1) // DEPTH if plain else g.n * blocks
    deepest = DEPTH if plain else size * g.out_w
    own = scratch[thread]
    packed_a = own[: deepest * HEIGHT]
    packed_b = own[packed_a.size : packed_a.size + deepest * (WIDTH + width)]
    rest_of_own = own[packed_a.size + packed_b.size :]
    patches = rest_of_own[: deepest * columns if gathered else 0]
    padded = rest_of_own[patches.size :]
    run_ld = ldr // runs
    r0 = ((part * groups + group) * m + top) * ldr + run * run_ld + left
    begin, end = part * units // parts, (part + 1) * units // parts
    for unit in range(begin, end):
        if plain:
            start = unit * DEPTH
            rows = min(DEPTH, total - start)
            b, b0, ldb, line, line_step = x, start * g.c + group * c + left, g.c, rows, 0
        else:
            image, block = unit // blocks, unit % blocks
            some = min(size, g.out_h - block * size)
            top_line = block * size * g.stride_h - g.pad_h + p * g.dilation_h
            lines = (some - 1) * g.stride_h + 1 + ((g.kh - 1) * g.dilation_h if gathered else 0)
            copy_lines(x, g, image, top_line, lines, group * c, c, padded)
            start, rows = (image * g.out_h + block * size) * g.out_w, some * g.out_w
            b, b0, ldb = padded, q * g.dilation_w * c + left, g.stride_w * c
            line, line_step = g.out_w, g.stride_h * padded_width
            if gathered:
                for i in range(some):
                    gather(padded, g, c, i * g.stride_h, i * g.out_w * columns, patches)
                b, b0, ldb, line_step = patches, left, columns, g.out_w * columns
        a, a0, lda = dy, start * g.o + group * o + top, g.o
        if swapped:
            a, a0, lda, b, b0, ldb = x, start * g.c + group * c + top, g.c, dy, a0 - top + left, g.o
        _pack_panels(b, b0, ldb, line, line_step, rows, some_columns, width, packed_b)
        _copy_rows(a, a0, lda, rows, some_rows, packed_a)
        for panel in range((some_columns + width - 1) // width):
            for i in range(0, some_rows, ROWS):
                multiply_panel(
                    packed_a, i, 1, HEIGHT, packed_b, panel * rows * width,
                    result, r0 + i * ldr + panel * width, ldr, min(ROWS, some_rows - i), rows, unit > begin,
                )  # fmt: skip


@kernel
def _collect_chunk(result, parts, groups, o, ldr, across, taps, c, dw, chunk, thread):
    """Sum the parts for one output channel, and put channels before taps."""
    step = groups * o * ldr
    run_ld = ldr // (taps // across)
    for tap in range(taps):
        start = chunk * ldr + tap // across * run_ld + tap % across * c
        to = chunk * c * taps + tap
        for k in range(c):
            total = result[_index(start + k)]
            for part in range(1, parts):
                total += result[_index(start + k + part * step)]
            dw[_index(to + k * taps)] = total


@kernel
def _collect_swapped_chunk(result, parts, groups, o, ldr, c, width, dw, chunk, thread):
    """Sum the parts of (c, o) for one panel of output channels, and transpose."""
    panels = (o + width - 1) // width
    group, left = chunk // panels, chunk % panels * width
    step = groups * c * ldr
    for i in range(c):
        start = (group * c + i) * ldr + left
        for lane in range(min(width, o - left)):
            total = result[_index(start + lane)]
            for part in range(1, parts):
                total += result[_index(start + lane + part * step)]
            dw[_index((group * o + left + lane) * c + i)] = total


@compiled
def backward_weights(
    pool, chunks, x, dy, g, groups, swapped, plain, size, gathered, parts, width, ldr, result, scratch, dw
):
    """Compute dw (O, C/groups, kh, kw) from x and dy."""
    c, o = g.c // groups, g.o // groups
    parallel_for(
        pool, chunks, _weights_chunk,
        (x, dy, g, groups, swapped, plain, size, gathered, parts, width, ldr, result, scratch),
    )  # fmt: skip
    if swapped:
        parallel_for(
            pool, groups * ((o + width - 1) // width), _collect_swapped_chunk,
            (result, parts, groups, o, ldr, c, width, dw),
        )  # fmt: skip
        return
    across = taps_of_a_run(g, gathered)
    parallel_for(
        pool, groups * o, _collect_chunk, (result, parts, groups, o, ldr, across, g.kh * g.kw, c, dw)
    )
