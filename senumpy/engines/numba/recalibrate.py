"""Passes of SE, concatenation and their gradients: numbers for each channel of each image meet the pixels.

Activations are rows of channels, as in `passes.py`. Those of a branch may stand within wider rows, those of
the concatenation: an activation comes with the width of its rows and the place of its first channel.

    scale       y = s x + shift      or    s x + addend    or    x
    products    sums of dy u over each block
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, kernel
from senumpy.engines.numba.passes import BLOCK_ROWS, block_of
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp


@kernel
def _scale_chunk(
    x, x_wide, x_first, s, shift, s_wide, s_first, addend, rows, c, y, y_wide, y_first, chunk, thread
):
    image, first, count = block_of(chunk, rows)
    own = image * s_wide + s_first
    for r in range(first, first + count):
        at, to = r * x_wide + x_first, r * y_wide + y_first
        if addend.size:
            for k in range(c):
                y[_index(to + k)] = x[_index(at + k)] * s[_index(own + k)] + addend[_index(r * c + k)]
        elif shift.size:
            for k in range(c):
                y[_index(to + k)] = x[_index(at + k)] * s[_index(own + k)] + shift[_index(own + k)]
        elif s.size:
            for k in range(c):
                y[_index(to + k)] = x[_index(at + k)] * s[_index(own + k)]
        else:
            for k in range(c):
                y[_index(to + k)] = x[_index(at + k)]


@compiled
def scale(pool, x, x_wide, x_first, s, shift, s_wide, s_first, addend, images, rows, c, y, y_wide, y_first):
    """Compute y; `shift`, `addend` and `s` may be empty. `addend` has rows of its own."""
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    arguments = (x, x_wide, x_first, s, shift, s_wide, s_first, addend, rows, c, y, y_wide, y_first)
    parallel_for(pool, images * blocks, _scale_chunk, arguments)


@kernel
def _products_chunk(dy, dy_wide, dy_first, u, rows, c, sums, chunk, thread):
    _, first, count = block_of(chunk, rows)
    to = chunk * c
    for k in range(c):
        sums[_index(to + k)] = 0
    for r in range(first, first + count):
        at = r * dy_wide + dy_first
        for k in range(c):
            sums[_index(to + k)] += dy[_index(at + k)] * u[_index(r * c + k)]


@compiled
def products(pool, dy, dy_wide, dy_first, u, images, rows, c, sums):
    """Compute the sums (blocks, C)."""
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    parallel_for(pool, images * blocks, _products_chunk, (dy, dy_wide, dy_first, u, rows, c, sums))
