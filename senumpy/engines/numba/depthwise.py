"""Depthwise convolution: each channel on its own. Memory is read and written in the order in which it lies.

    y[n, i, j, k] = sum_{p, q} w[p, q, k] x[n, i s + p d - pad, j s + q d - pad, k]

There is little to multiply here: what counts are trips to memory. So no line is copied, as for groups of more
channels (`grouped.py`, which explains the classes of pixels). A few windows side by side are taken for all
channels, one block after the other; a window at the edge is taken alone, with the taps that lie in the image.
If the channels don't fill the last block, it begins earlier and does some of them again.
"""

from __future__ import annotations

from senumpy.engines.numba.compiler import compiled, inlined, kernel
from senumpy.engines.numba.lanes import PIXELS, pixel_tile, pixels_tile, prefetch, weights_tile
from senumpy.engines.numba.threads import parallel_for

_SEGMENT = 8  # windows whose part of the kernels' gradient is summed in registers


@inlined
def _look(s, image, u, v, first, last, rows, columns, numbers, seen, taps):
    """List the taps through which window (u, v) sees the image, and what it sees; return how many."""
    count = 0
    for t in range(first, last):
        i, j = u * s.step_h + rows[t], v * s.step_w + columns[t]
        if 0 <= i < s.h and 0 <= j < s.w:
            seen[count] = ((image * s.h + i) * s.w + j) * s.c
            taps[count] = numbers[t]
            count += 1
    return count


@inlined
def _ahead(s, image, u, v):
    """Return where in memory the pixel lies that window (u + 1, v) sees last.

    The processor sees coming what lies in a row, not what lies a line further: that is asked for early.
    """
    row = (u + 1) * s.step_h + s.high_h
    return ((image * s.h + row) * s.w + v * s.step_w + s.high_w) * s.c


@inlined
def _inner(s, count):
    """Return the windows of a line that no side edge cuts, as a range."""
    begin = max(0, (-s.low_w + s.step_w - 1) // s.step_w)
    return begin, min(count, (s.w - 1 - s.high_w) // s.step_w + 1)


@kernel
def _convolve_chunk(
    x, s, group, lanes, size, firsts, rows, columns, numbers, kernels, sets, start, relu, y, lists, chunk,
    thread,
):  # fmt: skip
    """Compute the results for `size` values of u in one image, with the kernels of its set."""
    blocks = (s.c + lanes - 1) // lanes
    strips = ((s.out_h + s.out_step_h - 1) // s.out_step_h + size - 1) // size
    image, top = chunk // strips, chunk % strips * size * s.out_step_h
    seen, taps = lists[thread, 0], lists[thread, 1]
    for row in range(top, min(s.out_h, top + size * s.out_step_h)):
        u = row // s.out_step_h
        for b in range(s.out_step_w):
            k = row % s.out_step_h * s.out_step_w + b
            count = (s.out_w - b + s.out_step_w - 1) // s.out_step_w
            begin, end = _inner(s, count)
            v = 0
            while v < count:
                tile = PIXELS if begin <= v < end and end - begin >= PIXELS else 1
                v = min(v, end - PIXELS) if tile > 1 else v  # the last tile may do some windows again
                some = _look(s, image, u, v, firsts[k], firsts[k + 1], rows, columns, numbers, seen, taps)
                ahead = _ahead(s, image, u, v)
                at = ((image * s.out_h + row) * s.out_w + v * s.out_step_w + b) * s.c
                for block in range(blocks):
                    channel = min(block * lanes, s.c - lanes)
                    w0 = (image % sets * blocks + block) * (kernels.size // (sets * blocks))
                    if tile > 1:
                        for r in range(PIXELS):
                            prefetch(x, ahead + channel + r * s.step_w * s.c)
                        pixels_tile(
                            group, x, channel, s.step_w * s.c, seen, taps, 0, some, kernels, w0, start,
                            channel, y, at + channel, s.out_step_w * s.c, relu,
                        )  # fmt: skip
                    else:
                        pixel_tile(
                            group, x, channel, s.step_w * s.c, seen, taps, 0, some, kernels, w0, start,
                            channel, y, at + channel, s.out_step_w * s.c, relu,
                        )  # fmt: skip
                v += tile


@compiled
def convolve(
    pool,
    chunks,
    x,
    s,
    group,
    lanes,
    size,
    firsts,
    rows,
    columns,
    numbers,
    kernels,
    sets,
    start,
    relu,
    y,
    lists,
):
    """y = start + the taps' parts, through ReLU if wanted; kernels for all, or a set for each image."""
    arguments = (
        x, s, group, lanes, size, firsts, rows, columns, numbers, kernels, sets, start, relu, y, lists,
    )  # fmt: skip
    parallel_for(pool, chunks, _convolve_chunk, arguments)


@kernel
def _weights_chunk(
    x, dy, s, group, lanes, parts, tile_taps, rows, columns, numbers, sums, lists, part, thread
):
    """Sum the gradient over one part of all lines. What has no tap goes to one more row of the sums."""
    blocks = (s.c + lanes - 1) // lanes
    count = (rows.size + 1) * lanes
    for k in range(part * blocks * count, (part + 1) * blocks * count):
        sums[k] = 0
    seen, taps = lists[thread, 0], lists[thread, 1]
    lines = s.n * s.out_h
    begin, end = _inner(s, s.out_w)
    for line in range(part * lines // parts, (part + 1) * lines // parts):
        v = 0
        while v < s.out_w:
            tile = min(_SEGMENT, end - v) if begin <= v < end else 1
            image, u = line // s.out_h, line % s.out_h
            ahead = _ahead(s, image, u, v)
            some = _look(s, image, u, v, 0, rows.size, rows, columns, numbers, seen, taps)
            while some % tile_taps != 0:
                seen[some], taps[some] = seen[0], rows.size
                some += 1
            for block in range(blocks):
                channel = min(block * lanes, s.c - lanes)
                s0 = (part * blocks + block) * count
                for r in range(tile):
                    prefetch(x, ahead + channel + r * s.step_w * s.c)
                    prefetch(dy, (line * s.out_w + v + _SEGMENT + r) * s.c + channel)
                for first in range(0, some, tile_taps):
                    weights_tile(
                        group, x, channel, s.step_w * s.c, seen, taps, first, 0, dy,
                        (line * s.out_w + v) * s.c + channel, s.c, tile, sums, s0,
                    )  # fmt: skip
            v += tile


@compiled
def backward_weights(pool, parts, x, dy, s, group, lanes, tile_taps, rows, columns, numbers, sums, lists):
    """Compute the gradient of the kernels in parts: sums is (parts, blocks, taps + 1, lanes)."""
    arguments = (x, dy, s, group, lanes, parts, tile_taps, rows, columns, numbers, sums, lists)
    parallel_for(pool, parts, _weights_chunk, arguments)
