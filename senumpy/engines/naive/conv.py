"""Convolution: one product after the other, each added where the formula says.

y[n, o, i, j] = b[o] + sum_{c, p, q} w[o, c, p, q] * x[n, g*C/G + c, i*s + p*d - pad, j*s + q*d - pad]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from senumpy.engines.naive.precision import doubles, rounded
from senumpy.ops.arrays import Array
from senumpy.ops.conv2d import Conv2dGradients

Index: TypeAlias = tuple[int, int, int, int]
Pair: TypeAlias = tuple[int, int]


class Conv2dCache(NamedTuple):
    """The arguments and the shape of the result."""

    x: Array
    w: Array
    b: Array | None
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int
    out_shape: Index


def conv2d_forward(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> tuple[Array, Any]:
    """Convolve `x` (N, C, H, W) with `w` (O, C/groups, kh, kw), and add `b` (O,)."""
    s, pad, d = pair(stride), pair(padding), pair(dilation)
    height = (x.shape[2] + 2 * pad[0] - d[0] * (w.shape[2] - 1) - 1) // s[0] + 1
    width = (x.shape[3] + 2 * pad[1] - d[1] * (w.shape[3] - 1) - 1) // s[1] + 1
    cache = Conv2dCache(x, w, b, s, pad, d, groups, (x.shape[0], w.shape[0], height, width))

    x64, w64, b64 = doubles(x, w, b)
    y = np.zeros(cache.out_shape)
    for at_y, at_w, at_x in _products(cache):
        y[at_y] += w64[at_w] * x64[at_x]
    if b is not None:
        for n, o, i, j in np.ndindex(y.shape):
            y[n, o, i, j] += b64[o]
    return y.astype(x.dtype), cache


# Where the forward adds w * x to y, the upstream gradient dy of that entry scatters: w dy to x, x dy to w.
def conv2d_backward(dy: Array, cache: Any, *, need_dx: bool = True) -> Conv2dGradients:
    """Return the gradients for an upstream gradient `dy` (N, O, H', W')."""
    x, w, b = doubles(cache.x, cache.w, cache.b)
    (dy64,) = doubles(dy)
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), None
    for at_y, at_w, at_x in _products(cache):
        dx[at_x] += w[at_w] * dy64[at_y]
        dw[at_w] += x[at_x] * dy64[at_y]
    if b is not None:
        db = np.zeros(b.shape)
        for n, o, i, j in np.ndindex(dy.shape):
            db[o] += dy64[n, o, i, j]
    return Conv2dGradients(*rounded((dx if need_dx else None, dw, db), dy))


def pair(value: int | Pair) -> Pair:
    """Return an int as a pair, for the vertical and the horizontal axis."""
    return value if isinstance(value, tuple) else (value, value)


def _products(cache: Conv2dCache) -> Iterator[tuple[Index, Index, Index]]:
    """Yield, for each product of the sum, the indices into y, w and x; those in the padding are zero."""
    _, _, height, width = cache.x.shape
    outputs, channels, kh, kw = cache.w.shape
    for n, o, i, j in np.ndindex(cache.out_shape):
        group = o // (outputs // cache.groups)
        for c, p, q in np.ndindex(channels, kh, kw):
            row = i * cache.stride[0] + p * cache.dilation[0] - cache.padding[0]
            column = j * cache.stride[1] + q * cache.dilation[1] - cache.padding[1]
            if 0 <= row < height and 0 <= column < width:
                yield (n, o, i, j), (o, c, p, q), (n, group * channels + c, row, column)
