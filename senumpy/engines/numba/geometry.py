"""Shapes as kernels see them: activations are flat arrays of rows, a row holds all channels of a pixel.

The public shape is always (N, C, H, W). Memory underneath is channels-last, N H W C: convolutions become
products of rows, and every kernel runs along channels that lie side by side. An array in another order is
copied when it comes in; results go out as views of channels-last memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Geometry(NamedTuple):
    """All sizes of a convolution or a pooling; in compiled code a record of ints."""

    n: int
    h: int
    w: int
    c: int
    out_h: int
    out_w: int
    o: int
    kh: int
    kw: int
    stride_h: int
    stride_w: int
    pad_h: int
    pad_w: int
    dilation_h: int
    dilation_w: int

    @property
    def out_rows(self) -> int:
        """Pixels of all results."""
        return self.n * self.out_h * self.out_w

    @property
    def in_rows(self) -> int:
        """Pixels of all images."""
        return self.n * self.h * self.w

    @property
    def taps(self) -> int:
        """Entries of the window."""
        return self.kh * self.kw

    @property
    def depth(self) -> int:
        """Numbers that a window sees."""
        return self.taps * self.c

    @property
    def is_plain(self) -> bool:
        """Whether a window is one pixel and every pixel has one: a product of rows."""
        return self[7:13] == (1, 1, 1, 1, 0, 0)


def geometry(x: Array, out_channels: int, window: Any, out: tuple[int, int]) -> Geometry:
    """Return the sizes for `x` (N, C, H, W) and a window of `senumpy.ops.windows`."""
    n, c, h, w = x.shape
    return Geometry(
        n, h, w, c, *out, out_channels, *window.kernel, *window.stride, *window.padding, *window.dilation
    )


def is_channels_last(x: Array) -> bool:
    """Return whether the rows of `x` (N, C, H, W) lie in memory one after the other."""
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def as_image(rows: Array, n: int, c: int, h: int, w: int) -> Array:
    """Return flat rows as an array of shape (N, C, H, W), without a copy."""
    return rows.reshape(n, h, w, c).transpose(0, 3, 1, 2)
