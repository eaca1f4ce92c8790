"""Pooling over windows, line by line, all channels of a pixel at once."""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, kernel
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp


@kernel
def _max_chunk(x, g, y, winner, chunk, thread):
    """Compute one line of maxima, and which tap each came from."""
    n, i = chunk // g.out_h, chunk % g.out_h
    for j in range(g.out_w):
        to = (chunk * g.out_w + j) * g.c
        first = True
        number = winner.dtype.type
        for p in range(g.kh):
            row = i * g.stride_h + p - g.pad_h
            if row < 0 or row >= g.h:
                continue
            for q in range(g.kw):
                column = j * g.stride_w + q - g.pad_w
                if column < 0 or column >= g.w:
                    continue
                at = ((n * g.h + row) * g.w + column) * g.c
                tap = number(p * g.kw + q)
                if first:
                    for k in range(g.c):
                        y[_index(to + k)] = x[_index(at + k)]
                        winner[_index(to + k)] = tap
                    first = False
                    continue
                # The first maximum wins, so ">"; NaN, which is not equal to itself, wins always. Choices one
                # after the other, without "or", are what the compiler turns into vector code.
                for k in range(g.c):
                    rival, best, last = x[_index(at + k)], y[_index(to + k)], winner[_index(to + k)]
                    above = rival > best
                    is_nan = rival != rival
                    last = tap if above else last
                    best = rival if above else best
                    winner[_index(to + k)] = tap if is_nan else last
                    y[_index(to + k)] = rival if is_nan else best


@compiled
def max_forward(pool, x, g, y, winner):
    """Compute y and winner."""
    parallel_for(pool, g.n * g.out_h, _max_chunk, (x, g, y, winner))


@kernel
def _max_back_chunk(dy, winner, g, dx, chunk, thread):
    """Collect the gradient of one line of x from all windows that it takes part in."""
    n, row = chunk // g.h, chunk % g.h
    for column in range(g.w):
        to = (chunk * g.w + column) * g.c
        for k in range(g.c):
            dx[_index(to + k)] = 0
        for p in range(g.kh):
            i = row + g.pad_h - p
            if i < 0 or i % g.stride_h or i // g.stride_h >= g.out_h:
                continue
            for q in range(g.kw):
                j = column + g.pad_w - q
                if j < 0 or j % g.stride_w or j // g.stride_w >= g.out_w:
                    continue
                at = ((n * g.out_h + i // g.stride_h) * g.out_w + j // g.stride_w) * g.c
                tap = winner.dtype.type(p * g.kw + q)
                for k in range(g.c):
                    dx[_index(to + k)] += (
                        dy[_index(at + k)] if winner[_index(at + k)] == tap else dy.dtype.type(0)
                    )


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
    for column in range(g.w):
        to = (chunk * g.w + column) * g.c
        for k in range(g.c):
            dx[_index(to + k)] = 0
        for p in range(g.kh):
            i = row + g.pad_h - p
            if i < 0 or i % g.stride_h or i // g.stride_h >= g.out_h:
                continue
            for q in range(g.kw):
                j = column + g.pad_w - q
                if j < 0 or j % g.stride_w or j // g.stride_w >= g.out_w:
                    continue
                window = i // g.stride_h * g.out_w + j // g.stride_w
                at = (n * g.out_h * g.out_w + window) * g.c
                for k in range(g.c):
                    dx[_index(to + k)] += dy[_index(at + k)] / dy.dtype.type(counts[window])


@compiled
def avg_backward(pool, dy, counts, g, dx):
    """Compute dx."""
    parallel_for(pool, g.n * g.h, _avg_back_chunk, (dy, counts, g, dx))
