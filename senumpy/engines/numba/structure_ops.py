"""The engine's operations that only move numbers: concatenation, and the gradient of the addition."""

from __future__ import annotations

from typing import NamedTuple

from senumpy.engines.base import Engine
from senumpy.engines.numba import elementwise
from senumpy.engines.numba.geometry import Array, is_channels_last
from senumpy.engines.numba.recalibration import places, scale
from senumpy.engines.numba.runtime import NOTHING, Runtime
from senumpy.ops.arrays import check_upstream
from senumpy.ops.concat import ConcatCache, ConcatGradients, check_parts
from senumpy.ops.residual_add import ResidualAddGradients


class ImagesCache(NamedTuple):
    """The cache of a concatenation of images along channels."""

    concat: ConcatCache


class StructureOps(Engine):
    """Copies by all threads."""

    runtime: Runtime

    def concat_forward(self, xs, *, axis=1):
        """See `senumpy.ops.concat_forward`."""
        axis = check_parts(xs, axis)
        if axis != 1 or xs[0].ndim != 4 or xs[0].dtype not in NOTHING:
            return Engine.concat_forward(xs, axis=axis)
        n, _, h, w = xs[0].shape
        where = places(n, h * w, [x.shape[1] for x in xs])
        rows, y = self.runtime.image(n, where[0][1].wide, h, w, xs[0].dtype)
        for x, (sizes, within) in zip(xs, where, strict=True):
            scale(self.runtime, self.runtime.rows(x), None, sizes, rows, y_within=within)
        return y, ImagesCache(ConcatCache(tuple(x.shape for x in xs), axis, xs[0].dtype))

    def concat_backward(self, dy, cache):
        """See `senumpy.ops.concat_backward`."""
        if not isinstance(cache, ImagesCache):
            return Engine.concat_backward(dy, cache)
        shapes, _, dtype = cache.concat
        n, _, h, w = shapes[0]
        where = places(n, h * w, [shape[1] for shape in shapes])
        check_upstream(dy, (n, where[0][1].wide, h, w), dtype)
        dy_rows, parts = self.runtime.rows(dy), []
        for sizes, within in where:
            rows, part = self.runtime.image(n, sizes.c, h, w, dtype)
            scale(self.runtime, dy_rows, None, sizes, rows, x_within=within)
            parts.append(part)
        return ConcatGradients(tuple(parts))

    def residual_add_backward(self, dy, cache):
        """See `senumpy.ops.residual_add_backward`."""
        check_upstream(dy, cache.shape, cache.dtype)
        if cache.dtype not in NOTHING:
            return Engine.residual_add_backward(dy, cache)
        return ResidualAddGradients(self.copied(dy), self.copied(dy))

    def times(self, x, factor):
        """See `Engine.times`."""
        if x.dtype not in NOTHING or not is_channels_last(x):
            return Engine.times(self, x, factor)
        rows, y = self.runtime.image_like(x)
        self.runtime.run(elementwise.times, self.runtime.rows(x), float(factor), rows)
        return y

    def copied(self, x: Array) -> Array:
        """Return a copy of `x` (N, C, H, W) in channels-last memory."""
        rows, copy = self.runtime.image_like(x)
        self.runtime.run(elementwise.copy, self.runtime.rows(x), rows)
        return copy
