"""Convolution of many small groups, down to one channel each (depthwise): all channels of a pixel at once.

    y[n, i, j, k] = sum_{p, q, m} w[p, q, m, k] x[n, i s + p d - pad, j s + q d - pad, first(k) + m]

first(k) is where k's group begins, m runs over the channels of a group: too few for a matrix product. So
lines of x are spread out first: the m-th copy of a pixel holds, for every k, the m-th channel of its group.
After that all is multiplication and addition of whole pixels, C numbers at a time, as in a depthwise
convolution with as many taps more. Kernels are laid out as (kh, kw, m, C).
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, inlined, kernel
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp


@inlined
def _spread(x, g, members, image, first, lines, spread):
    """Copy lines of an image with zeros around it, each pixel once for every member of a group."""
    zero = x.dtype.type(0)
    width = g.w + 2 * g.pad_w
    for line in range(lines):
        row = first + line
        for column in range(width):
            to = (line * width + column) * members * g.c
            inside = 0 <= row < g.h and 0 <= column - g.pad_w < g.w
            at = ((image * g.h + row) * g.w + column - g.pad_w) * g.c
            if not inside:
                for k in range(members * g.c):
                    spread[_index(to + k)] = zero
            elif members == 1:
                for k in range(g.c):
                    spread[_index(to + k)] = x[_index(at + k)]
            else:
                for group in range(0, g.c, members):
                    for m in range(members):
                        value = x[_index(at + group + m)]
                        for k in range(members):
                            spread[_index(to + m * g.c + group + k)] = value


@kernel
def _multiply_add(a, a0, b, b0, step, taps, y, to, c):
    """Add a[t] b[t] of all taps t to y; taps lie `step` apart. Several at a time, to touch y less often."""
    tap = 0
    while taps - tap >= 4:
        p, q = a0 + tap * step, b0 + tap * step
        for k in range(c):
            y[_index(to + k)] += (
                a[_index(p + k)] * b[_index(q + k)]
                + a[_index(p + step + k)] * b[_index(q + step + k)]
                + a[_index(p + 2 * step + k)] * b[_index(q + 2 * step + k)]
                + a[_index(p + 3 * step + k)] * b[_index(q + 3 * step + k)]
            )
        tap += 4
    if taps - tap >= 3:
        p, q = a0 + tap * step, b0 + tap * step
        for k in range(c):
            y[_index(to + k)] += (
                a[_index(p + k)] * b[_index(q + k)]
                + a[_index(p + step + k)] * b[_index(q + step + k)]
                + a[_index(p + 2 * step + k)] * b[_index(q + 2 * step + k)]
            )
        tap += 3
    while tap < taps:
        p, q = a0 + tap * step, b0 + tap * step
        for k in range(c):
            y[_index(to + k)] += a[_index(p + k)] * b[_index(q + k)]
        tap += 1


@inlined
def _runs(g):
    """Return how many runs of taps that lie side by side a kernel has, and the taps of each."""
    across = g.kw if g.dilation_w == 1 else 1
    return g.kh * g.kw // across, across


@kernel
def _forward_chunk(x, g, members, size, w, y, scratch, chunk, thread):
    """Compute `size` lines of an image."""
    blocks = (g.out_h + size - 1) // size
    image, block = chunk // blocks, chunk % blocks
    some = min(size, g.out_h - block * size)
    lines = (some - 1) * g.stride_h + (g.kh - 1) * g.dilation_h + 1
    spread = scratch[thread]
    _spread(x, g, members, image, block * size * g.stride_h - g.pad_h, lines, spread)
    runs, across = _runs(g)
    pixel, width = members * g.c, g.w + 2 * g.pad_w
    for i in range(some):
        for j in range(g.out_w):
            to = ((image * g.out_h + block * size + i) * g.out_w + j) * g.c
            for k in range(g.c):
                y[_index(to + k)] = 0
            for run in range(runs):
                p, q = run * across // g.kw, run * across % g.kw
                row = i * g.stride_h + p * g.dilation_h
                at = (row * width + j * g.stride_w + q * g.dilation_w) * pixel
                _multiply_add(spread, at, w, run * across * pixel, g.c, across * members, y, to, g.c)


@compiled
def forward(pool, x, g, members, size, w, y, scratch):
    """Compute y."""
    chunks = g.n * ((g.out_h + size - 1) // size)
    parallel_for(pool, chunks, _forward_chunk, (x, g, members, size, w, y, scratch))


# With a stride, an entry of x takes part in the windows (i, j) with i s + p d - pad = its row: for each tap
# at most one. So the gradient of a depthwise convolution is gathered line by line, as the forward is.
@kernel
def _backward_input_chunk(dy, g, w, dx, chunk, thread):
    """Compute one line of the gradient of a depthwise convolution."""
    n, row = chunk // g.h, chunk % g.h
    for column in range(g.w):
        to = (chunk * g.w + column) * g.c
        for k in range(g.c):
            dx[_index(to + k)] = 0
        for p in range(g.kh):
            i = row + g.pad_h - p * g.dilation_h
            if i < 0 or i % g.stride_h or i // g.stride_h >= g.out_h:
                continue
            for q in range(g.kw):
                j = column + g.pad_w - q * g.dilation_w
                if j >= 0 and j % g.stride_w == 0 and j // g.stride_w < g.out_w:
                    at = ((n * g.out_h + i // g.stride_h) * g.out_w + j // g.stride_w) * g.c
                    _multiply_add(dy, at, w, (p * g.kw + q) * g.c, g.c, 1, dx, to, g.c)


@compiled
def backward_input(pool, dy, g, w, dx):
    """Compute dx of a depthwise convolution."""
    parallel_for(pool, g.n * g.h, _backward_input_chunk, (dy, g, w, dx))


@kernel
def _add_products(a, a0, step, taps, b, b0, sums, s0, c):
    """Add a[t] b to the sums of all taps t, some at a time, to read b less often."""
    tap = 0
    while taps - tap >= 3:
        p, s = a0 + tap * step, s0 + tap * c
        for k in range(c):
            value = b[_index(b0 + k)]
            sums[_index(s + k)] += a[_index(p + k)] * value
            sums[_index(s + c + k)] += a[_index(p + step + k)] * value
            sums[_index(s + 2 * c + k)] += a[_index(p + 2 * step + k)] * value
        tap += 3
    while tap < taps:
        p, s = a0 + tap * step, s0 + tap * c
        for k in range(c):
            sums[_index(s + k)] += a[_index(p + k)] * b[_index(b0 + k)]
        tap += 1


@kernel
def _backward_weights_chunk(x, dy, g, members, size, parts, sums, scratch, chunk, thread):
    """Sum the gradient over a part of one image."""
    image, part = chunk // parts, chunk % parts
    runs, across = _runs(g)
    pixel, width = members * g.c, g.w + 2 * g.pad_w
    own = chunk * g.kh * g.kw * pixel
    for k in range(g.kh * g.kw * pixel):
        sums[_index(own + k)] = 0
    spread = scratch[thread]
    begin, end = part * g.out_h // parts, (part + 1) * g.out_h // parts
    for top in range(begin, end, size):
        some = min(size, end - top)
        lines = (some - 1) * g.stride_h + (g.kh - 1) * g.dilation_h + 1
        _spread(x, g, members, image, top * g.stride_h - g.pad_h, lines, spread)
        for i in range(some):
            for j in range(g.out_w):
                at_dy = ((image * g.out_h + top + i) * g.out_w + j) * g.c
                for run in range(runs):
                    p, q = run * across // g.kw, run * across % g.kw
                    row = i * g.stride_h + p * g.dilation_h
                    at = (row * width + j * g.stride_w + q * g.dilation_w) * pixel
                    s0 = own + run * across * pixel
                    _add_products(spread, at, g.c, across * members, dy, at_dy, sums, s0, g.c)


@compiled
def backward_weights(pool, x, dy, g, members, size, parts, sums, scratch):
    """Compute the gradient of the kernels in parts: sums is (N, parts, kh, kw, m, C)."""
    arguments = (x, dy, g, members, size, parts, sums, scratch)
    parallel_for(pool, g.n * parts, _backward_weights_chunk, arguments)
