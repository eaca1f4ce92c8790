"""Tiles of Winograd's convolution: cut from images, transformed, and put back (`winograd_lanes.py`).

An output tile of 4x4 pixels needs an input tile of 6x6. With d the input tile and w the 3x3 kernel,

    y = A^T [ (G w G^T) * (B^T d B) ] A          * entry by entry: 36 multiplications instead of 144

summed over input channels before A. Its derivative for an upstream gradient dy of the tile is

    dw = G^T [ (B^T d B) * (A dy A^T) ] G

so the transforms of the data serve both.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from senumpy.engines.numba.compiler import inlined, kernel
from senumpy.engines.numba.microkernel import copy_panel_row
from senumpy.engines.numba.winograd_lanes import gradient_points, input_points, output_tile

_index = np.uintp
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


@inlined
def _place(t, tile):
    """Return the image of a tile, and its first line and column."""
    image, at = tile // (t.rows * t.columns), tile % (t.rows * t.columns)
    return image, at // t.columns * 4 - t.pad_h, at % t.columns * 4 - t.pad_w


@inlined
def _cut(x, t, image, top, left, size, channel, width, tile):
    """Copy one panel of a tile that hangs over the edge; zeros outside."""
    to = 0
    for i in range(top, top + size):
        for j in range(left, left + size):
            if 0 <= i < t.h and 0 <= j < t.w:
                copy_panel_row(tile, to, x, ((image * t.h + i) * t.w + j) * t.c + channel)
            else:
                for k in range(width):
                    tile[_index(to + k)] = 0
            to += width


@kernel
def input_tiles(x, t, first, count, v, place, stride, block, width, scratch):
    """v = B^T d B of `count` tiles from number `first` on, put into v from tile `place` on.

    v holds 36 matrices of `stride` tiles by t.c channels, each cut into blocks of `block` channels.
    """
    for tile in range(count):
        image, top, left = _place(t, first + tile)
        inside = top >= 0 and left >= 0 and top + 6 <= t.h and left + 6 <= t.w
        for channel in range(0, t.c, width):
            begin = channel // block * block
            some = min(block, t.c - begin)
            to = begin * stride + (place + tile) * some + channel - begin
            if inside:
                at = ((image * t.h + top) * t.w + left) * t.c + channel
                input_points(x, at, t.w * t.c, t.c, v, to, stride * t.c)
            else:
                _cut(x, t, image, top, left, 6, channel, width, scratch)
                input_points(scratch, 0, 6 * width, width, v, to, stride * t.c)


@kernel
def gradient_tiles(dy, t, first, count, z, place, stride, width, scratch):
    """z = A dy A^T of some tiles of 4x4, laid out as by `input_tiles` with panels as blocks."""
    for tile in range(count):
        image, top, left = _place(t, first + tile)
        for channel in range(0, t.c, width):
            to = channel * stride + (place + tile) * width
            if top + 4 <= t.h and left + 4 <= t.w:
                at = ((image * t.h + top) * t.w + left) * t.c + channel
                gradient_points(dy, at, t.w * t.c, t.c, z, to, stride * t.c)
            else:
                _cut(dy, t, image, top, left, 4, channel, width, scratch)
                gradient_points(scratch, 0, 4 * width, width, z, to, stride * t.c)


@kernel
def output_tiles(m, place, stride, t, first, count, bias, relu, y, width, scratch):
    """y = relu(A^T m A + bias) of some tiles; m is 36 matrices of `stride` tiles by t.c channels."""
    for tile in range(count):
        image, top, left = _place(t, first + tile)
        at = ((image * t.h + top) * t.w + left) * t.c
        m0 = (place + tile) * t.c
        if top + 4 <= t.h and left + 4 <= t.w:
            for k in range(0, t.c, width):
                output_tile(m, m0 + k, stride * t.c, bias, k, relu, y, at + k, t.w * t.c, t.c)
            continue
        for k in range(0, t.c, width):
            output_tile(m, m0 + k, stride * t.c, bias, k, relu, scratch, 0, 4 * width, width)
            for i in range(min(4, t.h - top)):
                for j in range(min(4, t.w - left)):
                    copy_panel_row(y, at + (i * t.w + j) * t.c + k, scratch, (4 * i + j) * width)
