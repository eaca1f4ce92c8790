"""Passes over an activation: the geometry of their launches, and sums by image and by channel."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy as cp

from senumpy.engines.cupy.runtime import Runtime, columns, width
from senumpy.engines.cupy.sources import THREADS, Build
from senumpy.errors import InputError
from senumpy.ops.arrays import Array

_BLOCKS_A_MULTIPROCESSOR = 32  # several times what is there at once: the last ones end close together
_MOST_ROWS = 256  # of one thread: with more, float32 sums lose digits
_MOST_IMAGES = 65535  # the third axis of a grid


class Pass(NamedTuple):
    """How the rows of an activation are dealt out to blocks of threads."""

    images: int
    rows: int  # of each image
    channels: int
    width: int
    parts: int  # of each image
    rows_a_part: int
    grid: tuple[int, int, int]
    block: tuple[int, int]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """What every kernel asks for: rows, channels in units of `width`, rows a part."""
        return self.rows, self.channels // self.width, self.rows_a_part


def plan(runtime: Runtime, shape: tuple[int, int, int, int], dtype: Any) -> Pass:
    """Return a pass over an activation (N, C, H, W)."""
    n, c, h, w = shape
    if n > _MOST_IMAGES:
        raise InputError(f"a batch of {n:,} images: wanted at most {_MOST_IMAGES:,} on a GPU")
    wide = width(dtype, c)
    vecs, rows = c // wide, h * w
    across = min(32, 1 << (vecs - 1).bit_length())
    down = THREADS // across
    blocks = -(-vecs // across)
    wanted = -(
        -_BLOCKS_A_MULTIPROCESSOR * runtime.device.multiprocessors // (n * blocks)
    )  # parts of an image
    rows_a_part = max(down, min(-(-rows // wanted), _MOST_ROWS * down))
    parts = -(-rows // rows_a_part)
    return Pass(n, rows, c, wide, parts, rows_a_part, (blocks, parts, n), (across, down))


def image_sums(runtime: Runtime, shape: Any, x: Array, y: Array | None = None, factor: float = 1.0) -> Array:
    """Return the sums over each image's pixels of x, or of x y, times `factor`: (N, C)."""
    p = plan(runtime, shape, x.dtype)
    sums = cp.empty(p.images * p.parts * p.channels, x.dtype)
    build = Build("statistics", x.dtype.name, p.width)
    runtime.launch(build, "part_sums", p.grid, p.block, x, y, *p.sizes, factor, sums)
    return of_images(runtime, sums, p)


def of_images(runtime: Runtime, sums: Array, p: Pass) -> Array:
    """Add up the parts of each image: (N, C)."""
    if p.parts > 1:
        sums = column_sums(runtime, sums, p.parts, p.channels, groups=p.images)
    return sums.reshape(p.images, p.channels)


def column_sums(runtime: Runtime, x: Array, count: int, channels: int, *, groups: int = 1) -> Array:
    """Sum (groups, count, channels) over its second axis: (groups * channels,)."""
    sums = cp.empty(groups * channels, x.dtype)
    (across, *_), block = columns(channels)
    for first in range(0, groups, _MOST_IMAGES):
        part = min(groups - first, _MOST_IMAGES)
        build = Build("statistics", x.dtype.name, 1)
        runtime.launch(
            build, "column_sums", (across, part), block, x[first * count * channels :], count, channels,
            sums[first * channels :],
        )  # fmt: skip
    return sums


def channel_sums(runtime: Runtime, x: Array, shape: Any) -> Array:
    """Return the sum of each channel of rows over all images and pixels, (C,)."""
    sums = image_sums(runtime, shape, x)
    return column_sums(runtime, sums, *sums.shape)
