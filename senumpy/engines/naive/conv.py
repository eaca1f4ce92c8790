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
    settings = (pair(stride), pair(padding), pair(dilation))
    x64, w64, b64 = doubles(x, w, b)
    y = conv2d_loops(
        x64, w64, b64, stride=settings[0], padding=settings[1], dilation=settings[2], groups=groups
    )
    return y.astype(x.dtype), Conv2dCache(x, w, b, *settings, groups, y.shape)


def conv2d_loops(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Array:
    """Return the convolution of a batch of images with a bank of kernels, in seven loops.

    Parameters
    ----------
    x : (N, C, H, W) array
    w : (O, C/groups, kh, kw) array
    b : (O,) array, optional
    stride, padding, dilation : int or pair
        s, pad and d of the formula, for both axes, or (vertical, horizontal).
    groups : int
        G, divides C and O: output channel o belongs to group g = o // (O/G).

    Returns
    -------
    y : (N, O, H', W') array
        H' = floor((H + 2 pad - d (kh - 1) - 1) / s) + 1, likewise W'. Where the formula asks for an entry of
        x beyond its edge, that is zero.
    """
    (s_h, s_w), (pad_h, pad_w), (d_h, d_w) = pair(stride), pair(padding), pair(dilation)
    (images, _, height, width), (outputs, channels, kh, kw) = x.shape, w.shape
    # exercise conv2d_loops: 2 points, level 1, lesson 4 "Seven loops"; given: pair
    out_h = (height + 2 * pad_h - d_h * (kh - 1) - 1) // s_h + 1
    out_w = (width + 2 * pad_w - d_w * (kw - 1) - 1) // s_w + 1
    y = np.zeros((images, outputs, out_h, out_w), x.dtype)
    for n in range(images):
        for o in range(outputs):
            first = o // (outputs // groups) * channels  # channel of the group
            for i in range(out_h):
                for j in range(out_w):
                    total = 0.0
                    for c in range(channels):
                        for p in range(kh):
                            for q in range(kw):
                                row, column = i * s_h + p * d_h - pad_h, j * s_w + q * d_w - pad_w
                                if 0 <= row < height and 0 <= column < width:
                                    total += w[o, c, p, q] * x[n, first + c, row, column]
                    y[n, o, i, j] = total if b is None else total + b[o]
    return y
    # end of exercise


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
