"""Convolution as products of rows: any kernel, stride, padding and dilation.

A 1x1 convolution is one product, its rows are the pixels. Otherwise a few lines of the image are copied with
zeros around them. What a line of windows sees of one line of the image is then a matrix whose rows overlap:
window j begins stride * C numbers after window j - 1. It is never written out; the products read it as it
lies, one for each line of the kernel (with dilation: one for each tap). Such a piece of the kernel is called
a run. With few channels runs would be too short: then all that a window sees is gathered, in one run.

    forward:             y  = P w        products of rows with packed kernels, run by run
    gradient of x:       stride 1: the forward of dy with turned kernels
                         else dP = dy w^T, added back to the pixels that it came from, image by image

The gradient of w is in `direct_weights.py`.
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, inlined, kernel
from senumpy.engines.numba.products import DEPTH_BLOCK, ROW_BLOCK, block_product
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp
COLUMN_BLOCK = 512  # columns of a result that one chunk computes, at most


@inlined
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


@kernel
def _finish_chunk(y, rows, columns, bias, gate, shortcut, relu, chunk, thread):
    finish_rows(
        y, chunk * rows * columns, columns, rows, columns, 0, bias, gate, chunk * columns, shortcut, relu
    )


@compiled
def finish(pool, y, images, rows, columns, bias, gate, shortcut, relu):
    """Do to a whole result what `forward` does to a block."""
    parallel_for(pool, images, _finish_chunk, (y, rows, columns, bias, gate, shortcut, relu))


@kernel
def _decimate_chunk(x, g, y, chunk, thread):
    """Copy the pixels of one line that a strided 1x1 convolution sees."""
    n, i = chunk // g.out_h, chunk % g.out_h
    for j in range(g.out_w):
        at = ((n * g.h + i * g.stride_h) * g.w + j * g.stride_w) * g.c
        to = (chunk * g.out_w + j) * g.c
        for k in range(g.c):
            y[_index(to + k)] = x[_index(at + k)]


@compiled
def decimate(pool, x, g, y):
    """y = x at every stride-th pixel."""
    parallel_for(pool, g.n * g.out_h, _decimate_chunk, (x, g, y))


@kernel
def _scatter_chunk(y, g, x, chunk, thread):
    """Write one line: pixels of y at every stride-th place, zeros between."""
    n, row = chunk // g.h, chunk % g.h
    i = row // g.stride_h
    zero = x.dtype.type(0)
    for column in range(g.w):
        j = column // g.stride_w
        to = (chunk * g.w + column) * g.c
        if i * g.stride_h == row and j * g.stride_w == column and i < g.out_h and j < g.out_w:
            at = ((n * g.out_h + i) * g.out_w + j) * g.c
            for k in range(g.c):
                x[_index(to + k)] = y[_index(at + k)]
        else:
            for k in range(g.c):
                x[_index(to + k)] = zero


@compiled
def scatter(pool, y, g, x):
    """x = y at every stride-th pixel, 0 elsewhere: the gradient of `decimate`."""
    parallel_for(pool, g.n * g.h, _scatter_chunk, (y, g, x))


@kernel
def _rows_chunk(
    x,
    g,
    groups,
    panels,
    width,
    blocks,
    row_block,
    column_block,
    y,
    bias,
    gate,
    shortcut,
    relu,
    scratch,
    chunk,
    thread,
):
    """Compute one block of rows and columns of one group of a 1x1 convolution."""
    image_rows = g.out_h * g.out_w
    c, o = g.c // groups, g.o // groups
    column_blocks = (o + column_block - 1) // column_block
    group = chunk % groups
    left = chunk // groups % column_blocks * column_block
    block = chunk // groups // column_blocks
    first, last = block * row_block, min((block + 1) * row_block, g.n * image_rows)
    if gate.size:  # a block lies in one image: it has one gate
        first = block // blocks * image_rows + block % blocks * row_block
        last = min(first + row_block, (block // blocks + 1) * image_rows)
    columns = min(column_block, o - left)
    p0 = group * ((o + width - 1) // width) * width * c
    y0 = first * g.o + group * o
    for k in range(0, c, DEPTH_BLOCK):
        block_product(
            x, first * g.c + group * c + k, g.c, last - first, min(DEPTH_BLOCK, c - k),
            panels, p0 + k * width, c, left // width, (left + columns + width - 1) // width, o, width,
            y, y0, g.o, k > 0, scratch[thread],
        )  # fmt: skip
    column = group * o + left
    finish_rows(
        y, y0 + left, g.o, last - first, columns, column, bias, gate, first // image_rows * g.o + column,
        shortcut, relu,
    )  # fmt: skip


@compiled
def forward_rows(
    pool,
    chunks,
    x,
    g,
    groups,
    panels,
    width,
    blocks,
    row_block,
    column_block,
    y,
    bias,
    gate,
    shortcut,
    relu,
    scratch,
):
    """Compute y of a 1x1 convolution from x and packed kernels."""
    arguments = (
        x, g, groups, panels, width, blocks, row_block, column_block, y, bias, gate, shortcut, relu, scratch,
    )  # fmt: skip
    parallel_for(pool, chunks, _rows_chunk, arguments)


@inlined
def copy_lines(x, g, image, first, lines, channel, channels, padded):
    """Copy lines of an image with zeros around it; lines above and below the image are zeros."""
    width = (g.w + 2 * g.pad_w) * channels
    zero = x.dtype.type(0)
    for line in range(lines):
        row = first + line
        to = line * width
        if row < 0 or row >= g.h:
            for k in range(width):
                padded[_index(to + k)] = zero
            continue
        for k in range(g.pad_w * channels):
            padded[_index(to + k)] = zero
            padded[_index(to + width - 1 - k)] = zero
        to += g.pad_w * channels
        at = (image * g.h + row) * g.w * g.c + channel
        if channels == g.c:
            for k in range(g.w * channels):
                padded[_index(to + k)] = x[_index(at + k)]
        else:
            for column in range(g.w):
                for k in range(channels):
                    padded[_index(to + column * channels + k)] = x[_index(at + column * g.c + k)]


@inlined
def taps_of_a_run(g, gathered):
    """Return how many taps of the kernel a run has."""
    if gathered:
        return g.kh * g.kw
    return g.kw if g.dilation_w == 1 else 1


@inlined
def gather(padded, g, c, line, to, patches):
    """Write all that a line of windows sees, one window a row; `line` is where the windows begin."""
    across = g.kw if g.dilation_w == 1 else 1  # taps that lie side by side
    for j in range(g.out_w):
        for p in range(g.kh):
            row = (line + p * g.dilation_h) * (g.w + 2 * g.pad_w)
            for q in range(0, g.kw, across):
                at = (row + j * g.stride_w + q * g.dilation_w) * c
                for k in range(across * c):
                    patches[_index(to + k)] = padded[_index(at + k)]
                to += across * c


@kernel
def _lines_chunk(
    x, g, groups, panels, width, size, gathered, y, bias, shortcut, relu, scratch, chunk, thread
):
    """Compute `size` lines of one image and one group."""
    c, o = g.c // groups, g.o // groups
    group = chunk % groups
    blocks = (g.out_h + size - 1) // size
    image, block = chunk // groups // blocks, chunk // groups % blocks
    own = scratch[thread]
    edge = own[: g.out_w * width]
    patches = own[edge.size : edge.size + (g.out_w * g.kh * g.kw * c if gathered else 0)]
    padded = own[edge.size + patches.size :]
    some = min(size, g.out_h - block * size)
    lines = (some - 1) * g.stride_h + (g.kh - 1) * g.dilation_h + 1
    copy_lines(x, g, image, block * size * g.stride_h - g.pad_h, lines, group * c, c, padded)
    all_panels = (o + width - 1) // width
    across = taps_of_a_run(g, gathered)
    runs = g.kh * g.kw // across
    depth = across * c
    p0 = group * all_panels * width * depth * runs
    for i in range(some):
        y0 = (image * g.out_h + block * size + i) * g.out_w * g.o + group * o
        for run in range(runs):
            p, q = run * across // g.kw, run * across % g.kw
            line = i * g.stride_h + p * g.dilation_h
            a, a0, lda = padded, (line * (g.w + 2 * g.pad_w) + q * g.dilation_w) * c, g.stride_w * c
            if gathered:
                gather(padded, g, c, line, 0, patches)
                a, a0, lda = patches, 0, depth
            block_product(
                a, a0, lda, g.out_w, depth, panels, p0 + run * depth * width, depth * runs, 0, all_panels, o,
                width, y, y0, g.o, run > 0, edge,
            )  # fmt: skip
        finish_rows(y, y0, g.o, g.out_w, o, group * o, bias, bias[:0], 0, shortcut, relu)


@compiled
def forward_lines(pool, x, g, groups, panels, width, size, gathered, y, bias, shortcut, relu, scratch):
    """Compute y from x and packed kernels, `size` lines at a time."""
    chunks = g.n * groups * ((g.out_h + size - 1) // size)
    arguments = (x, g, groups, panels, width, size, gathered, y, bias, shortcut, relu, scratch)
    parallel_for(pool, chunks, _lines_chunk, arguments)


@inlined
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


@kernel
def _backward_input_chunk(dy, g, groups, panels, width, dx, scratch, chunk, thread):
    """Compute the gradient of one image's channels of one group."""
    n, group = chunk // groups, chunk % groups
    rows_an_image = g.out_h * g.out_w
    c, o = g.c // groups, g.o // groups
    depth = g.kh * g.kw * c
    own = scratch[thread]
    edge, patches = own[: ROW_BLOCK * width], own[ROW_BLOCK * width :]
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
