"""Convolution as matrix products, by Winograd's algorithm, or straight from the formula: which way, and how.

For rows of channels a 1x1 convolution is one matrix product. Others become one by `patches`, what each
window sees as a row: nine times the image for 3x3, so it is made for some images at a time. Winograd's way
(3x3, float32 alone: it loses two digits) needs a quarter of the multiplications. Products of small groups
would be tiny: they have kernels of their own.

    way          taken for                                   forward        dx                 dw
    "pointwise"  1x1, stride 1, no padding, one group        x w^T          dy w               dy^T x
    "patches"    all                                         X w^T          col2im(dy w)       dy^T X
    "cached"     the same, fewer images at a time: their patches stay in the cache
    "winograd"   3x3, stride 1, one group, float32           see `winograd.py`
    "grouped"    groups of at most 16 channels and outputs   see `kernels/grouped.cu`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import cupy as cp

from senumpy.engines.cupy import grouped, winograd
from senumpy.engines.cupy.products import Matrix, multiply
from senumpy.engines.cupy.runtime import Runtime, tiles, width
from senumpy.engines.cupy.sources import MACROS, Build
from senumpy.ops.arrays import Array
from senumpy.ops.windows import Window

SMALL_GROUP = 16
_NARROW = 4  # channels, or loads of 16 bytes, below which a row of threads takes several taps
_ALIGNED = 4  # numbers: 16 bytes of float32, for tensor cores
_LEAST_CHANNELS = 16  # for Winograd: below, its transforms cost more than the products


class Convolution(NamedTuple):
    """Sizes of one convolution, and the ways in which it may be computed, the rule's first."""

    n: int
    c: int
    h: int
    w: int
    o: int
    out_h: int
    out_w: int
    window: Window
    groups: int
    dtype: Any
    ways: tuple[str, ...]

    @property
    def pixels(self) -> int:
        """Of the result, of all images."""
        return self.n * self.out_h * self.out_w

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the result."""
        return self.n, self.o, self.out_h, self.out_w

    @property
    def patch_bytes(self) -> int:
        """Of what all windows of all images see."""
        return self.pixels * self.depth * self.groups * self.dtype.itemsize

    @property
    def seen(self) -> int:
        """Entries that a window of a group sees."""
        kh, kw = self.window.kernel
        return self.c // self.groups * kh * kw

    @property
    def depth(self) -> int:
        """The same, for few channels with zeros up to a multiple of `_ALIGNED`: 148 for the stem's 147."""
        is_narrow = self.groups == 1 and self.c < _NARROW and self.seen > self.c
        return -(-self.seen // _ALIGNED) * _ALIGNED if is_narrow else self.seen


def plan(
    runtime: Runtime, x: Array, w: Array, window: Window, groups: int, out: tuple[int, int]
) -> Convolution:
    """Return sizes and ways."""
    n, c, h, width_ = x.shape
    conv = Convolution(n, c, h, width_, w.shape[0], *out, window, groups, x.dtype, ())
    return conv._replace(ways=_ways(runtime, conv))


def _ways(runtime: Runtime, conv: Convolution) -> tuple[str, ...]:
    kernel, stride, padding, dilation = conv.window
    if kernel == (1, 1) and stride == (1, 1) and padding == (0, 0) and conv.groups == 1:
        return ("pointwise",)
    patches = ("patches",) if conv.patch_bytes <= _cached(runtime) else ("patches", "cached")
    if conv.groups > 1 and max(conv.c, conv.o) <= SMALL_GROUP * conv.groups:
        return ("grouped",) if max(conv.c, conv.o) < 4 * conv.groups else ("grouped", *patches)
    fits = (
        kernel == (3, 3) and stride == dilation == (1, 1) and conv.groups == 1 and max(padding) <= 2
        and min(conv.c, conv.o) >= _LEAST_CHANNELS
    )  # fmt: skip
    if fits and conv.dtype == "float32" and runtime.precision == "float32" and not runtime.exact:
        return ("winograd", *patches)
    return patches


def _cached(runtime: Runtime) -> int:
    """Return how many bytes of patches stay in the cache until they are multiplied."""
    return runtime.device.cache // 2


def _budget(runtime: Runtime, way: str) -> int:
    """Return how many bytes of patches are made at a time."""
    return _cached(runtime) if way == "cached" else runtime.workspace


def forward(runtime: Runtime, x: Array, w: Array, conv: Convolution) -> Array:
    """Return the result's rows for rows `x`."""

    def compute(way: str) -> Array:
        if way == "winograd":
            kernels = runtime.remember(
                ("winograd",), (w,), lambda: winograd.kernels(runtime, w, turned=False)
            )
            return winograd.forward(runtime, x, kernels, conv)
        if way == "grouped":
            return grouped.forward(runtime, x, _kernel_rows(runtime, w), conv)
        return _by_products(runtime, x, _kernel_rows(runtime, w, conv.depth), conv, _budget(runtime, way))

    return runtime.choices.run(("forward", *conv), conv.ways, compute)


def backward_input(runtime: Runtime, dy: Array, w: Array, conv: Convolution) -> Array:
    """Return rows of dx for rows `dy`."""

    def compute(way: str) -> Array:
        if way == "winograd":
            return winograd.backward_input(runtime, dy, winograd.kernels(runtime, w, turned=True), conv)
        kernels = _kernel_rows(runtime, w, conv.depth)
        if way == "grouped":
            return grouped.backward_input(runtime, dy, kernels, conv)
        return _input_by_products(runtime, dy, kernels, conv, _budget(runtime, way))

    return runtime.choices.run(("dx", *conv), conv.ways, compute)


def backward_weights(runtime: Runtime, x: Array, dy: Array, conv: Convolution) -> Array:
    """Return dw (O, C/groups, kh, kw) for rows `x` and `dy`."""

    def compute(way: str) -> Array:
        if way == "winograd":
            return winograd.backward_weights(runtime, x, dy, conv)
        if way == "grouped":
            return grouped.backward_weights(runtime, x, dy, conv)
        rows = _weights_by_products(runtime, x, dy, conv, _budget(runtime, way)).reshape(conv.o, conv.depth)
        kh, kw = conv.window.kernel
        kernels = rows[:, : conv.seen].reshape(conv.o, kh, kw, conv.c // conv.groups)
        return cp.ascontiguousarray(kernels.transpose(0, 3, 1, 2))

    return runtime.choices.run(("dw", *conv), conv.ways, compute)


def _kernel_rows(runtime: Runtime, w: Array, depth: int = 0) -> Array:
    """Return kernels in the order of what a window sees, (O, kh, kw, C/groups), flat, `depth` each."""

    def make() -> Array:
        rows = w.transpose(0, 2, 3, 1).reshape(w.shape[0], -1)
        if depth <= rows.shape[1]:
            return cp.ascontiguousarray(rows).reshape(-1)
        padded = cp.zeros((w.shape[0], depth), w.dtype)
        padded[:, : rows.shape[1]] = rows
        return padded.reshape(-1)

    return runtime.remember(("rows", depth), (w,), make)


def _by_products(runtime: Runtime, x: Array, kernels: Array, conv: Convolution, budget: int) -> Array:
    y = cp.empty(conv.pixels * conv.o, conv.dtype)
    kernel = _kernel_matrix(kernels, conv)
    for first, images, seen in _windows(runtime, x, conv, budget):
        pixels = images * conv.out_h * conv.out_w
        out = _outputs(y, conv, first)
        multiply(
            runtime, seen, kernel._replace(turned=True), out, pixels, conv.o // conv.groups, conv.depth,
            batch=conv.groups,
        )  # fmt: skip
    return y


def _input_by_products(runtime: Runtime, dy: Array, kernels: Array, conv: Convolution, budget: int) -> Array:
    dx = cp.empty(conv.n * conv.h * conv.w * conv.c, conv.dtype)
    kernel, inner = _kernel_matrix(kernels, conv), conv.o // conv.groups
    if conv.ways == ("pointwise",):
        multiply(runtime, Matrix(dy, conv.o), kernel, Matrix(dx, conv.c), conv.pixels, conv.c, conv.o)
        return dx
    for first, images in _chunks(conv, budget):
        pixels = images * conv.out_h * conv.out_w
        seen = _seen(cp.empty(pixels * conv.depth * conv.groups, conv.dtype), conv)
        multiply(
            runtime, _outputs(dy, conv, first), kernel, seen, pixels, conv.depth, inner, batch=conv.groups
        )
        part = dx[first * conv.h * conv.w * conv.c :]
        _launch_patches(runtime, "from_patches", conv, seen.array, part, images * conv.h * conv.w)
    return dx


def _weights_by_products(runtime: Runtime, x: Array, dy: Array, conv: Convolution, budget: int) -> Array:
    dw = cp.empty(conv.o * conv.depth, conv.dtype)
    for first, images, seen in _windows(runtime, x, conv, budget):
        upstream = _outputs(dy, conv, first)._replace(turned=True)
        multiply(
            runtime, upstream, seen, _kernel_matrix(dw, conv), conv.o // conv.groups, conv.depth,
            images * conv.out_h * conv.out_w, batch=conv.groups, add=first > 0,
        )  # fmt: skip
    return dw


def _kernel_matrix(kernels: Array, conv: Convolution) -> Matrix:
    """Return kernel rows as a matrix (O/groups, depth) a group."""
    return Matrix(kernels, conv.depth, conv.o // conv.groups * conv.depth)


def _outputs(y: Array, conv: Convolution, first: int) -> Matrix:
    """Return rows from image `first` on as a matrix (pixels, O/groups) a group."""
    return Matrix(y, conv.o, conv.o // conv.groups, first=first * conv.out_h * conv.out_w * conv.o)


def _seen(array: Array, conv: Convolution) -> Matrix:
    """Return patches as a matrix (pixels, depth) a group."""
    return Matrix(array, conv.depth * conv.groups, conv.depth)


def _windows(runtime: Runtime, x: Array, conv: Convolution, budget: int) -> Iterator[tuple[int, int, Matrix]]:
    """Yield (first image, images, what their windows see)."""
    if conv.ways == ("pointwise",):
        yield 0, conv.n, Matrix(x, conv.c)
        return
    for first, images in _chunks(conv, budget):
        pixels = images * conv.out_h * conv.out_w
        seen = cp.empty(pixels * conv.depth * conv.groups, conv.dtype)
        part = x[first * conv.h * conv.w * conv.c :]
        _launch_patches(runtime, "patches", conv, part, seen, pixels)
        yield first, images, _seen(seen, conv)


def _chunks(conv: Convolution, budget: int) -> Iterator[tuple[int, int]]:
    """Yield (first image, images) such that their patches take so many bytes at most."""
    most = max(1, budget * conv.n // conv.patch_bytes)
    for first in range(0, conv.n, most):
        yield first, min(most, conv.n - first)


def _launch_patches(
    runtime: Runtime, name: str, conv: Convolution, source: Array, target: Array, pixels: int
) -> None:
    (kh, kw), (sh, sw), (ph, pw), (dh, dw) = conv.window
    inner = conv.c // conv.groups
    wide = width(conv.dtype, inner)
    macros = tuple(zip(MACROS["patches"], (kh, kw, sh, sw, dh, dw), strict=True))
    build = Build("patches", conv.dtype.name, wide, macros)
    vecs = columns = conv.c // wide
    row = conv.depth * conv.groups // wide
    if name == "patches" and vecs < _NARROW:
        name, columns = "narrow_patches", row
    runtime.launch(
        build, name, *tiles(pixels, columns), source, conv.h, conv.w, vecs, inner // wide, row, conv.out_h,
        conv.out_w, ph, pw, pixels, target,
    )  # fmt: skip
