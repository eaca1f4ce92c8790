"""The transforms of Winograd's convolution F(4x4, 3x3) (Lavin & Gray 2015, arXiv 1509.09308), along channels.

An output tile of 4x4 pixels needs an input tile of 6x6. With d the input tile and w the 3x3 kernel,

    y = A^T [ (G w G^T) * (B^T d B) ] A          * entry by entry: 36 multiplications instead of 144

summed over input channels before A. Its derivative for an upstream gradient dy of the tile is

    dw = G^T [ (B^T d B) * (A dy A^T) ] G

so the transforms of the data serve both. Each two-dimensional transform is a one-dimensional one along
columns and then along rows; every line below transforms all channels of a block at a time.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from senumpy.engines.numba.compiler import kernel

_index = np.uintp
# An int times a float32 is a float64 in compiled code. So every constant below takes the dtype of its array.
POINTS = 36  # numbers of a transformed tile


class Tiles(NamedTuple):
    """The image that tiles are cut from, and the grid of tiles; a tile starts `pad` before its place."""

    h: int
    w: int
    c: int
    rows: int
    columns: int
    pad_h: int
    pad_w: int


@kernel
def _input_line(a, a0, step_a, b, b0, step_b, channels):
    """b = B^T a, six numbers to six."""
    a1 = a0 + step_a
    a2 = a1 + step_a
    a3 = a2 + step_a
    a4 = a3 + step_a
    a5 = a4 + step_a
    b1 = b0 + step_b
    b2 = b1 + step_b
    b3 = b2 + step_b
    b4 = b3 + step_b
    b5 = b4 + step_b
    two, four, five = a.dtype.type(2), a.dtype.type(4), a.dtype.type(5)
    for channel in range(channels):
        k = _index(channel)
        x0, x1, x2, x3, x4, x5 = a[a0 + k], a[a1 + k], a[a2 + k], a[a3 + k], a[a4 + k], a[a5 + k]
        even, odd = x4 - four * x2, x3 - four * x1
        near, far = x4 - x2, two * (x3 - x1)
        b[b0 + k] = four * x0 - five * x2 + x4
        b[b1 + k] = even + odd
        b[b2 + k] = even - odd
        b[b3 + k] = near + far
        b[b4 + k] = near - far
        b[b5 + k] = four * x1 - five * x3 + x5


@kernel
def _output_line(a, a0, step_a, b, b0, step_b, channels):
    """b = A^T a, six numbers to four."""
    a1 = a0 + step_a
    a2 = a1 + step_a
    a3 = a2 + step_a
    a4 = a3 + step_a
    a5 = a4 + step_a
    b1 = b0 + step_b
    b2 = b1 + step_b
    b3 = b2 + step_b
    two, four, eight = a.dtype.type(2), a.dtype.type(4), a.dtype.type(8)
    for channel in range(channels):
        k = _index(channel)
        x1, x2, x3, x4 = a[a1 + k], a[a2 + k], a[a3 + k], a[a4 + k]
        plus, minus, plus2, minus2 = x1 + x2, x1 - x2, x3 + x4, x3 - x4
        b[b0 + k] = a[a0 + k] + plus + plus2
        b[b1 + k] = minus + two * minus2
        b[b2 + k] = plus + four * plus2
        b[b3 + k] = minus + eight * minus2 + a[a5 + k]


@kernel
def _gradient_line(a, a0, step_a, b, b0, step_b, channels):
    """b = A a, four numbers to six."""
    a1 = a0 + step_a
    a2 = a1 + step_a
    a3 = a2 + step_a
    b1 = b0 + step_b
    b2 = b1 + step_b
    b3 = b2 + step_b
    b4 = b3 + step_b
    b5 = b4 + step_b
    two, four, eight = a.dtype.type(2), a.dtype.type(4), a.dtype.type(8)
    for channel in range(channels):
        k = _index(channel)
        x0, x1, x2, x3 = a[a0 + k], a[a1 + k], a[a2 + k], a[a3 + k]
        even, odd = x0 + x2, x1 + x3
        even2, odd2 = x0 + four * x2, two * x1 + eight * x3
        b[b0 + k] = x0
        b[b1 + k] = even + odd
        b[b2 + k] = even - odd
        b[b3 + k] = even2 + odd2
        b[b4 + k] = even2 - odd2
        b[b5 + k] = x3


@kernel
def _cut(x, t, image, top, left, size, channel, channels, tile):
    """Copy a tile that hangs over the edge; zeros outside."""
    to = 0
    for i in range(top, top + size):
        for j in range(left, left + size):
            inside = 0 <= i < t.h and 0 <= j < t.w
            at = ((image * t.h + i) * t.w + j) * t.c + channel
            for k in range(channels):
                tile[_index(to + k)] = x[_index(at + k)] if inside else x.dtype.type(0)
            to += channels


@kernel
def input_tiles(x, t, first, count, v, place, stride, block, scratch):
    """v = B^T d B of `count` tiles from number `first` on, put into v from tile `place` on.

    v holds 36 matrices of `stride` tiles by t.c channels, each cut into blocks of `block` channels.
    """
    half = scratch[POINTS * min(block, t.c) :]
    for tile in range(count):
        image = (first + tile) // (t.rows * t.columns)
        at = (first + tile) % (t.rows * t.columns)
        top, left = at // t.columns * 4 - t.pad_h, at % t.columns * 4 - t.pad_w
        inside = top >= 0 and left >= 0 and top + 6 <= t.h and left + 6 <= t.w
        for channel in range(0, t.c, block):
            some = min(block, t.c - channel)
            to = channel * stride + (place + tile) * some
            if inside:
                at = ((image * t.h + top) * t.w + left) * t.c + channel
                for j in range(6):
                    _input_line(
                        x,
                        _index(at + j * t.c),
                        _index(t.w * t.c),
                        half,
                        _index(j * some),
                        _index(6 * some),
                        some,
                    )
            else:
                _cut(x, t, image, top, left, 6, channel, some, scratch)
                for j in range(6):
                    _input_line(
                        scratch,
                        _index(j * some),
                        _index(6 * some),
                        half,
                        _index(j * some),
                        _index(6 * some),
                        some,
                    )
            for i in range(6):
                _input_line(
                    half, _index(6 * i * some), _index(some),
                    v, _index(6 * i * stride * t.c + to), _index(stride * t.c), some,
                )  # fmt: skip


@kernel
def gradient_tiles(dy, t, first, count, z, place, stride, block, scratch):
    """z = A dy A^T of some tiles of 4x4, laid out as by `input_tiles`."""
    half = scratch[POINTS * min(block, t.c) :]
    for tile in range(count):
        image = (first + tile) // (t.rows * t.columns)
        at = (first + tile) % (t.rows * t.columns)
        top, left = at // t.columns * 4, at % t.columns * 4
        inside = top + 4 <= t.h and left + 4 <= t.w
        for channel in range(0, t.c, block):
            some = min(block, t.c - channel)
            to = channel * stride + (place + tile) * some
            if inside:
                at = ((image * t.h + top) * t.w + left) * t.c + channel
                for j in range(4):
                    _gradient_line(
                        dy,
                        _index(at + j * t.c),
                        _index(t.w * t.c),
                        half,
                        _index(j * some),
                        _index(4 * some),
                        some,
                    )
            else:
                _cut(dy, t, image, top, left, 4, channel, some, scratch)
                for j in range(4):
                    _gradient_line(
                        scratch,
                        _index(j * some),
                        _index(4 * some),
                        half,
                        _index(j * some),
                        _index(4 * some),
                        some,
                    )
            for i in range(6):
                _gradient_line(
                    half, _index(4 * i * some), _index(some),
                    z, _index(6 * i * stride * t.c + to), _index(stride * t.c), some,
                )  # fmt: skip


@kernel
def output_tiles(m, place, stride, t, first, count, y, scratch):
    """y = A^T m A of some tiles; m is 36 matrices of `stride` tiles by t.c channels."""
    half = scratch[4 * t.c :]
    for tile in range(count):
        image = (first + tile) // (t.rows * t.columns)
        at = (first + tile) % (t.rows * t.columns)
        top, left = at // t.columns * 4, at % t.columns * 4
        for j in range(6):
            _output_line(
                m, _index((j * stride + place + tile) * t.c), _index(6 * stride * t.c),
                half, _index(j * t.c), _index(6 * t.c), t.c,
            )  # fmt: skip
        for i in range(min(4, t.h - top)):
            at = ((image * t.h + top + i) * t.w + left) * t.c
            if left + 4 <= t.w:
                _output_line(half, _index(6 * i * t.c), _index(t.c), y, _index(at), _index(t.c), t.c)
            else:
                _output_line(half, _index(6 * i * t.c), _index(t.c), scratch, _index(0), _index(t.c), t.c)
                for k in range((t.w - left) * t.c):
                    y[_index(at + k)] = scratch[_index(k)]
