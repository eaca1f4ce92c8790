"""Passes over an activation: all that batch norm, ReLU, SE's scale and the shortcut need of the pixels.

An activation is flat rows of C channels, `rows` of them an image, cut into blocks that fit the cache. What
differs from image to image (SE's gate) comes as vectors with a step of C, what doesn't with a step of 0.

    statistics   mean and sum of squared deviations of each block
    transform    y = relu((x - mean) scale + bias + shortcut)
    reduce       sums over each block of g and g (x - mean),    g = dy where the ReLU was open
    gradient     dx = g scale + shift + (x - mean) slope,       and g itself for the shortcut
    open_sums    sums over each block of 1 and (x - mean)       where the ReLU is open
"""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, inlined, kernel
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp
BLOCK_ROWS = 256
_WIDEST = 256  # numbers in a wide row
NO_RELU, RELU, RELU_BY_RESULT = 0, 1, 2


def pixels_a_row(channels: int, pixels: int) -> int:
    """Return how many pixels to take as one row: few channels make short loops, and these are slow."""
    wide = 1
    while 2 * wide * channels <= _WIDEST and pixels % (2 * wide) == 0:
        wide *= 2
    return wide


@inlined
def block_of(chunk, rows):
    """Return image, first row and count of rows of a chunk."""
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    image, first = chunk // blocks, chunk % blocks * BLOCK_ROWS
    return image, image * rows + first, min(BLOCK_ROWS, rows - first)


@kernel
def _statistics_chunk(x, rows, c, mean, deviation, chunk, thread):
    _, first, count = block_of(chunk, rows)
    to = chunk * c
    for k in range(c):
        mean[_index(to + k)] = 0
        deviation[_index(to + k)] = 0
    for r in range(first, first + count):
        at = r * c
        for k in range(c):
            mean[_index(to + k)] += x[_index(at + k)]
    for k in range(c):
        mean[_index(to + k)] /= x.dtype.type(count)
    for r in range(first, first + count):
        at = r * c
        for k in range(c):
            off = x[_index(at + k)] - mean[_index(to + k)]
            deviation[_index(to + k)] += off * off


@compiled
def statistics(pool, x, images, rows, c, mean, deviation):
    """Compute mean and deviation (blocks, C), block after block of all images."""
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    parallel_for(pool, images * blocks, _statistics_chunk, (x, rows, c, mean, deviation))


@kernel
def _sums_chunk(x, rows, c, sums, chunk, thread):
    _, first, count = block_of(chunk, rows)
    to = chunk * c
    for k in range(c):
        sums[_index(to + k)] = 0
    for r in range(first, first + count):
        for k in range(c):
            sums[_index(to + k)] += x[_index(r * c + k)]


@kernel
def _means_chunk(sums, rows, c, mean, chunk, thread):
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    to, at = chunk * c, chunk * blocks * c
    for k in range(c):
        mean[_index(to + k)] = sums[_index(at + k)]
    for block in range(1, blocks):
        for k in range(c):
            mean[_index(to + k)] += sums[_index(at + block * c + k)]
    for k in range(c):
        mean[_index(to + k)] /= mean.dtype.type(rows)


@compiled
def means(pool, x, images, rows, c, sums, mean):
    """Compute the mean (images, C) of each image from the sums of its blocks, (blocks, C)."""
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    parallel_for(pool, images * blocks, _sums_chunk, (x, rows, c, sums))
    parallel_for(pool, images, _means_chunk, (sums, rows, c, mean))


@compiled
def combine(mean, deviation, images, rows, c, wide, image_mean, total_mean, total_var):
    """From the blocks' statistics compute those of images and of the batch (Chan et al. 1979), in float64.

    `rows` are wide: each holds `wide` pixels, and each of these has statistics of its own in a block.
    """
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    for k in range(c):
        total_mean[k] = 0
        total_var[k] = 0
    for image in range(images):
        for k in range(c):
            image_mean[image, k] = 0
        for block in range(blocks):
            share = min(BLOCK_ROWS, rows - block * BLOCK_ROWS) / (rows * wide)
            for pixel in range(wide):
                at = ((image * blocks + block) * wide + pixel) * c
                for k in range(c):
                    image_mean[image, k] += mean[_index(at + k)] * share
        for k in range(c):
            total_mean[k] += image_mean[image, k] / images
    for image in range(images):
        for block in range(blocks):
            count = min(BLOCK_ROWS, rows - block * BLOCK_ROWS)
            for pixel in range(wide):
                at = ((image * blocks + block) * wide + pixel) * c
                for k in range(c):
                    off = mean[_index(at + k)] - total_mean[k]
                    total_var[k] += deviation[_index(at + k)] + count * (off * off)
    for k in range(c):
        total_var[k] /= images * rows * wide


@kernel
def _transform_chunk(x, rows, c, mean, scale, bias, step, shortcut, relu, y, chunk, thread):
    zero = x.dtype.type(0)
    image, first, count = block_of(chunk, rows)
    own = image * step
    for r in range(first, first + count):
        at = r * c
        if shortcut.size:
            for k in range(c):
                j, m, i = _index(at + k), _index(k), _index(own + k)
                value = (x[j] - mean[m]) * scale[i] + bias[i] + shortcut[j]
                y[j] = zero if value <= zero else value  # NaN stays
        elif relu:
            for k in range(c):
                j, m, i = _index(at + k), _index(k), _index(own + k)
                value = (x[j] - mean[m]) * scale[i] + bias[i]
                y[j] = zero if value <= zero else value
        else:
            for k in range(c):
                j, m, i = _index(at + k), _index(k), _index(own + k)
                y[j] = (x[j] - mean[m]) * scale[i] + bias[i]


