"""SE's passes over the pixels, and those of the concatenation, from the kernels of `recalibrate.py`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from senumpy.engines.numba import passes, recalibrate
from senumpy.engines.numba.geometry import Array
from senumpy.engines.numba.passes import pixels_a_row
from senumpy.engines.numba.runtime import NOTHING, Runtime


class Sizes(NamedTuple):
    """Images, pixels of each, channels."""

    n: int
    pixels: int
    c: int


class Within(NamedTuple):
    """Where the channels of a branch stand: the width of the rows, and the first channel's place."""

    wide: int
    first: int


def places(n: int, pixels: int, widths: Sequence[int]) -> list[tuple[Sizes, Within]]:
    """Return sizes and place of each branch in a concatenation of branches with `widths` channels."""
    firsts = [0, *accumulate(widths)]
    return [
        (Sizes(n, pixels, c), Within(firsts[-1], first)) for c, first in zip(widths, firsts, strict=False)
    ]


def scale(
    runtime: Runtime,
    x: Array,
    s: Array | None,
    sizes: Sizes,
    y: Array,
    *,
    shift: Array | None = None,
    addend: Array | None = None,
    x_within: Within | None = None,
    y_within: Within | None = None,
    channels: Within | None = None,
) -> None:
    """Write y = s x + shift + addend as rows; shift and addend exclude each other.

    s and shift are (N, C), or wider with C of their columns taken from `channels.first` on. Rows of x or y
    may be wider than C, too.
    """
    n, pixels, c = sizes
    nothing = NOTHING[x.dtype]
    within = channels or Within(c, 0)
    wide = 1 if x_within or y_within or channels else pixels_a_row(c, pixels)
    if wide > 1:
        s = None if s is None else np.repeat(s[:, None], wide, axis=1)
        shift = None if shift is None else np.repeat(shift[:, None], wide, axis=1)
        pixels, c = pixels // wide, c * wide
        within = Within(c, 0)
    runtime.run(
        recalibrate.scale, x, *(x_within or (c, 0)), _line(s, nothing), _line(shift, nothing), *within,
        nothing if addend is None else addend, n, pixels, c, y, *(y_within or (c, 0)),
    )  # fmt: skip


def _line(vector: Array | None, nothing: Array) -> Array:
    return nothing if vector is None else np.ascontiguousarray(vector, nothing.dtype).reshape(-1)


def product_sums(runtime: Runtime, dy: Array, u: Array, sizes: Sizes, within: Within | None = None) -> Array:
    """Return the sums of dy u over each image, (N, C), in the dtype of dy; rows of dy may be wider."""
    n, pixels, c = sizes
    wide = 1 if within else pixels_a_row(c, pixels)
    rows = pixels // wide
    blocks = -(-rows // passes.BLOCK_ROWS)
    sums = runtime.empty(n * blocks * wide * c, dy.dtype)
    runtime.run(recalibrate.products, dy, *(within or (wide * c, 0)), u, n, rows, wide * c, sums)
    return sums.reshape(n, blocks * wide, c).sum(axis=1, dtype=np.float64).astype(dy.dtype)
