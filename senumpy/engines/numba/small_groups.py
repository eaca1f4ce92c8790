"""What `grouped.py` needs: which taps a pixel sees, kernels block by block, how much to do at a time."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.numba import depthwise, grouped, lanes
from senumpy.engines.numba.geometry import Array, Geometry
from senumpy.engines.numba.grouped import Walk
from senumpy.engines.numba.microkernel import panel_width
from senumpy.engines.numba.runtime import Runtime, flat

_COPIED_BYTES = 192 << 10  # lines that are copied at a time: a part of the L2 cache
_FEWEST_CHUNKS = 16
_STRIP = 4  # lines of a chunk of a depthwise convolution


def fits(channels: int, groups: int, dtype: Any) -> bool:
    """Return whether groups of that many channels, in and out, divide a block of channels evenly."""
    return groups > 1 and panel_width(dtype) % (channels // groups) == 0


def forward(
    runtime: Runtime, x: Array, kernels: Array, g: Geometry, groups: int, bias: Array, relu: bool, y: Array
) -> None:
    """Compute y; `kernels` come from `blocked`."""
    _convolve(runtime, x, kernels, _forward_taps(g, panel_width(x.dtype)), g.c // groups, bias, relu, y)


def forward_gated(
    runtime: Runtime, x: Array, kernels: Array, g: Geometry, gates: Array, bias: Array, y: Array
) -> None:
    """Compute y for gates x, where `is_depthwise`: each image has kernels of its own, gates w."""
    width = panel_width(x.dtype)
    channels = _channels(g.c, width)
    own = kernels.reshape(1, len(channels), g.taps, width) * gates[:, channels][:, :, None, :]
    _convolve(runtime, x, flat(own), _forward_taps(g, width), 1, bias, True, y, sets=g.n)


def is_depthwise(g: Geometry, groups: int, dtype: Any) -> bool:
    """Return whether `forward_gated` can do it."""
    return groups == g.c == g.o and _in_order(g.c, 1, panel_width(dtype))


def backward_input(runtime: Runtime, dy: Array, w: Array, g: Geometry, groups: int, dx: Array) -> None:
    """Compute dx."""
    kernels = blocked(w, groups, transposed=True)
    taps = _backward_taps(g, panel_width(dy.dtype))
    _convolve(runtime, dy, kernels, taps, g.c // groups, dy[:0], False, dx)


def backward_weights(runtime: Runtime, x: Array, dy: Array, w: Array, g: Geometry, groups: int) -> Array:
    """Return dw, shaped as w."""
    width, members = panel_width(x.dtype), g.c // groups
    at_a_time = lanes.tile_taps(members)
    if _in_order(g.c, members, width):
        return _depthwise_weights(runtime, x, dy, g, width, at_a_time).reshape(w.shape)
    walk, _, offsets, *_ = _forward_taps(g, width)
    padded = np.zeros(-(-g.taps // at_a_time) * at_a_time, np.int64)  # taps too many are computed, not used
    padded[: g.taps] = offsets
    blocks, bundle, bundles = _bundles(g.c, width)
    line = (walk.width * walk.step_h + g.out_w) * bundle * width
    size = max(1, min(g.out_h, _COPIED_BYTES // (line * x.itemsize)))
    parts = max(1, min(g.n * -(-g.out_h // size), -(-_FEWEST_CHUNKS // bundles)))
    sums = runtime.empty(parts * blocks * padded.size * members * width, x.dtype)
    lines = (size - 1) * walk.step_h + walk.high_h - walk.low_h + 1
    pixels = size * g.out_w * grouped.BUNDLE + lines * walk.width * bundle
    scratch = runtime.scratch(pixels * width, x.dtype)
    runtime.run(
        grouped.backward_weights, parts * bundles, x, dy, walk, (0,) * members, width, size, parts, at_a_time,
        padded, np.arange(padded.size), sums, scratch,
    )  # fmt: skip
    total = sums.reshape(parts, blocks, padded.size, members, width).sum(axis=0)[:, : g.taps]
    by_channel = total.transpose(0, 3, 2, 1).reshape(blocks * width, members * g.taps)
    return np.ascontiguousarray(by_channel[: g.c]).reshape(w.shape)


def blocked(w: Array, groups: int, *, transposed: bool = False) -> Array:
    """Return the kernels as (block, kh, kw, member, lane), flat; transposed in each group for dx."""
    o, members, kh, kw = w.shape
    width = panel_width(w.dtype)
    kernels = w
    if transposed:
        kernels = w.reshape(groups, members, members, kh, kw).swapaxes(1, 2).reshape(w.shape)
    if _in_order(o, members, width):
        full = kernels[_channels(o, width)]
    else:
        full = np.zeros((-(-o // width) * width, members, kh, kw), w.dtype)
        full[:o] = kernels
    return flat(full.reshape(-1, width, members, kh, kw).transpose(0, 3, 4, 2, 1))


def _in_order(channels: int, members: int, width: int) -> bool:
    """Return whether there are no groups but channels, enough for a block: then `depthwise.py` is faster."""
    return members == 1 and channels >= width


def _channels(channels: int, width: int) -> Array:
    """Return the channels of each block, shape (blocks, width); the last block ends with the last channel."""
    return np.minimum(np.arange(0, channels, width), channels - width)[:, None] + np.arange(width)


def _depthwise_weights(
    runtime: Runtime, x: Array, dy: Array, g: Geometry, width: int, at_a_time: int
) -> Array:
    """Return dw, shape (C, kh kw)."""
    walk, *_, rows, columns, numbers = _forward_taps(g, width)
    channels = _channels(g.c, width)
    parts = min(_FEWEST_CHUNKS, g.n * g.out_h)
    shape = parts, len(channels), g.taps + 1, width
    sums = runtime.empty(math.prod(shape), x.dtype)
    lists = np.empty((runtime.threads, 2, g.taps + at_a_time), np.int64)
    runtime.run(
        depthwise.backward_weights, parts, x, dy, walk, (0,), width, at_a_time, rows, columns, numbers, sums,
        lists,
    )  # fmt: skip
    dw = np.empty((g.c, g.taps), x.dtype)
    dw[channels] = sums.reshape(shape).sum(axis=0)[:, : g.taps].swapaxes(1, 2)
    return dw


class _Taps(NamedTuple):
    """A walk with its taps, class by class: those of class k are at firsts[k] to firsts[k + 1]."""

    walk: Walk
    firsts: Array
    offsets: Array  # in the copied lines, from where a window begins
    rows: Array  # the same in the source, beside where result pixel (0, 0) of the class lies
    columns: Array
    numbers: Array  # of the tap in the kernel


@lru_cache(maxsize=256)
def _forward_taps(g: Geometry, width: int) -> _Taps:
    rows = [p * g.dilation_h - g.pad_h for p in range(g.kh)]
    columns = [q * g.dilation_w - g.pad_w for q in range(g.kw)]
    taps = [(row, column, p * g.kw + q) for p, row in enumerate(rows) for q, column in enumerate(columns)]
    return _taps(g.n, g.c, (g.h, g.w), (g.out_h, g.out_w), (g.stride_h, g.stride_w), (1, 1), [taps], width)


@lru_cache(maxsize=256)
def _backward_taps(g: Geometry, width: int) -> _Taps:
    """Return the taps by which pixels of x take part: row i s + p d - pad in window i, by tap p."""

    def seen(a: int, taps: int, stride: int, dilation: int, pad: int) -> list[tuple[int, int]]:
        reach = [(a + pad - p * dilation, p) for p in range(taps)]
        return [(distance // stride, p) for distance, p in reach if distance % stride == 0]

    classes = [
        [
            (row, column, p * g.kw + q)
            for row, p in seen(a, g.kh, g.stride_h, g.dilation_h, g.pad_h)
            for column, q in seen(b, g.kw, g.stride_w, g.dilation_w, g.pad_w)
        ]
        for a in range(g.stride_h)
        for b in range(g.stride_w)
    ]
    steps = g.stride_h, g.stride_w
    return _taps(g.n, g.c, (g.out_h, g.out_w), (g.h, g.w), (1, 1), steps, classes, width)


def _taps(
    n: int, c: int, source: tuple[int, int], result: tuple[int, int], step: tuple[int, int],
    out_step: tuple[int, int], classes: list[list[tuple[int, int, int]]], width: int,
) -> _Taps:  # fmt: skip
    rows = [tap[0] for taps in classes for tap in taps]
    columns = [tap[1] for taps in classes for tap in taps]
    low_h, high_h, low_w, high_w = min(rows), max(rows), min(columns), max(columns)
    across = (-(-result[1] // out_step[1]) - 1) * step[1] + high_w - low_w + 1
    walk = Walk(n, c, *source, *result, *step, *out_step, low_h, high_h, low_w, high_w, across)
    taps = [tap for some in classes for tap in some]
    offsets = [((row - low_h) * across + column - low_w) * width for row, column, _ in taps]
    firsts = np.cumsum([0, *map(len, classes)])
    table = np.array(taps).T.copy()
    return _Taps(walk, firsts, np.array(offsets), *table)


def _convolve(
    runtime: Runtime, x: Array, kernels: Array, taps: _Taps, members: int, bias: Array, relu: bool, y: Array,
    *, sets: int = 1,
) -> None:  # fmt: skip
    walk, firsts, offsets, tap_rows, tap_columns, numbers = taps
    width = panel_width(x.dtype)
    blocks, bundle, bundles = _bundles(walk.c, width)
    start = np.zeros(blocks * width, x.dtype)
    start[: bias.size] = bias
    rows = -(-walk.out_h // walk.out_step_h)
    if _in_order(walk.c, members, width):
        lists = np.empty((runtime.threads, 2, numbers.size), np.int64)
        runtime.run(
            depthwise.convolve, walk.n * -(-rows // _STRIP), x, walk, (0,), width, _STRIP, firsts, tap_rows,
            tap_columns, numbers, kernels, sets, start, relu, y, lists,
        )  # fmt: skip
        return
    line = walk.width * bundle * width
    lines = _COPIED_BYTES // (line * x.itemsize)
    size = max(1, min(rows, (lines - (walk.high_h - walk.low_h) - 1) // walk.step_h + 1))
    needed = (size - 1) * walk.step_h + walk.high_h - walk.low_h + 1
    scratch = runtime.scratch(lanes.PIXELS * width + needed * line, x.dtype)
    runtime.run(
        grouped.convolve, walk.n * -(-rows // size) * bundles, x, walk, (0,) * members, width, size, firsts,
        offsets, numbers, kernels, start, relu, y, scratch,
    )  # fmt: skip


def _bundles(channels: int, width: int) -> tuple[int, int, int]:
    """Return how many blocks of channels there are, how many are copied together, how often that is."""
    blocks = -(-channels // width)
    return blocks, min(blocks, grouped.BUNDLE), -(-blocks // grouped.BUNDLE)
