"""The engine's SE: alone, on a concatenation, behind batch norm and ReLU, before the sum."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy as cp

from senumpy.engines.arguments import check_se
from senumpy.engines.base import Engine
from senumpy.engines.caches import ComposedCache, SqueezeCache, SqueezeExciteCache
from senumpy.engines.cupy import excite, norm, passes
from senumpy.engines.cupy.excite import Excitation
from senumpy.engines.cupy.norm_ops import NormOps
from senumpy.engines.cupy.runtime import REAL, as_image, in_order
from senumpy.engines.cupy.sources import Build
from senumpy.ops.arrays import Array, check_array, check_same_dtype, check_upstream
from senumpy.ops.batchnorm import check_batch_arguments
from senumpy.ops.bn_relu_se import BNReLUSEGradients
from senumpy.ops.concat import check_parts
from senumpy.ops.concat_se import ConcatSEGradients
from senumpy.ops.excitation import check_gate, check_weights
from senumpy.ops.scale import ScaleGradients
from senumpy.ops.se_add import SEAddGradients
from senumpy.ops.squeeze import SqueezeGradients, check_operator
from senumpy.ops.squeeze_excite import SqueezeExciteGradients, SqueezeExcitePaths


class ScaleCache(NamedTuple):
    """Both factors."""

    u: Array  # rows
    s: Array
    shape: tuple[int, int, int, int]


class SEOps(NormOps):
    """Squeeze, excitation, scale, and SE."""

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

    def excitation_forward(self, z, w1, b1, w2, b2, *, gate="sigmoid"):
        """See `senumpy.ops.excitation_forward`."""
        check_gate(gate)
        check_array("z", z, ("N", "C"))
        check_weights(z.shape[1], w1, b1, w2, b2)
        check_same_dtype(z=z, w1=w1, b1=b1, w2=w2, b2=b2)
        if z.dtype not in REAL:
            return Engine.excitation_forward(z, w1, b1, w2, b2, gate=gate)
        cache = excite.forward(self.runtime, z, w1, b1, w2, b2, gate)
        return cache.s.copy(), cache

    def excitation_backward(self, dy, cache):
        """See `senumpy.ops.excitation_backward`."""
        if not isinstance(cache, Excitation):
            return Engine.excitation_backward(dy, cache)
        check_upstream(dy, cache.s.shape, cache.s.dtype)
        return excite.backward(self.runtime, dy, cache)

    def scale_forward(self, u, s):
        """See `senumpy.ops.scale_forward`."""
        check_array("u", u, ("N", "C", "H", "W"))
        check_array("s", s, u.shape[:2])
        check_same_dtype(u=u, s=s)
        if u.dtype not in REAL:
            return Engine.scale_forward(u, s)
        cache = ScaleCache(self.runtime.rows(u), in_order(s), u.shape)
        return as_image(self._rescaled(cache.u, u.shape, s=cache.s), u.shape), cache

    def scale_backward(self, dy, cache):
        """See `senumpy.ops.scale_backward`."""
        if not isinstance(cache, ScaleCache):
            return Engine.scale_backward(dy, cache)
        check_upstream(dy, cache.shape, cache.u.dtype)
        rows = self.runtime.rows(dy)
        ds = passes.image_sums(self.runtime, cache.shape, rows, cache.u)
        return ScaleGradients(as_image(self._rescaled(rows, cache.shape, s=cache.s), cache.shape), ds)

    def squeeze_excite_forward(self, u, w1, b1, w2, b2, *, squeeze="avg", gate="sigmoid"):
        """See `senumpy.ops.squeeze_excite_forward`."""
        s, squeezed, excited = self._gates(u, w1, b1, w2, b2, squeeze, gate)
        y, scaled = self.scale_forward(u, s)
        return y, SqueezeExciteCache(squeezed, excited, scaled)

    def squeeze_excite_backward(self, dy, cache):
        """See `senumpy.ops.squeeze_excite_backward`; with the mean, both paths come in one pass."""
        scaled = cache.scale
        if isinstance(scaled, ScaleCache) and cache.squeeze.operator == "avg":
            check_upstream(dy, scaled.shape, scaled.u.dtype)
            rows = self.runtime.rows(dy)
            ds = passes.image_sums(self.runtime, scaled.shape, rows, scaled.u)
            gradients = excite.backward(self.runtime, ds, cache.excitation)
            pixels = scaled.shape[2] * scaled.shape[3]
            du = self._rescaled(rows, scaled.shape, s=scaled.s, shift=gradients.dz / pixels)
            return SqueezeExciteGradients(as_image(du, scaled.shape), *gradients[1:])
        (through_scale, through_gate), gradients = self._squeeze_excite_back(dy, cache)
        du, _ = self.residual_add_forward(through_scale, through_gate)
        return SqueezeExciteGradients(du, *gradients[1:])

    def squeeze_excite_backward_paths(self, dy, cache):
        """See `senumpy.ops.squeeze_excite_backward_paths`."""
        return self._squeeze_excite_back(dy, cache)[0]

    def _squeeze_excite_back(self, dy: Any, cache: Any) -> tuple[SqueezeExcitePaths, Any]:
        through_scale, ds = self.scale_backward(dy, cache.scale)
        gradients = self.excitation_backward(ds, cache.excitation)
        through_gate = self.squeeze_backward(gradients.dz, cache.squeeze).du
        return SqueezeExcitePaths(through_scale, through_gate), gradients

    def _gates(
        self, u: Any, w1: Any, b1: Any, w2: Any, b2: Any, squeeze: str, gate: str
    ) -> tuple[Array, Any, Any]:
        """Check all arguments; return s and the caches of squeeze and excitation."""
        check_array("u", u, ("N", "C", "H", "W"))
        check_se(u, w1, b1, w2, b2, squeeze, gate)
        z, squeezed = self.squeeze_forward(u, operator=squeeze)
        s, excited = self.excitation_forward(z, w1, b1, w2, b2, gate=gate)
        return s, squeezed, excited

    def copied(self, x: Array) -> Array:
        """Return a copy of an activation in channels-last order."""
        return x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)

    def _rescaled(
        self, x: Array | None, shape: Any, *, s: Array | None = None, shift: Array | None = None,
        addend: Array | None = None,
    ) -> Array:  # fmt: skip
        """Return s x + shift + addend as rows; s and shift are (N, C), and each may be left out."""
        dtype = next(a.dtype for a in (x, shift) if a is not None)
        p = passes.plan(self.runtime, shape, dtype)
        y = cp.empty(p.images * p.rows * p.channels, dtype)
        build = Build("elementwise", dtype.name, p.width)
        self.runtime.launch(build, "rescale", p.grid, p.block, x, *p.sizes, None, s, shift, addend, False, y)
        return y


class SEUnits(SEOps):
    """SE and its neighbours."""

    def bn_relu_se_forward(self, c, gamma, beta, w1, b1, w2, b2, *, eps=1e-5, squeeze="avg", gate="sigmoid"):
        """See `senumpy.ops.bn_relu_se_forward`."""
        check_batch_arguments(c, gamma, beta, eps, name="c")
        check_se(c, w1, b1, w2, b2, squeeze, gate, name="c")
        se = w1, b1, w2, b2
        if c.dtype not in REAL:
            return Engine.bn_relu_se_forward(c, gamma, beta, *se, eps=eps, squeeze=squeeze, gate=gate)
        normed = norm.of_batch(
            self.runtime, self.runtime.rows(c), c.shape, in_order(gamma), in_order(beta), eps
        )
        v = as_image(norm.transform(self.runtime, normed, relu=True), c.shape)
        y, cache = self.squeeze_excite_forward(v, *se, squeeze=squeeze, gate=gate)
        return y, ComposedCache(normed, cache)

    def bn_relu_se_backward(self, dy, cache):
        """See `senumpy.ops.bn_relu_se_backward`."""
        if not isinstance(cache, ComposedCache):
            return Engine.bn_relu_se_backward(dy, cache)
        check_upstream(dy, cache.norm.shape, cache.norm.x.dtype)
        dv, *se = self.squeeze_excite_backward(dy, cache.se)
        rows = self.runtime.rows(dv)
        found = norm.gradients(self.runtime, rows, cache.norm, norm.BY_AFFINE)
        dc, _ = norm.pass_back(self.runtime, rows, cache.norm, found, norm.BY_AFFINE)
        return BNReLUSEGradients(as_image(dc, cache.norm.shape), found.dgamma, found.dbeta, *se)

    def concat_se_forward(self, xs, w1, b1, w2, b2, *, squeeze="avg", gate="sigmoid"):
        """See `senumpy.ops.concat_se_forward`."""
        for k, x in enumerate(xs):
            check_array(f"xs[{k}]", x, ("N", "C", "H", "W"))
        check_parts(xs, 1)
        check_se(xs[0], w1, b1, w2, b2, squeeze, gate, name="xs[0]", channels=sum(x.shape[1] for x in xs))
        u, concat = self.concat_forward(xs)
        y, se = self.squeeze_excite_forward(u, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
        return y, (concat, se)

    def concat_se_backward(self, dy, cache):
        """See `senumpy.ops.concat_se_backward`."""
        concat, se = cache
        du, *gradients = self.squeeze_excite_backward(dy, se)
        return ConcatSEGradients(self.concat_backward(du, concat).dxs, *gradients)

    def se_add_forward(self, u, w1, b1, w2, b2, shortcut, *, squeeze="avg", gate="sigmoid"):
        """See `senumpy.ops.se_add_forward`; it scales while it adds."""
        check_array("u", u, ("N", "C", "H", "W"))
        check_array("shortcut", shortcut, u.shape)
        check_same_dtype(u=u, shortcut=shortcut)
        if u.dtype not in REAL:
            return Engine.se_add_forward(u, w1, b1, w2, b2, shortcut, squeeze=squeeze, gate=gate)
        s, squeezed, excited = self._gates(u, w1, b1, w2, b2, squeeze, gate)
        scaled = ScaleCache(self.runtime.rows(u), s, u.shape)
        rows = self._rescaled(scaled.u, u.shape, s=s, addend=self.runtime.rows(shortcut))
        return as_image(rows, u.shape), SqueezeExciteCache(squeezed, excited, scaled)

    def se_add_backward(self, dy, cache):
        """See `senumpy.ops.se_add_backward`."""
        if not isinstance(cache, SqueezeExciteCache):
            return Engine.se_add_backward(dy, cache)
        du, dw1, db1, dw2, db2 = self.squeeze_excite_backward(dy, cache)
        return SEAddGradients(du, dw1, db1, dw2, db2, self.copied(dy))
