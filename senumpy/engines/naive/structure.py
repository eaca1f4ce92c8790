"""Operations that move, drop, add or mix entries: sums, shortcut, concatenation, shuffle, dropout, shake."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.naive.conv import Index, Pair, pair
from senumpy.engines.naive.precision import double, doubles
from senumpy.ops.arrays import Array
from senumpy.ops.channel_shuffle import ChannelShuffleGradients
from senumpy.ops.concat import ConcatGradients
from senumpy.ops.dropout import DropoutGradients
from senumpy.ops.residual_add import ResidualAddGradients
from senumpy.ops.shake import ShakeGradients
from senumpy.ops.shortcut import PadShortcutGradients


def residual_add_forward(branch: Array, shortcut: Array) -> tuple[Array, Any]:
    """Add two arrays (N, C, H, W)."""
    y, (a, b) = np.zeros(branch.shape), doubles(branch, shortcut)
    for index in np.ndindex(y.shape):
        y[index] = a[index] + b[index]
    return y.astype(branch.dtype), ()


def residual_add_backward(dy: Array, cache: Any) -> ResidualAddGradients:
    """Return the upstream gradient `dy` (N, C, H, W), twice."""
    dbranch, dshortcut = np.zeros(dy.shape, dy.dtype), np.zeros(dy.shape, dy.dtype)
    for index in np.ndindex(dy.shape):
        dbranch[index] = dy[index]
        dshortcut[index] = dy[index]
    return ResidualAddGradients(dbranch, dshortcut)


class ShakeCache(NamedTuple):
    """Part of each image's gradient that the first branch receives."""

    beta: Any


def shake_forward(a: Array, b: Array, *, alpha: Any, beta: Any = None) -> tuple[Array, Any]:
    """Mix two branches (N, C, H, W), image by image."""
    y, (first, second) = np.zeros(a.shape), doubles(a, b)
    for n, c, i, j in np.ndindex(y.shape):
        y[n, c, i, j] = alpha[n] * first[n, c, i, j] + (1.0 - alpha[n]) * second[n, c, i, j]
    return y.astype(a.dtype), ShakeCache(alpha if beta is None else beta)


def shake_backward(dy: Array, cache: Any) -> ShakeGradients:
    """Return what each branch receives of an upstream gradient `dy` (N, C, H, W)."""
    da, db, upstream = np.zeros(dy.shape), np.zeros(dy.shape), double(dy)
    for n, c, i, j in np.ndindex(dy.shape):
        da[n, c, i, j] = cache.beta[n] * upstream[n, c, i, j]
        db[n, c, i, j] = (1.0 - cache.beta[n]) * upstream[n, c, i, j]
    return ShakeGradients(da.astype(dy.dtype), db.astype(dy.dtype))


class PadShortcutCache(NamedTuple):
    """Shapes of input and result, and the stride."""

    shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    stride: Pair


def pad_shortcut_forward(x: Array, *, channels: int, stride: int | Pair = 2) -> tuple[Array, Any]:
    """Take every `stride`-th pixel of `x` (N, C, H, W), and pad with zeros to `channels` channels."""
    N, _, H, W = x.shape
    s = pair(stride)
    y = np.zeros((N, channels, (H + s[0] - 1) // s[0], (W + s[1] - 1) // s[1]), x.dtype)
    cache = PadShortcutCache(x.shape, y.shape, s)
    for at_y, at_x in _kept(cache):
        y[at_y] = x[at_x]
    return y, cache


def pad_shortcut_backward(dy: Array, cache: Any) -> PadShortcutGradients:
    """Return the gradient for an upstream gradient `dy`; a skipped pixel gets zero."""
    dx = np.zeros(cache.shape, dy.dtype)
    for at_y, at_x in _kept(cache):
        dx[at_x] = dy[at_y]
    return PadShortcutGradients(dx)


def _kept(cache: PadShortcutCache) -> Iterator[tuple[Index, Index]]:
    """Yield the indices into y and x of every entry that is copied."""
    surplus = cache.out_shape[1] - cache.shape[1]
    before = surplus // 2  # zero channels; the larger half of an odd number follows behind
    for n, c, i, j in np.ndindex(cache.shape):
        if i % cache.stride[0] == 0 and j % cache.stride[1] == 0:
            yield (n, before + c, i // cache.stride[0], j // cache.stride[1]), (n, c, i, j)


class ConcatCache(NamedTuple):
    """Shapes of the parts, and the axis."""

    shapes: tuple[tuple[int, ...], ...]
    axis: int


def concat_forward(xs: Sequence[Array], *, axis: int = 1) -> tuple[Array, Any]:
    """Join arrays along one axis."""
    axis = axis if axis >= 0 else xs[0].ndim + axis
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)
    y = np.zeros(shape, xs[0].dtype)
    start = 0
    for x in xs:
        for index in np.ndindex(x.shape):
            y[_moved(index, axis, start)] = x[index]
        start += x.shape[axis]
    return y, ConcatCache(tuple(x.shape for x in xs), axis)


def concat_backward(dy: Array, cache: Any) -> ConcatGradients:
    """Return the parts of the upstream gradient."""
    dxs, start = [], 0
    for shape in cache.shapes:
        dx = np.zeros(shape, dy.dtype)
        for index in np.ndindex(shape):
            dx[index] = dy[_moved(index, cache.axis, start)]
        dxs.append(dx)
        start += shape[cache.axis]
    return ConcatGradients(tuple(dxs))


def _moved(index: tuple[int, ...], axis: int, by: int) -> tuple[int, ...]:
    return tuple(k + by if a == axis else k for a, k in enumerate(index))


class ChannelShuffleCache(NamedTuple):
    """Number of groups."""

    groups: int


def channel_shuffle_forward(x: Array, *, groups: int) -> tuple[Array, Any]:
    """Move channel k of group g to place k*groups + g."""
    y = np.zeros(x.shape, x.dtype)
    for n, c, i, j in np.ndindex(x.shape):
        y[n, _shuffled(c, x.shape[1], groups), i, j] = x[n, c, i, j]
    return y, ChannelShuffleCache(groups)


def channel_shuffle_backward(dy: Array, cache: Any) -> ChannelShuffleGradients:
    """Return the gradient for an upstream gradient `dy` (N, C, H, W)."""
    dx = np.zeros(dy.shape, dy.dtype)
    for n, c, i, j in np.ndindex(dy.shape):
        dx[n, c, i, j] = dy[n, _shuffled(c, dy.shape[1], cache.groups), i, j]
    return ChannelShuffleGradients(dx)


def _shuffled(c: int, channels: int, groups: int) -> int:
    """Return the place of channel `c`: number k of group g."""
    g, k = divmod(c, channels // groups)
    return k * groups + g


class DropoutCache(NamedTuple):
    """The random draws, and the drop probability."""

    draws: Array
    p: float


def dropout_forward(x: Array, *, p: float = 0.5, rng: Any) -> tuple[Array, Any]:
    """Keep the entries whose random draw is at least `p`, divided by 1 - p; the others become zero."""
    cache = DropoutCache(rng.random(x.shape), p)
    return _drop(x, cache), cache


def dropout_backward(dy: Array, cache: Any) -> DropoutGradients:
    """Return the gradient for an upstream gradient `dy` of any shape."""
    return DropoutGradients(_drop(dy, cache))


def _drop(x: Array, cache: DropoutCache) -> Array:
    y, x64 = np.zeros(x.shape), double(x)
    for index in np.ndindex(x.shape):
        if cache.draws[index] >= cache.p:
            y[index] = x64[index] / (1.0 - cache.p)
    return y.astype(x.dtype)
