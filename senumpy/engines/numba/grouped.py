"""Convolution of small groups, down to one channel each (depthwise): kernels that go from tap to tap.

    y[n, i, j, k] = sum_{p, q, m} w[p, q, m, k] x[n, i s + p d - pad, j s + q d - pad, first(k) + m]

Groups of 2, 4, 8, 16 channels are too few for a product of matrices. So a block of channels, as many as fit
one cache line, is taken at a time. Its lines are copied with zeros around them, and each tap adds its part
(`lanes.py`). The same kernel computes the gradient of x: with a stride s, pixels of x in every s-th line and
column take part in the same taps, each of them with consecutive windows. So there are s s classes of pixels,
each a convolution of dy with some of the taps; the forward has one class.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from senumpy.engines.numba.compiler import compiled, inlined, kernel
from senumpy.engines.numba.lanes import PIXELS, pixel_tile, pixels_tile, weights_tile
from senumpy.engines.numba.microkernel import copy_panel_row
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp
BUNDLE = 4  # blocks that are copied together


class Walk(NamedTuple):
    """How windows walk over a source, and results over theirs.

    Result pixel (u out_step_h + a, v out_step_w + b) sees, through a tap of class (a, b), the source's pixel
    (u step_h + tap_h, v step_w + tap_w), with low_h <= tap_h <= high_h, low_w <= tap_w <= high_w.
    """

    n: int
    c: int
    h: int  # of the source
    w: int
    out_h: int  # of the result
    out_w: int
    step_h: int  # in the source
    step_w: int
    out_step_h: int
    out_step_w: int
    low_h: int
    high_h: int
    low_w: int
    high_w: int
    width: int  # of a copied line with its zeros, in pixels


@inlined
def _copy_lines(x, c, h, w, image, first, lines, low, width, block, blocks, lanes, copied):
    """Copy lines of some blocks of channels, from column `low` on; what lies outside of the image is zero.

    Each block gets its own lines, (block, line, column, lane). Memory is read pixel by pixel, all blocks at
    once: longer stretches come faster.
    """
    zero = x.dtype.type(0)
    begin, end = max(0, -low), max(0, min(width, w - low))
    size = lines * width * lanes
    for line in range(lines):
        row = first + line
        inside = 0 <= row < h and begin < end
        for b in range(blocks):
            to = b * size + line * width * lanes
            for k in range((begin if inside else width) * lanes):
                copied[_index(to + k)] = zero
            for k in range((end if inside else width) * lanes, width * lanes):
                copied[_index(to + k)] = zero
        if not inside:
            continue
        for column in range(begin, end):
            at = ((image * h + row) * w + low + column) * c + block * lanes
            to = (line * width + column) * lanes
            for _ in range(min(blocks, c // lanes - block)):
                copy_panel_row(copied, to, x, at)
                to += size
                at += lanes
            if (block + blocks) * lanes > c:  # the last one is not full
                for k in range(c % lanes):
                    copied[_index(to + k)] = x[_index(at + k)]
                for k in range(c % lanes, lanes):
                    copied[_index(to + k)] = zero


@inlined
def _store_edge(edge, pixels, some, lanes, y, y0, ldy):
    """Copy what a tile made of a block that is not full."""
    for r in range(pixels):
        for k in range(some):
            y[_index(y0 + r * ldy + k)] = edge[_index(r * lanes + k)]


@inlined
def _convolve_line(
    copied, s, u, row, group, lanes, firsts, offsets, taps, kernels, w0, start, relu, edge, y, y0, channel
):
    """Compute one line of the results of one block; y0 is where the line begins."""
    full = channel + lanes <= s.c
    ldy = s.out_step_w * s.c
    for b in range(s.out_step_w):
        k = row % s.out_step_h * s.out_step_w + b
        columns = (s.out_w - b + s.out_step_w - 1) // s.out_step_w
        pixels = PIXELS if columns >= PIXELS else 1
        for begin in range(0, columns, pixels):
            v = min(begin, columns - pixels)  # the last tile may do some pixels again
            x0 = (u * s.step_h * s.width + v * s.step_w) * lanes
            at = y0 + (b + v * s.out_step_w) * s.c + channel
            to, to0, ld = (y, at, ldy) if full else (edge, 0, lanes)
            if pixels == PIXELS:
                pixels_tile(
                    group, copied, x0, s.step_w * lanes, offsets, taps, firsts[k], firsts[k + 1], kernels, w0,
                    start, channel, to, to0, ld, relu,
                )  # fmt: skip
            else:
                pixel_tile(
                    group, copied, x0, s.step_w * lanes, offsets, taps, firsts[k], firsts[k + 1], kernels, w0,
                    start, channel, to, to0, ld, relu,
                )  # fmt: skip
            if not full:
                _store_edge(edge, pixels, s.c - channel, lanes, y, at, ldy)


@kernel
def _convolve_chunk(
    x, s, group, lanes, size, firsts, offsets, taps, kernels, start, relu, y, scratch, chunk, thread
):
    """Compute the results for `size` values of u, one image and one bundle of blocks."""
    blocks = (s.c + lanes - 1) // lanes
    bundles = (blocks + BUNDLE - 1) // BUNDLE
    rows = (s.out_h + s.out_step_h - 1) // s.out_step_h
    strips = (rows + size - 1) // size
    bundle, strip, image = chunk % bundles, chunk // bundles % strips, chunk // bundles // strips
    first_block, last_block = bundle * BUNDLE, min(blocks, (bundle + 1) * BUNDLE)
    own = scratch[thread]
    edge, copied = own[: PIXELS * lanes], own[PIXELS * lanes :]
    some = min(size, rows - strip * size)
    lines = (some - 1) * s.step_h + s.high_h - s.low_h + 1
    top = strip * size * s.step_h + s.low_h
    _copy_lines(
        x, s.c, s.h, s.w, image, top, lines, s.low_w, s.width, first_block, last_block - first_block, lanes,
        copied,
    )  # fmt: skip
    for block in range(first_block, last_block):
        own_lines = copied[(block - first_block) * lines * s.width * lanes :]
        w0 = block * (kernels.size // blocks)
        for u in range(some):
            begin = (strip * size + u) * s.out_step_h
            for row in range(begin, min(s.out_h, begin + s.out_step_h)):
                _convolve_line(
                    own_lines, s, u, row, group, lanes, firsts, offsets, taps, kernels, w0, start, relu, edge,
                    y, (image * s.out_h + row) * s.out_w * s.c, block * lanes,
                )  # fmt: skip


@compiled
def convolve(pool, chunks, x, s, group, lanes, size, firsts, offsets, taps, kernels, start, relu, y, scratch):
    """y = start + the taps' parts, through ReLU if wanted."""
    arguments = (x, s, group, lanes, size, firsts, offsets, taps, kernels, start, relu, y, scratch)
    parallel_for(pool, chunks, _convolve_chunk, arguments)