@compiled
def transform(pool, x, images, rows, c, mean, scale, bias, step, shortcut, relu, y):
    """Compute y; with a shortcut there always is a ReLU."""
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    arguments = (x, rows, c, mean, scale, bias, step, shortcut, relu, y)
    parallel_for(pool, images * blocks, _transform_chunk, arguments)


@kernel
def _reduce_chunk(dy, x, rows, c, mean, scale, bias, gate, y, g0, g1, chunk, thread):
    zero = x.dtype.type(0)
    _, first, count = block_of(chunk, rows)
    to = chunk * c
    for k in range(c):
        g0[_index(to + k)] = 0
        g1[_index(to + k)] = 0
    for r in range(first, first + count):
        at = r * c
        if gate == RELU_BY_RESULT:
            for k in range(c):
                j, i = _index(at + k), _index(to + k)
                g = dy[j] if y[j] > zero else zero
                g0[i] += g
                g1[i] += g * (x[j] - mean[_index(k)])
        elif gate == RELU:
            for k in range(c):
                j, m, i = _index(at + k), _index(k), _index(to + k)
                off = x[j] - mean[m]
                g = dy[j] if off * scale[m] + bias[m] > zero else zero
                g0[i] += g
                g1[i] += g * off
        else:
            for k in range(c):
                j, i = _index(at + k), _index(to + k)
                g0[i] += dy[j]
                g1[i] += dy[j] * (x[j] - mean[_index(k)])


@compiled
def reduce(pool, dy, x, images, rows, c, mean, scale, bias, gate, y, g0, g1):
    """Compute both sums (blocks, C); `gate` says how the ReLU is known: not there, from x, or from y."""
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    arguments = (dy, x, rows, c, mean, scale, bias, gate, y, g0, g1)
    parallel_for(pool, images * blocks, _reduce_chunk, arguments)


@kernel
def _gradient_chunk(
    dy,
    x,
    rows,
    c,
    mean,
    scale,
    bias,
    gate,
    y,
    factor,
    inner,
    shift,
    step,
    slope,
    dx,
    dshortcut,
    chunk,
    thread,
):
    zero = x.dtype.type(0)
    image, first, count = block_of(chunk, rows)
    own = image * step
    for r in range(first, first + count):
        at = r * c
        if gate == RELU_BY_RESULT:
            for k in range(c):
                j, m, i = _index(at + k), _index(k), _index(own + k)
                g = dy[j] if y[j] > zero else zero
                dx[j] = g * factor[i] + shift[i]
                dshortcut[j] = g
        elif gate == RELU and inner.size:
            for k in range(c):
                j, m, i = _index(at + k), _index(k), _index(own + k)
                off = x[j] - mean[m]
                g = dy[j] * factor[i] + inner[i]
                dx[j] = shift[i] + (g if off * scale[m] + bias[m] > zero else zero)
        elif gate == RELU:
            for k in range(c):
                j, m, i = _index(at + k), _index(k), _index(own + k)
                off = x[j] - mean[m]
                g = dy[j] if off * scale[m] + bias[m] > zero else zero
                dx[j] = g * factor[i] + shift[i]
        else:
            for k in range(c):
                j, i = _index(at + k), _index(own + k)
                dx[j] = dy[j] * factor[i] + shift[i]
        if slope.size:  # while the row is in the cache
            for k in range(c):
                j, m = _index(at + k), _index(k)
                dx[j] += (x[j] - mean[m]) * slope[m]


@compiled
def gradient(
    pool, dy, x, images, rows, c, mean, scale, bias, gate, y, factor, inner, shift, step, slope, dx, dshortcut
):
    """Compute dx, and the shortcut's gradient where `gate` is RELU_BY_RESULT.

    With `inner`, where `gate` is RELU, the gradient behind the ReLU is g scale + inner where it was open.
    """
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    arguments = (
        dy, x, rows, c, mean, scale, bias, gate, y, factor, inner, shift, step, slope, dx, dshortcut,
    )  # fmt: skip
    parallel_for(pool, images * blocks, _gradient_chunk, arguments)


@kernel
def _open_sums_chunk(x, rows, c, mean, scale, bias, count, off, chunk, thread):
    zero, one = x.dtype.type(0), x.dtype.type(1)
    _, first, these = block_of(chunk, rows)
    to = chunk * c
    for k in range(c):
        count[_index(to + k)] = 0
        off[_index(to + k)] = 0
    for r in range(first, first + these):
        for k in range(c):
            m, i = _index(k), _index(to + k)
            value = x[_index(r * c + k)] - mean[m]
            is_open = value * scale[m] + bias[m] > zero
            count[i] += one if is_open else zero
            off[i] += value if is_open else zero


@compiled
def open_sums(pool, x, images, rows, c, mean, scale, bias, count, off):
    """Compute both sums (blocks, C)."""
    blocks = (rows + BLOCK_ROWS - 1) // BLOCK_ROWS
    parallel_for(pool, images * blocks, _open_sums_chunk, (x, rows, c, mean, scale, bias, count, off))
