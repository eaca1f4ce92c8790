"""Depthwise convolution: every channel has its own kernel, and all channels of a pixel are done at once.

    y[n, i, j, k] = sum_{p, q} w[p, q, k] x[n, i s + p d - pad, j s + q d - pad, k]

There is no sum over channels, so nothing to gain from a matrix product. Kernels are kept as (taps, C).
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, kernel
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp


@kernel
def _multiply_add(a, a0, b, b0, c, c0, count):
    """c += a b, entry by entry."""
    for k in range(count):
        c[_index(c0 + k)] += a[_index(a0 + k)] * b[_index(b0 + k)]


@kernel
def _forward_chunk(x, g, w, y, chunk, thread):
    """Compute one line of the result."""
    n, i = chunk // g.out_h, chunk % g.out_h
    for j in range(g.out_w):
        to = (chunk * g.out_w + j) * g.c
        for k in range(g.c):
            y[_index(to + k)] = 0
        for p in range(g.kh):
            row = i * g.stride_h + p * g.dilation_h - g.pad_h
            if row < 0 or row >= g.h:
                continue
            for q in range(g.kw):
                column = j * g.stride_w + q * g.dilation_w - g.pad_w
                if 0 <= column < g.w:
                    at = ((n * g.h + row) * g.w + column) * g.c
                    _multiply_add(x, at, w, (p * g.kw + q) * g.c, y, to, g.c)


@compiled
def forward(pool, x, g, w, y):
    """Compute y."""
    parallel_for(pool, g.n * g.out_h, _forward_chunk, (x, g, w, y))


# An entry of x takes part in the windows (i, j) with i s + p d - pad = its row; so for each tap there is at
# most one, and the gradient is gathered line by line, as the forward is.
@kernel
def _backward_input_chunk(dy, g, w, dx, chunk, thread):
    """Compute one line of the gradient."""
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
                    _multiply_add(dy, at, w, (p * g.kw + q) * g.c, dx, to, g.c)


@compiled
def backward_input(pool, dy, g, w, dx):
    """Compute dx."""
    parallel_for(pool, g.n * g.h, _backward_input_chunk, (dy, g, w, dx))


@kernel
def _backward_weights_chunk(x, dy, g, sums, chunk, thread):
    """Sum the gradient over one image."""
    own = chunk * g.kh * g.kw * g.c
    for k in range(g.kh * g.kw * g.c):
        sums[_index(own + k)] = 0
    for i in range(g.out_h):
        for j in range(g.out_w):
            at_dy = ((chunk * g.out_h + i) * g.out_w + j) * g.c
            for p in range(g.kh):
                row = i * g.stride_h + p * g.dilation_h - g.pad_h
                if row < 0 or row >= g.h:
                    continue
                for q in range(g.kw):
                    column = j * g.stride_w + q * g.dilation_w - g.pad_w
                    if 0 <= column < g.w:
                        at = ((chunk * g.h + row) * g.w + column) * g.c
                        _multiply_add(x, at, dy, at_dy, sums, own + (p * g.kw + q) * g.c, g.c)


@compiled
def backward_weights(pool, x, dy, g, sums):
    """Compute the gradient of the kernels image by image: sums is (N, taps, C)."""
    parallel_for(pool, g.n, _backward_weights_chunk, (x, dy, g, sums))