@kernel
def _weights_chunk(
    x, dy, s, group, lanes, size, parts, tile_taps, offsets, taps, sums, scratch, chunk, thread
):
    """Sum the gradient of one bundle of blocks over one part of all lines."""
    members = len(group)
    blocks, strips = (s.c + lanes - 1) // lanes, (s.out_h + size - 1) // size
    bundles = (blocks + BUNDLE - 1) // BUNDLE
    bundle, part = chunk % bundles, chunk // bundles
    first_block = bundle * BUNDLE
    some_blocks = min(blocks - first_block, BUNDLE)
    count = offsets.size * members * lanes
    s0 = (part * blocks + first_block) * count
    for k in range(some_blocks * count):
        sums[_index(s0 + k)] = 0
    own = scratch[thread]
    split = BUNDLE * size * s.out_w * lanes
    gradient, copied = own[:split], own[split:]
    units = s.n * strips
    for unit in range(part * units // parts, (part + 1) * units // parts):
        image, strip = unit // strips, unit % strips
        some = min(size, s.out_h - strip * size)
        lines = (some - 1) * s.step_h + s.high_h - s.low_h + 1
        first = strip * size * s.step_h + s.low_h
        _copy_lines(
            x, s.c, s.h, s.w, image, first, lines, s.low_w, s.width, first_block, some_blocks, lanes, copied
        )
        _copy_lines(
            dy, s.c, s.out_h, s.out_w, image, strip * size, some, 0, s.out_w, first_block, some_blocks, lanes,
            gradient,
        )  # fmt: skip
        for b in range(some_blocks):
            for tap in range(0, offsets.size, tile_taps):
                for member in range(0, members, 4):
                    for u in range(some):
                        x0 = (b * lines + u * s.step_h) * s.width * lanes
                        weights_tile(
                            group, copied, x0, s.step_w * lanes, offsets, taps, tap, member, gradient,
                            (b * some + u) * s.out_w * lanes, lanes, s.out_w, sums, s0 + b * count,
                        )  # fmt: skip


@compiled
def backward_weights(
    pool, chunks, x, dy, s, group, lanes, size, parts, tile_taps, offsets, taps, sums, scratch
):
    """Compute the gradient of the kernels in parts: sums is (parts, blocks, taps, members, lanes)."""
    arguments = (x, dy, s, group, lanes, size, parts, tile_taps, offsets, taps, sums, scratch)
    parallel_for(pool, chunks, _weights_chunk, arguments)
