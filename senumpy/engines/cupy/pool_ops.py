"""The engine's pools, over windows and over whole images."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy as cp
import numpy as np

from senumpy.engines.base import Engine
from senumpy.engines.cupy import passes
from senumpy.engines.cupy.runtime import REAL, Runtime, as_image, in_order, tiles, width
from senumpy.engines.cupy.se_ops import SEUnits
from senumpy.engines.cupy.sources import Build
from senumpy.ops.arrays import Array, check_array, check_upstream
from senumpy.ops.avg_pool import AvgPool2dGradients
from senumpy.ops.global_pooling import GlobalAvgPoolGradients, GlobalMaxPoolGradients
from senumpy.ops.max_pool import MaxPool2dGradients
from senumpy.ops.windows import Window, pool_window

_MOST_TAPS = 256  # a winner is one byte


class PoolCache(NamedTuple):
    """Which tap won each window, or what each window's sum was divided by; sizes."""

    found: Array
    shape: tuple[int, int, int, int]
    out: tuple[int, int]
    window: Window
    dtype: Any

    @property
    def out_shape(self) -> tuple[int, int, int, int]:
        """Shape of the result."""
        return *self.shape[:2], *self.out


class GlobalCache(NamedTuple):
    """Shape and dtype of the argument; which pixel won each channel, None for the average."""

    shape: tuple[int, int, int, int]
    dtype: Any
    winner: Array | None = None


class PoolOps(SEUnits):
    """Pools."""

    runtime: Runtime

    def max_pool2d_forward(self, x, *, kernel, stride=None, padding=0, ceil_mode=False):
        """See `senumpy.ops.max_pool2d_forward`."""
        window, out = pool_window(x, kernel, stride, padding, ceil_mode)
        if x.dtype not in REAL or window.kernel[0] * window.kernel[1] > _MOST_TAPS:
            return Engine.max_pool2d_forward(
                x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode
            )
        n, c, _, _ = x.shape
        rows, y = self.runtime.image(n, c, *out, x.dtype)
        winner = cp.empty(rows.size, "uint8")
        self._launch("max_pool", x.shape, out, window, out, self.runtime.rows(x), (), rows, winner)
        return y, PoolCache(winner, x.shape, out, window, x.dtype)

    def max_pool2d_backward(self, dy, cache):
        """See `senumpy.ops.max_pool2d_backward`."""
        if not isinstance(cache, PoolCache):
            return Engine.max_pool2d_backward(dy, cache)
        return MaxPool2dGradients(self._pool_back("max_pool_back", dy, cache))

    def avg_pool2d_forward(
        self, x, *, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True
    ):
        """See `senumpy.ops.avg_pool2d_forward`."""
        window, out = pool_window(x, kernel, stride, padding, ceil_mode)
        if x.dtype not in REAL:
            return Engine.avg_pool2d_forward(
                x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode,
                count_include_pad=count_include_pad,
            )  # fmt: skip
        n, c, h, w = x.shape
        rows, y = self.runtime.image(n, c, *out, x.dtype)
        counts = cp.asarray(_counts((h, w), window, out, count_include_pad), dtype=x.dtype)
        self._launch("avg_pool", x.shape, out, window, out, self.runtime.rows(x), (counts,), rows)
        return y, PoolCache(counts, x.shape, out, window, x.dtype)

    def avg_pool2d_backward(self, dy, cache):
        """See `senumpy.ops.avg_pool2d_backward`."""
        if not isinstance(cache, PoolCache):
            return Engine.avg_pool2d_backward(dy, cache)
        return AvgPool2dGradients(self._pool_back("avg_pool_back", dy, cache))

    def _pool_back(self, kernel: str, dy: Array, cache: PoolCache) -> Array:
        check_upstream(dy, cache.out_shape, cache.dtype)
        rows, dx = self.runtime.image(*cache.shape, cache.dtype)
        upstream = self.runtime.rows(dy)
        self._launch(
            kernel, cache.shape, cache.out, cache.window, cache.shape[2:], upstream, (cache.found,), rows
        )
        return dx

    def _launch(
        self, kernel: str, shape: Any, out: Any, window: Window, written: Any, source: Array, others: Any,
        *results: Array,
    ) -> None:  # fmt: skip
        """Launch one thread for each (pixel, channel) of images whose size is `written`."""
        n, c, h, w = shape
        pixels, wide = n * written[0] * written[1], width(source.dtype, c)
        self.runtime.launch(
            Build("pooling", source.dtype.name, wide), kernel, *tiles(pixels, c // wide), source, *others,
            h, w, c // wide, *out, *window.kernel, *window.stride, *window.padding, pixels, *results,
        )  # fmt: skip

    def global_avg_pool_forward(self, x):
        """See `senumpy.ops.global_avg_pool_forward`."""
        check_array("x", x, ("N", "C", "H", "W"))
        if x.dtype not in REAL:
            return Engine.global_avg_pool_forward(x)
        pixels = x.shape[2] * x.shape[3]
        means = passes.image_sums(self.runtime, x.shape, self.runtime.rows(x), factor=1.0 / pixels)
        return means, GlobalCache(x.shape, x.dtype)

    def global_avg_pool_backward(self, dy, cache):
        """See `senumpy.ops.global_avg_pool_backward`."""
        if not isinstance(cache, GlobalCache):
            return Engine.global_avg_pool_backward(dy, cache)
        n, c, h, w = cache.shape
        check_upstream(dy, (n, c), cache.dtype)
        return GlobalAvgPoolGradients(
            as_image(self._rescaled(None, cache.shape, shift=in_order(dy / (h * w))), cache.shape)
        )

    def global_max_pool_forward(self, x):
        """See `senumpy.ops.global_max_pool_forward`."""
        check_array("x", x, ("N", "C", "H", "W"))
        if x.dtype not in REAL:
            return Engine.global_max_pool_forward(x)
        n, c, h, w = x.shape
        y, winner = cp.empty((n, c), x.dtype), cp.empty((n, c), "int32")
        wide = width(x.dtype, c)
        self.runtime.launch(
            Build("pooling", x.dtype.name, wide), "global_max", *tiles(n, c // wide), self.runtime.rows(x),
            h * w, c // wide, n, y, winner,
        )  # fmt: skip
        return y, GlobalCache(x.shape, x.dtype, winner)

    def global_max_pool_backward(self, dy, cache):
        """See `senumpy.ops.global_max_pool_backward`."""
        if not isinstance(cache, GlobalCache):
            return Engine.global_max_pool_backward(dy, cache)
        n, c, h, w = cache.shape
        check_upstream(dy, (n, c), cache.dtype)
        rows, dx = self.runtime.image(*cache.shape, cache.dtype)
        wide = width(cache.dtype, c)
        self.runtime.launch(
            Build("pooling", cache.dtype.name, wide), "global_max_back", *tiles(n * h * w, c // wide),
            in_order(dy), cache.winner, h, w, c // wide, n * h * w, rows,
        )  # fmt: skip
        return GlobalMaxPoolGradients(dx)


def _counts(size: Any, window: Window, out: Any, include_pad: bool) -> np.ndarray[Any, Any]:
    """Return how many entries each window's sum is divided by, (H', W').

    Padding counts if asked for; what hangs over the padded image, with ceil_mode, never does.
    """
    sides = []
    for n, count, k, s, p in zip(size, out, window.kernel, window.stride, window.padding, strict=True):
        first = np.arange(count) * s - p
        low, high = (-p, n + p) if include_pad else (0, n)
        sides.append(np.minimum(first + k, high) - np.maximum(first, low))
    return np.multiply.outer(*sides)
