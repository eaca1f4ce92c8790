"""3x3 convolution with stride 1 by Winograd's F(4x4, 3x3): forward, gradient of x, gradient of w.

After the transforms (`tiles.py`) there are 36 independent matrix products, (tiles x C) times (C x O). Two
ways to go through them:

    fused       for blocks of tiles: transform, 36 products, transform back, all within one core's cache.
                For small kernels: each block reads all 36 transformed kernels again.
    in phases   transform all tiles; 36 products, each on one core; transform all back. For large kernels
                and small images.

The gradient of x is the same convolution of dy with the kernels turned by 180 degrees and transposed.
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, kernel
from senumpy.engines.numba.lanes import end_stream, stream
from senumpy.engines.numba.microkernel import multiply_panel
from senumpy.engines.numba.threads import parallel_for
from senumpy.engines.numba.tiles import POINTS, gradient_tiles, input_tiles, output_tiles
from senumpy.engines.numba.winograd_lanes import kernel_points, kernel_points_back

_index = np.uintp
CHANNEL_BLOCK = 128  # input channels that a product runs over at a time
GRADIENT_BLOCK = 64
TILE_BLOCK = 48  # tiles that a fused block works on; a multiple of the six rows of a product's tile
PHASE_TILES = 96
FEW_TILES = 16
# One tile more from one of the 36 matrices to the next: distances that are powers of two would put the same
# place of all of them into the same few lines of a cache.
STRIDE, GRADIENT_STRIDE = TILE_BLOCK + 1, PHASE_TILES + 1
GRADIENT_DEPTH = 128
_CACHED_BYTES = 1 << 23  # larger transformed kernels have left the cache before they are used
_SLICE = 16  # kernels that are read or written together
KERNEL_SCRATCH = (9 + POINTS) * _SLICE  # panels that the transform of kernels needs


@kernel
def _kernels_chunk(w, depth, columns, s_depth, s_column, turned, width, u, scratch, chunk, thread):
    """Transform and pack the kernels of one panel of columns: u is (36, panels, depth, width)."""
    taps = scratch[thread, : 9 * _SLICE * width]
    done = scratch[thread, taps.size :]  # (36, slice, width)
    panels = columns // width
    for first in range(0, depth, _SLICE):
        some = min(_SLICE, depth - first)
        # A kernel's nine numbers lie together, and so do the kernels of one index: read them in that order.
        for lane in range(width):
            for k in range(some):
                at = (first + k) * s_depth + (chunk * width + lane) * s_column
                for tap in range(9):
                    place = 8 - tap if turned else tap
                    taps[_index((9 * k + tap) * width + lane)] = w[_index(at + place)]
        for k in range(some):
            kernel_points(taps, 9 * k * width, 3 * width, width, done, k * width, _SLICE * width)
        for point in range(POINTS):  # long stretches: 36 places at once would be too many for the caches
            to = ((point * panels + chunk) * depth + first) * width
            if u.nbytes > _CACHED_BYTES:
                for k in range(some):
                    stream(u, to + k * width, done, (point * _SLICE + k) * width)
            else:
                for k in range(some * width):
                    u[_index(to + k)] = done[_index(point * _SLICE * width + k)]
    end_stream()


@compiled
def transform_kernels(pool, w, depth, columns, s_depth, s_column, turned, width, u, scratch):
    """u = G w G^T, packed for products over `depth` channels."""
    arguments = (w, depth, columns, s_depth, s_column, turned, width, u, scratch)
    parallel_for(pool, columns // width, _kernels_chunk, arguments)


@kernel
def _products(v, stride, block, depth, u, u_at, m, m_at, first, count, columns, width):
    """m = v u for one of the 36 points and `count` tiles from `first` on; v begins with the point."""
    for channel in range(0, depth, block):
        some = min(block, depth - channel)
        at = channel * stride + first * some
        for panel in range(columns // width):
            multiply_panel(
                v, at, some, 1, u, u_at + (panel * depth + channel) * width,
                m, m_at + first * columns + panel * width, columns, count, some, channel > 0,
            )  # fmt: skip


@kernel
def _fused_chunk(x, t, u, width, y, t_out, tiles, bias, relu, scratch, chunk, thread):
    """Do everything for one block of tiles."""
    own = scratch[thread]
    cut = own[: POINTS * width]
    v = own[cut.size : cut.size + POINTS * STRIDE * t.c]
    m = own[cut.size + v.size :]
    first = chunk * TILE_BLOCK
    count = min(TILE_BLOCK, tiles - first)
    input_tiles(x, t, first, count, v, 0, STRIDE, CHANNEL_BLOCK, width, cut)
    for point in range(POINTS):
        _products(
            v[point * STRIDE * t.c :], STRIDE, CHANNEL_BLOCK, t.c, u, point * t.c * t_out.c,
            m, point * STRIDE * t_out.c, 0, count, t_out.c, width,
        )  # fmt: skip
    output_tiles(m, 0, STRIDE, t_out, first, count, bias, relu, y, width, cut)


@compiled
def fused(pool, x, t, u, width, y, t_out, tiles, bias, relu, scratch):
    """Convolve block of tiles by block of tiles."""
    arguments = (x, t, u, width, y, t_out, tiles, bias, relu, scratch)
    parallel_for(pool, (tiles + TILE_BLOCK - 1) // TILE_BLOCK, _fused_chunk, arguments)


@kernel
def _input_chunk(x, t, tiles, size, block, width, v, scratch, chunk, thread):
    first = chunk * size
    count = min(size, tiles - first)
    input_tiles(x, t, first, count, v, first, tiles + 1, block, width, scratch[thread])


@kernel
def _gradient_chunk(dy, t, tiles, size, width, z, scratch, chunk, thread):
    first = chunk * size
    gradient_tiles(dy, t, first, min(size, tiles - first), z, first, tiles + 1, width, scratch[thread])


@kernel
def _output_chunk(m, t, tiles, size, y, bias, relu, width, scratch, chunk, thread):
    first = chunk * size
    count = min(size, tiles - first)
    output_tiles(m, first, tiles + 1, t, first, count, bias, relu, y, width, scratch[thread])


@kernel
def _phase_products_chunk(v, tiles, block, depth, u, m, columns, width, chunk, thread):
    """Multiply at one point."""
    point, stride = chunk, tiles + 1
    for first in range(0, tiles, PHASE_TILES):
        _products(
            v[point * stride * depth :], stride, block, depth, u, point * depth * columns,
            m, point * stride * columns, first, min(PHASE_TILES, tiles - first), columns, width,
        )  # fmt: skip


@compiled
def in_phases(pool, x, t, u, width, y, t_out, tiles, size, block, bias, relu, v, m, scratch):
    """Convolve phase by phase; `size` tiles are transformed at a time, products sum `block` channels."""
    pieces = (tiles + size - 1) // size
    parallel_for(pool, pieces, _input_chunk, (x, t, tiles, size, block, width, v, scratch))
    parallel_for(pool, POINTS, _phase_products_chunk, (v, tiles, block, t.c, u, m, t_out.c, width))
    parallel_for(pool, pieces, _output_chunk, (m, t_out, tiles, size, y, bias, relu, width, scratch))


@kernel
def _gradient_products(v, z, point, place, count, stride, c, o, block, width, sums, s0, add):
    """Add v^T z for one point, one block of channels from `block` on, and some tiles."""
    some = min(GRADIENT_BLOCK, c - block)
    for panel in range(o // width):
        multiply_panel(
            v, point * stride * c + block * stride + place * some, 1, some,
            z, point * stride * o + (panel * stride + place) * width,
            sums, s0 + point * c * o + (panel * c + block) * width, width, some, count, add,
        )  # fmt: skip


@kernel
def _weights_fused_chunk(x, t, dy, t_out, tiles, width, parts, sums, scratch, chunk, thread):
    """Sum the gradient over a part of the tiles."""
    own = scratch[thread]
    cut = own[: POINTS * width]
    v = own[cut.size : cut.size + POINTS * GRADIENT_STRIDE * t.c]
    z = own[cut.size + v.size :]
    begin, end = chunk * tiles // parts, (chunk + 1) * tiles // parts
    for first in range(begin, end, PHASE_TILES):
        count = min(PHASE_TILES, end - first)
        input_tiles(x, t, first, count, v, 0, GRADIENT_STRIDE, GRADIENT_BLOCK, width, cut)
        gradient_tiles(dy, t_out, first, count, z, 0, GRADIENT_STRIDE, width, cut)
        for point in range(POINTS):
            for block in range(0, t.c, GRADIENT_BLOCK):
                _gradient_products(
                    v, z, point, 0, count, GRADIENT_STRIDE, t.c, t_out.c, block, width,
                    sums, chunk * POINTS * t.c * t_out.c, first > begin,
                )  # fmt: skip


@kernel
def _weights_phase_chunk(v, z, tiles, c, o, width, sums, chunk, thread):
    """Sum the gradient at one point, for one block of channels."""
    blocks = (c + GRADIENT_BLOCK - 1) // GRADIENT_BLOCK
    point, block = chunk // blocks, chunk % blocks * GRADIENT_BLOCK
    for first in range(0, tiles, GRADIENT_DEPTH):
        count = min(GRADIENT_DEPTH, tiles - first)
        _gradient_products(v, z, point, first, count, tiles + 1, c, o, block, width, sums, 0, first > 0)


@kernel
def _weights_back_chunk(sums, parts, c, o, width, dw, scratch, chunk, thread):
    """dw = G^T (sum of the parts) G for some input channels."""
    done = scratch[thread]
    first = chunk * _SLICE
    some = min(_SLICE, c - first)
    matrix = c * o
    for left in range(0, o, width):
        start = left * c + first * width
        for part in range(1, parts):
            for point in range(POINTS):
                at = start + point * matrix
                for k in range(some * width):
                    sums[_index(at + k)] += sums[_index(at + part * POINTS * matrix + k)]
        for k in range(some):
            kernel_points_back(sums, start + k * width, 6 * matrix, matrix, done, 9 * k * width, width)
        for lane in range(width):
            at = ((left + lane) * c + first) * 9
            for k in range(9 * some):
                dw[_index(at + k)] = done[_index(k * width + lane)]


@compiled
def weights_fused(pool, x, t, dy, t_out, tiles, width, parts, sums, scratch, dw):
    """Compute the gradient of the kernels; each part of the tiles goes through all steps on one core."""
    arguments = (x, t, dy, t_out, tiles, width, parts, sums, scratch)
    parallel_for(pool, parts, _weights_fused_chunk, arguments)
    parallel_for(
        pool,
        (t.c + _SLICE - 1) // _SLICE,
        _weights_back_chunk,
        (sums, parts, t.c, t_out.c, width, dw, scratch),
    )


@compiled
def weights_in_phases(pool, x, t, dy, t_out, tiles, size, width, v, z, sums, scratch, dw):
    """Compute the gradient of the kernels phase by phase."""
    pieces = (tiles + size - 1) // size
    parallel_for(pool, pieces, _input_chunk, (x, t, tiles, size, GRADIENT_BLOCK, width, v, scratch))
    parallel_for(pool, pieces, _gradient_chunk, (dy, t_out, tiles, size, width, z, scratch))
    blocks = (t.c + GRADIENT_BLOCK - 1) // GRADIENT_BLOCK
    parallel_for(pool, POINTS * blocks, _weights_phase_chunk, (v, z, tiles, t.c, t_out.c, width, sums))
    parallel_for(
        pool, (t.c + _SLICE - 1) // _SLICE, _weights_back_chunk, (sums, 1, t.c, t_out.c, width, dw, scratch)
    )
