"""3x3 convolution by Winograd's F(4x4, 3x3): transforms (`kernels/winograd.cu`) around 36 matrix products."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import cupy as cp

from senumpy.engines.cupy.products import Matrix, multiply
from senumpy.engines.cupy.runtime import Runtime, lines, tiles
from senumpy.engines.cupy.sources import Build
from senumpy.ops.arrays import Array

if TYPE_CHECKING:
    from senumpy.engines.cupy.convolution import Convolution

_BUILD = Build("winograd", "float32", 1)
_SIDE = 4  # of a tile of the result
_ENTRIES = 36  # of a transformed tile or kernel


class Tiling(NamedTuple):
    """Some images and the tiles that cover the results of their convolution."""

    first: int
    images: int
    tiles_h: int
    tiles_w: int

    @property
    def tiles(self) -> int:
        """Of all these images."""
        return self.images * self.tiles_h * self.tiles_w


def kernels(runtime: Runtime, w: Array, *, turned: bool) -> Array:
    """Return transformed kernels (36, O, C); turned by 180 degrees, and (36, C, O), for dx."""
    o, c = w.shape[:2]
    rows, columns, steps = (c, o, (9, 9 * c)) if turned else (o, c, (9 * c, 9))
    out = cp.empty(_ENTRIES * o * c, w.dtype)
    weights = cp.ascontiguousarray(w)
    runtime.launch(_BUILD, "winograd_kernels", *lines(o * c), weights, rows, columns, *steps, turned, out)
    return out


def forward(runtime: Runtime, x: Array, transformed: Array, conv: Convolution) -> Array:
    """Return the result's rows."""
    size, padding = (conv.h, conv.w, conv.c), conv.window.padding
    return _convolve(runtime, x, transformed, conv.n, size, (conv.out_h, conv.out_w, conv.o), padding)


def backward_input(runtime: Runtime, dy: Array, transformed: Array, conv: Convolution) -> Array:
    """Return rows of dx: dy convolved with the turned kernels."""
    size, padding = (conv.out_h, conv.out_w, conv.o), conv.window.padding
    return _convolve(
        runtime, dy, transformed, conv.n, size, (conv.h, conv.w, conv.c), (2 - padding[0], 2 - padding[1])
    )


def _convolve(
    runtime: Runtime, x: Array, transformed: Array, n: int, size: Any, out: Any, padding: tuple[int, int]
) -> Array:
    """Convolve images of `size` (h, w, channels) to ones of size `out`."""
    c, (out_h, out_w, o) = size[2], out
    y = cp.empty(n * out_h * out_w * o, x.dtype)
    for part in _tilings(runtime, n, out_h, out_w, c + o):
        image = _image(runtime, x, part, size, padding)
        product = cp.empty(_ENTRIES * part.tiles * o, x.dtype)
        multiply(
            runtime, Matrix(image, c, part.tiles * c), Matrix(transformed, c, o * c, turned=True),
            Matrix(product, o, part.tiles * o), part.tiles, o, c, batch=_ENTRIES,
        )  # fmt: skip
        target = y[part.first * out_h * out_w * o :]
        runtime.launch(
            _BUILD, "winograd_result", *tiles(part.tiles, o), product, out_h, out_w, o, part.tiles_h,
            part.tiles_w, part.tiles, target,
        )  # fmt: skip
    return y


def backward_weights(runtime: Runtime, x: Array, dy: Array, conv: Convolution) -> Array:
    """Return dw (O, C, 3, 3)."""
    o, c = conv.o, conv.c
    total = cp.empty(_ENTRIES * o * c, x.dtype)
    for part in _tilings(runtime, conv.n, conv.out_h, conv.out_w, c + o):
        image = _image(runtime, x, part, (conv.h, conv.w, c), conv.window.padding)
        upstream = cp.empty(_ENTRIES * part.tiles * o, x.dtype)
        source = dy[part.first * conv.out_h * conv.out_w * o :]
        runtime.launch(
            _BUILD, "winograd_upstream", *tiles(part.tiles, o), source, conv.out_h, conv.out_w, o,
            part.tiles_h, part.tiles_w, part.tiles, upstream,
        )  # fmt: skip
        multiply(
            runtime, Matrix(upstream, o, part.tiles * o, turned=True), Matrix(image, c, part.tiles * c),
            Matrix(total, c, o * c), o, c, part.tiles, batch=_ENTRIES, add=part.first > 0,
        )  # fmt: skip
    dw = cp.empty((o, c, 3, 3), x.dtype)
    runtime.launch(_BUILD, "winograd_kernels_back", *lines(o * c), total, o * c, dw)
    return dw


def _image(runtime: Runtime, x: Array, part: Tiling, size: Any, padding: tuple[int, int]) -> Array:
    """Return the transformed tiles of some images, (36, tiles, channels)."""
    h, w, c = size
    out = cp.empty(_ENTRIES * part.tiles * c, x.dtype)
    runtime.launch(
        _BUILD, "winograd_image", *tiles(part.tiles, c), x[part.first * h * w * c :], h, w, c, part.tiles_h,
        part.tiles_w, *padding, part.tiles, out,
    )  # fmt: skip
    return out


def _tilings(runtime: Runtime, n: int, out_h: int, out_w: int, channels: int) -> Iterator[Tiling]:
    """Yield images, as many as their transformed tiles of so many channels fit the workspace."""
    tiles_h, tiles_w = -(-out_h // _SIDE), -(-out_w // _SIDE)
    most = max(1, runtime.workspace // (4 * _ENTRIES * channels * tiles_h * tiles_w))
    for first in range(0, n, most):
        yield Tiling(first, min(most, n - first), tiles_h, tiles_w)
