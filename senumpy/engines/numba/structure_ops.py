"""The engine's operations that compose others, or only move numbers: SE, concatenation, shuffle, shortcut."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.base import Engine
from senumpy.engines.numba import elementwise
from senumpy.engines.numba.other_ops import ScaleCache, scale_sums
from senumpy.engines.numba.runtime import NOTHING, Runtime, flat
from senumpy.ops.arrays import check_array, check_same_dtype, check_upstream
from senumpy.ops.excitation import check_gate, check_weights
from senumpy.ops.residual_add import ResidualAddGradients
from senumpy.ops.squeeze import SqueezeGradients, check_operator
from senumpy.ops.squeeze_excite import SqueezeExciteGradients, SqueezeExcitePaths


class SqueezeCache(NamedTuple):
    """The cache of the pool that ran, and which it was."""

    pool: Any
    operator: str


class SqueezeExciteCache(NamedTuple):
    """The caches of the three steps."""

    squeeze: Any
    excitation: Any
    scale: Any


class StructureOps(Engine):
    """SE from its parts, and the gradient of the addition."""

    runtime: Runtime

    def squeeze_forward(self, u, *, operator="avg"):
        """See `senumpy.ops.squeeze_forward`."""
        check_operator(operator)
        check_array("u", u, ("N", "C", "H", "W"))
        pool = self.global_avg_pool_forward if operator == "avg" else self.global_max_pool_forward
        z, cache = pool(u)
        return z, SqueezeCache(cache, operator)

    def squeeze_backward(self, dy, cache):
        """See `senumpy.ops.squeeze_backward`."""
        pool = self.global_avg_pool_backward if cache.operator == "avg" else self.global_max_pool_backward
        return SqueezeGradients(pool(dy, cache.pool).dx)

    def squeeze_excite_forward(self, u, w1, b1, w2, b2, *, squeeze="avg", gate="sigmoid"):
        """See `senumpy.ops.squeeze_excite_forward`."""
        check_array("u", u, ("N", "C", "H", "W"))
        check_operator(squeeze)
        check_gate(gate)
        check_weights(u.shape[1], w1, b1, w2, b2)
        check_same_dtype(u=u, w1=w1, b1=b1, w2=w2, b2=b2)
        z, squeeze_cache = self.squeeze_forward(u, operator=squeeze)
        s, excitation_cache = self.excitation_forward(z, w1, b1, w2, b2, gate=gate)
        y, scale_cache = self.scale_forward(u, s)
        return y, SqueezeExciteCache(squeeze_cache, excitation_cache, scale_cache)

    def squeeze_excite_backward(self, dy, cache):
        """See `senumpy.ops.squeeze_excite_backward`; with the mean, both paths come in one pass."""
        scaled = cache.scale
        if isinstance(scaled, ScaleCache) and cache.squeeze.operator == "avg":
            n, c, h, w = scaled.shape
            dtype = scaled.u.dtype
            check_upstream(dy, scaled.shape, dtype)
            dy_rows = self.runtime.rows(dy)
            ds = scale_sums(self.runtime, dy_rows, scaled)
            gradients = self.excitation_backward(ds, cache.excitation)
            shift = flat((gradients.dz / (h * w)).astype(dtype))
            rows, du = self.runtime.image(n, c, h, w, dtype)
            self.runtime.run(elementwise.scale, dy_rows, flat(scaled.s), shift, n, h * w, c, rows)
            return SqueezeExciteGradients(du, *gradients[1:])
        (scaled, gated), gradients = self._squeeze_excite_back(dy, cache)
        du, _ = self.residual_add_forward(scaled, gated)
        return SqueezeExciteGradients(du, *gradients[1:])

    def squeeze_excite_backward_paths(self, dy, cache):
        """See `senumpy.ops.squeeze_excite_backward_paths`."""
        return self._squeeze_excite_back(dy, cache)[0]

    def _squeeze_excite_back(self, dy: Any, cache: Any) -> tuple[SqueezeExcitePaths, Any]:
        through_scale, ds = self.scale_backward(dy, cache.scale)
        gradients = self.excitation_backward(ds, cache.excitation)
        through_gate = self.squeeze_backward(gradients.dz, cache.squeeze).du
        return SqueezeExcitePaths(through_scale, through_gate), gradients

    def residual_add_backward(self, dy, cache):
        """See `senumpy.ops.residual_add_backward`."""
        check_upstream(dy, cache.shape, cache.dtype)
        if cache.dtype not in NOTHING:
            return Engine.residual_add_backward(dy, cache)
        copies = []
        for _ in range(2):
            _, copy = self.runtime.image_like(dy)
            np.copyto(copy, dy)
            copies.append(copy)
        return ResidualAddGradients(*copies)
