"""Pooling over windows, line by line, all channels of a pixel at once.

Max pooling goes by blocks of channels in registers (`pool_lanes.py`); channels that fill no block go singly.
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, inlined, kernel
from senumpy.engines.numba.microkernel import PANEL_BYTES
from senumpy.engines.numba.pool_lanes import max_back_tile, max_tile
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp


@kernel
def _max_chunk(x, g, y, winner, chunk, thread):
    """Compute one line of maxima, and which tap each came from."""
    n, i = chunk // g.out_h, chunk % g.out_h
    lanes = PANEL_BYTES // x.itemsize
    top = i * g.stride_h - g.pad_h
    p0, p1 = max(0, -top), min(g.kh, g.h - top)
    for j in range(g.out_w):
        left = j * g.stride_w - g.pad_w
        q0, q1 = max(0, -left), min(g.kw, g.w - left)
        to = (chunk * g.out_w + j) * g.c
        at = ((n * g.h + top + p0) * g.w + left + q0) * g.c
        tap0 = p0 * g.kw + q0
        for k in range(0, g.c - g.c % lanes, lanes):
            max_tile(x, at + k, p1 - p0, q1 - q0, g.w * g.c, g.c, tap0, g.kw, y, winner, to + k)
        for k in range(g.c - g.c % lanes, g.c):
            best, tap = x[_index(at + k)], tap0
            for p in range(p1 - p0):
                for q in range(q1 - q0):
                    rival = x[_index(at + (p * g.w + q) * g.c + k)]
                    if rival > best or rival != rival:  # the first maximum wins; NaN wins always
                        best, tap = rival, tap0 + p * g.kw + q
            y[_index(to + k)] = best
            winner[_index(to + k)] = tap


@compiled
def max_forward(pool, x, g, y, winner):
    """Compute y and winner."""
    parallel_for(pool, g.n * g.out_h, _max_chunk, (x, g, y, winner))


@inlined
def _windows(position, pad, size, stride, count):
    """Return the first window that a line or column takes part in, and the one after the last."""
    reach = position + pad
    first = 0 if reach < size else (reach - size) // stride + 1
    return first, min(count, reach // stride + 1)


@kernel
def _max_back_chunk(dy, winner, g, dx, chunk, thread):
    """Collect the gradient of one line of x from all windows that it takes part in."""
    n, row = chunk // g.h, chunk % g.h
    lanes = PANEL_BYTES // dy.itemsize
    top, bottom = _windows(row, g.pad_h, g.kh, g.stride_h, g.out_h)
    p = row + g.pad_h - top * g.stride_h
    for column in range(g.w):
        to = (chunk * g.w + column) * g.c
        left, right = _windows(column, g.pad_w, g.kw, g.stride_w, g.out_w)
        tap0 = p * g.kw + column + g.pad_w - left * g.stride_w
        at = ((n * g.out_h + top) * g.out_w + left) * g.c
        rows, columns = bottom - top, right - left
        for k in range(0, g.c - g.c % lanes, lanes):
            max_back_tile(
                dy, winner, at + k, rows, columns, g.out_w * g.c, g.c, tap0, g.stride_h * g.kw, g.stride_w,
                dx, to + k,
            )  # fmt: skip
        for k in range(g.c - g.c % lanes, g.c):
            total = dy.dtype.type(0)
            for i in range(rows):
                for j in range(columns):
                    window = _index(at + (i * g.out_w + j) * g.c + k)
                    if winner[window] == tap0 - i * g.stride_h * g.kw - j * g.stride_w:
                        total += dy[window]
            dx[_index(to + k)] = total


@compiled
def max_backward(pool, dy, winner, g, dx):
    """Compute dx."""
    parallel_for(pool, g.n * g.h, _max_back_chunk, (dy, winner, g, dx))


@kernel
def _avg_chunk(x, g, include_pad, y, counts, chunk, thread):
    """Compute one line of means, and what each was divided by (of the first image: all are alike)."""
    n, i = chunk // g.out_h, chunk % g.out_h
    for j in range(g.out_w):
        to = (chunk * g.out_w + j) * g.c
        for k in range(g.c):
            y[_index(to + k)] = 0
        inside = 0
        for p in range(g.kh):
            row = i * g.stride_h + p - g.pad_h
            for q in range(g.kw):
                column = j * g.stride_w + q - g.pad_w
                if 0 <= row < g.h and 0 <= column < g.w:
                    inside += 1
                    at = ((n * g.h + row) * g.w + column) * g.c
                    for k in range(g.c):
                        y[_index(to + k)] += x[_index(at + k)]
        count = inside
        if include_pad:
            # Entries beyond the padding, where ceil mode lets a window hang over, never count.
            height = min(i * g.stride_h - g.pad_h + g.kh, g.h + g.pad_h) - (i * g.stride_h - g.pad_h)
            width = min(j * g.stride_w - g.pad_w + g.kw, g.w + g.pad_w) - (j * g.stride_w - g.pad_w)
            count = height * width
        if n == 0:
            counts[i * g.out_w + j] = count
        for k in range(g.c):
            y[_index(to + k)] /= x.dtype.type(count)


@compiled
def avg_forward(pool, x, g, include_pad, y, counts):
    """Compute y and counts."""
    parallel_for(pool, g.n * g.out_h, _avg_chunk, (x, g, include_pad, y, counts))


@kernel
def _avg_back_chunk(dy, counts, g, dx, chunk, thread):
    """Collect the gradient of one line of x."""
    n, row = chunk // g.h, chunk % g.h
    top, bottom = _windows(row, g.pad_h, g.kh, g.stride_h, g.out_h)
    for column in range(g.w):
        to = (chunk * g.w + column) * g.c
        for k in range(g.c):
            dx[_index(to + k)] = 0
        left, right = _windows(column, g.pad_w, g.kw, g.stride_w, g.out_w)
        for i in range(top, bottom):
            for j in range(left, right):
                window = i * g.out_w + j
                at = (n * g.out_h * g.out_w + window) * g.c
                for k in range(g.c):
                    dx[_index(to + k)] += dy[_index(at + k)] / dy.dtype.type(counts[window])


@compiled
def avg_backward(pool, dy, counts, g, dx):
    """Compute dx."""
    parallel_for(pool, g.n * g.h, _avg_back_chunk, (dy, counts, g, dx))
