"""Convolution with small groups: launches of `kernels/grouped.cu`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cupy as cp

from senumpy.engines.cupy.passes import column_sums
from senumpy.engines.cupy.runtime import Runtime, columns, tiles
from senumpy.engines.cupy.sources import MACROS, Build
from senumpy.ops.arrays import Array

if TYPE_CHECKING:
    from senumpy.engines.cupy.convolution import Convolution

_WIDE = 4  # neighbouring outputs of a thread, as in the source
_MOST_PARTS = 4096  # more than a GPU does at once
_LINES = 16  # of the result that a thread sums up for the weights' gradient


def forward(runtime: Runtime, x: Array, kernels: Array, conv: Convolution) -> Array:
    """Return the result's rows; `kernels` are (O, kh, kw, C/groups), flat."""
    y = cp.empty(conv.pixels * conv.o, conv.dtype)
    lines = conv.n * conv.out_h
    grid = tiles(lines * -(-conv.out_w // _WIDE), conv.o)
    runtime.launch(_build(conv), "grouped", *grid, x, kernels, *_sizes(conv), lines, y)
    return y


def backward_input(runtime: Runtime, dy: Array, kernels: Array, conv: Convolution) -> Array:
    """Return rows of dx."""
    pixels = conv.n * conv.h * conv.w
    dx = cp.empty(pixels * conv.c, conv.dtype)
    runtime.launch(
        _build(conv), "grouped_back", *tiles(pixels, conv.c), dy, kernels, *_sizes(conv), pixels, dx
    )
    return dx


def backward_weights(runtime: Runtime, x: Array, dy: Array, conv: Convolution) -> Array:
    """Return dw (O, C/groups, kh, kw)."""
    kh, kw = conv.window.kernel
    inner, lines = conv.c // conv.groups, conv.n * conv.out_h
    (across,), block = columns(conv.o, 32)
    parts = min(-(-lines // (block[1] * _LINES)), _MOST_PARTS)
    lines_a_part = -(-lines // parts)
    parts = -(-lines // lines_a_part)
    sums = cp.empty(parts * kh * inner * kw * conv.o, conv.dtype)
    runtime.launch(
        _build(conv), "grouped_weights", (across, kh * inner, parts), block, x, dy, *_sizes(conv), lines,
        lines_a_part, sums,
    )  # fmt: skip
    total = column_sums(runtime, sums, parts, sums.size // parts)
    return cp.ascontiguousarray(total.reshape(kh, inner, kw, conv.o).transpose(3, 1, 0, 2))


def _build(conv: Convolution) -> Build:
    (kh, kw), (sh, sw), _, (dh, dw) = conv.window
    group = conv.c // conv.groups, conv.o // conv.groups
    macros = tuple(zip(MACROS["grouped"], (kh, kw, sh, sw, dh, dw, *group), strict=True))
    return Build("grouped", conv.dtype.name, 1, macros)


def _sizes(conv: Convolution) -> tuple[Any, ...]:
    return conv.h, conv.w, conv.c, conv.o, conv.out_h, conv.out_w, *conv.window.padding
