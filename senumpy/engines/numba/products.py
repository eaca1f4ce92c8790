"""Matrix products in blocks that fit the caches: what is packed, and the product of one block.

A panel holds `width` columns of w, row after row: w[k, n] lies at ((n // width) K + k) width + n % width. The
last panel is filled with zeros. Each chunk of the parallel loops writes a part of the result that is its own,
and how a sum is cut does not depend on the number of threads: neither do the results.
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, inlined, kernel
from senumpy.engines.numba.microkernel import multiply_panel
from senumpy.engines.numba.threads import parallel_for

# Blocks that proved good on processors with 32 KiB of L1 and 512 KiB of L2 cache a core.
ROW_BLOCK = 96
DEPTH_BLOCK = 256
_index = np.uintp  # an unsigned index needs no check for "from the end": such loops vectorise


@kernel
def _pack_chunk(
    source, begin, outer, inner, s_outer, s_inner, columns, s_column, width, panels, chunk, thread
):
    """Pack one panel of the matrix; o s_outer + i s_inner + n s_column is where row (o, i), column n lies."""
    first = chunk * width
    lanes = min(width, columns - first)
    at = chunk * outer * inner * width
    for o in range(outer):
        for i in range(inner):
            start = begin + o * s_outer + i * s_inner + first * s_column
            for lane in range(lanes):
                panels[_index(at + lane)] = source[_index(start + lane * s_column)]
            for lane in range(lanes, width):
                panels[_index(at + lane)] = 0
            at += width


@compiled
def pack(pool, source, begin, outer, inner, s_outer, s_inner, columns, s_column, width, panels):
    """Pack a matrix into panels. Its rows have two indices (taps and channels), each with its stride."""
    parallel_for(
        pool, (columns + width - 1) // width, _pack_chunk,
        (source, begin, outer, inner, s_outer, s_inner, columns, s_column, width, panels),
    )  # fmt: skip


@inlined
def block_product(
    a, a0, lda, rows, depth, panels, p0, panel_depth, first, last, columns, width, y, y0, ldy, add, edge
):
    """y[:rows, columns of the panels first to last] (+)= a[:rows, :depth] w[:depth].

    `panel_depth` is the full depth of the packed w, of which this product may use a part; `edge` is scratch
    of (rows, width) for the last panel where it is not full.
    """
    for panel in range(first, last):
        left = panel * width
        lanes = min(width, columns - left)
        c, c0, ldc = y, y0 + left, ldy
        if lanes < width:
            c, c0, ldc = edge, 0, width
        at = p0 + panel * panel_depth * width
        multiply_panel(a, a0, lda, 1, panels, at, c, c0, ldc, rows, depth, add and lanes == width)
        if lanes < width:
            for r in range(rows):
                for lane in range(lanes):
                    to = _index(y0 + r * ldy + left + lane)
                    value = edge[_index(r * width + lane)]
                    y[to] = y[to] + value if add else value
