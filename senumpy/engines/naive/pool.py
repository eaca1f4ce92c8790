"""Pooling: each window looked at on its own, in PyTorch's conventions.

Window (i, j) holds the entries (i*s + p - pad, j*s + q - pad) for taps p, q of the kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.naive.conv import Index, Pair, pair
from senumpy.engines.naive.precision import double
from senumpy.ops.arrays import Array
from senumpy.ops.avg_pool import AvgPool2dGradients
from senumpy.ops.global_pooling import GlobalAvgPoolGradients, GlobalMaxPoolGradients
from senumpy.ops.max_pool import MaxPool2dGradients


class MaxPool2dCache(NamedTuple):
    """For each entry of the result, the index of the entry of x that it copies."""

    winners: dict[Index, Index]
    shape: tuple[int, ...]


def max_pool2d_forward(
    x: Array,
    *,
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
) -> tuple[Array, Any]:
    """Take the maximum of each window of `x` (N, C, H, W): the first one at ties; NaN counts as largest."""
    k, s, pad = _geometry(kernel, stride, padding)
    y = np.zeros((*x.shape[:2], *_output_size(x, k, s, pad, ceil_mode)), x.dtype)
    winners: dict[Index, Index] = {}
    for n, c, i, j in np.ndindex(y.shape):
        best = None
        for row, column in _window(i, j, k, s, pad):
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]:  # padding never wins
                value = x[n, c, row, column]
                if best is None or value > x[best] or math.isnan(value):
                    best = (n, c, row, column)
        assert best is not None, "padding is at most half of the kernel, so every window meets the image"
        winners[n, c, i, j] = best
        y[n, c, i, j] = x[best]
    return y, MaxPool2dCache(winners, x.shape)


def max_pool2d_backward(dy: Array, cache: Any) -> MaxPool2dGradients:
    """Return the gradient for an upstream gradient `dy` (N, C, H', W'): a winner of two windows gets both."""
    dx, dy64 = np.zeros(cache.shape), double(dy)
    for at_y, at_x in cache.winners.items():
        dx[at_x] += dy64[at_y]
    return MaxPool2dGradients(dx.astype(dy.dtype))


class AvgPool2dCache(NamedTuple):
    """Shape of the input, and the geometry."""

    shape: tuple[int, ...]
    kernel: Pair
    stride: Pair
    padding: Pair
    count_include_pad: bool


def avg_pool2d_forward(
    x: Array,
    *,
    kernel: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> tuple[Array, Any]:
    """Take the average of each window of `x` (N, C, H, W)."""
    k, s, pad = _geometry(kernel, stride, padding)
    cache = AvgPool2dCache(x.shape, k, s, pad, count_include_pad)
    x64 = double(x)
    y = np.zeros((*x.shape[:2], *_output_size(x, k, s, pad, ceil_mode)))
    for n, c, i, j in np.ndindex(y.shape):
        entries, divisor = _averaged(i, j, cache)
        for row, column in entries:
            y[n, c, i, j] += x64[n, c, row, column] / divisor
    return y.astype(x.dtype), cache


def avg_pool2d_backward(dy: Array, cache: Any) -> AvgPool2dGradients:
    """Return the gradient for an upstream gradient `dy` (N, C, H', W')."""
    dx, dy64 = np.zeros(cache.shape), double(dy)
    for n, c, i, j in np.ndindex(dy.shape):
        entries, divisor = _averaged(i, j, cache)
        for row, column in entries:
            dx[n, c, row, column] += dy64[n, c, i, j] / divisor
    return AvgPool2dGradients(dx.astype(dy.dtype))


class GlobalAvgPoolCache(NamedTuple):
    """Shape of the input."""

    shape: tuple[int, ...]


def global_avg_pool_forward(x: Array) -> tuple[Array, Any]:
    """Average each channel of `x` (N, C, H, W) over the image: (N, C)."""
    N, C, H, W = x.shape
    y, x64 = np.zeros((N, C)), double(x)
    for n, c, i, j in np.ndindex(x.shape):
        y[n, c] += x64[n, c, i, j] / (H * W)
    return y.astype(x.dtype), GlobalAvgPoolCache(x.shape)


def global_avg_pool_backward(dy: Array, cache: Any) -> GlobalAvgPoolGradients:
    """Return the gradient for an upstream gradient `dy` (N, C)."""
    _, _, H, W = cache.shape
    dx, dy64 = np.zeros(cache.shape), double(dy)
    for n, c, i, j in np.ndindex(dx.shape):
        dx[n, c, i, j] = dy64[n, c] / (H * W)
    return GlobalAvgPoolGradients(dx.astype(dy.dtype))


def global_max_pool_forward(x: Array) -> tuple[Array, Any]:
    """Take the maximum of each channel of `x` (N, C, H, W) over the image: (N, C)."""
    y, cache = max_pool2d_forward(x, kernel=(x.shape[2], x.shape[3]))
    return y[:, :, 0, 0], cache


def global_max_pool_backward(dy: Array, cache: Any) -> GlobalMaxPoolGradients:
    """Return the gradient for an upstream gradient `dy` (N, C)."""
    return GlobalMaxPoolGradients(max_pool2d_backward(dy[:, :, None, None], cache).dx)


def _geometry(kernel: int | Pair, stride: int | Pair | None, padding: int | Pair) -> tuple[Pair, Pair, Pair]:
    return pair(kernel), pair(kernel if stride is None else stride), pair(padding)


def _output_size(x: Array, kernel: Pair, stride: Pair, padding: Pair, ceil_mode: bool) -> Pair:
    sizes = []
    for size, k, s, pad in zip(x.shape[2:], kernel, stride, padding, strict=True):
        steps = (size + 2 * pad - k) / s
        count = (math.ceil(steps) if ceil_mode else math.floor(steps)) + 1
        if ceil_mode and (count - 1) * s >= size + pad:  # it would start beyond the image: dropped
            count -= 1
        sizes.append(count)
    return sizes[0], sizes[1]


def _window(i: int, j: int, kernel: Pair, stride: Pair, padding: Pair) -> Iterator[Pair]:
    """Yield row and column of every entry of window (i, j), also of those outside the image."""
    for p, q in np.ndindex(kernel):
        yield i * stride[0] + p - padding[0], j * stride[1] + q - padding[1]


def _averaged(i: int, j: int, cache: AvgPool2dCache) -> tuple[list[Pair], int]:
    """Return the entries of window (i, j) that lie in the image, and the number to divide by."""
    _, _, H, W = cache.shape
    window = list(_window(i, j, cache.kernel, cache.stride, cache.padding))
    inside = [(row, column) for row, column in window if 0 <= row < H and 0 <= column < W]
    if not cache.count_include_pad:
        return inside, len(inside)
    # Padding counts, but not what hangs over the padded image in ceil mode.
    counted = [at for at in window if at[0] < H + cache.padding[0] and at[1] < W + cache.padding[1]]
    return inside, len(counted)
