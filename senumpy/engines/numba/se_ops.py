"""The engine's SE: alone, behind batch norm and ReLU, on a concatenation, before the sum."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.arguments import check_se
from senumpy.engines.base import Engine
from senumpy.engines.caches import ComposedCache, SqueezeCache, SqueezeExciteCache
from senumpy.engines.numba import activated, norm
from senumpy.engines.numba.activated import ActivatedCache
from senumpy.engines.numba.dense import Excitation, excitation, excitation_gradients
from senumpy.engines.numba.geometry import Array, is_channels_last
from senumpy.engines.numba.recalibration import Sizes, Within, places, product_sums, scale
from senumpy.engines.numba.runtime import NOTHING, Runtime
from senumpy.engines.numba.structure_ops import StructureOps
from senumpy.engines.numba.tail import image_means
from senumpy.ops.arrays import check_array, check_same_dtype, check_upstream
from senumpy.ops.batchnorm import check_batch_arguments
from senumpy.ops.bn_relu_se import BNReLUSEGradients
from senumpy.ops.concat import check_parts
from senumpy.ops.concat_se import ConcatSEGradients
from senumpy.ops.scale import ScaleGradients
from senumpy.ops.se_add import SEAddGradients
from senumpy.ops.squeeze import SqueezeGradients, check_operator
from senumpy.ops.squeeze_excite import SqueezeExciteGradients, SqueezeExcitePaths


class ScaleCache(NamedTuple):
    """Both factors."""

    u: Array  # rows
    s: Array
    shape: tuple[int, int, int, int]

    @property
    def sizes(self) -> Sizes:
        """Images, pixels, channels."""
        return sizes_of(self.shape)


class JoinedCache(NamedTuple):
    """What the gradient of SE on a concatenation needs."""

    parts: list[Array]  # rows
    places: list[tuple[Sizes, Within]]
    se: Excitation
    shape: tuple[int, int, int, int]


def sizes_of(shape: tuple[int, int, int, int]) -> Sizes:
    """Return images, pixels of each and channels of an activation."""
    n, c, h, w = shape
    return Sizes(n, h * w, c)


class SEOps(Engine):
    """Scale, squeeze and SE."""

    runtime: Runtime

    def scale_forward(self, u, s):
        """See `senumpy.ops.scale_forward`."""
        check_array("u", u, ("N", "C", "H", "W"))
        check_array("s", s, u.shape[:2])
        check_same_dtype(u=u, s=s)
        if u.dtype not in NOTHING:
            return Engine.scale_forward(u, s)
        rows, y = self.runtime.image_like(u)
        cache = ScaleCache(self.runtime.rows(u), s, u.shape)
        scale(self.runtime, cache.u, s, cache.sizes, rows)
        return y, cache

    def scale_backward(self, dy, cache):
        """See `senumpy.ops.scale_backward`."""
        if not isinstance(cache, ScaleCache):
            return Engine.scale_backward(dy, cache)
        check_upstream(dy, cache.shape, cache.u.dtype)
        dy_rows = self.runtime.rows(dy)
        rows, du = self.runtime.image(*cache.shape, cache.u.dtype)
        scale(self.runtime, dy_rows, cache.s, cache.sizes, rows)
        return ScaleGradients(du, product_sums(self.runtime, dy_rows, cache.u, cache.sizes))

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
        s, squeezed, excited = self._gates(u, w1, b1, w2, b2, squeeze, gate)
        y, scaled = self.scale_forward(u, s)
        return y, SqueezeExciteCache(squeezed, excited, scaled)

    def squeeze_excite_inference(self, u, w1, b1, w2, b2, *, squeeze="avg", gate="sigmoid"):
        """See `Engine.squeeze_excite_inference`."""
        s, *_ = self._gates(u, w1, b1, w2, b2, squeeze, gate)
        if u.dtype not in NOTHING or not is_channels_last(u):
            return self.scale_forward(u, s)[0]
        rows = self.runtime.rows(u)
        scale(self.runtime, rows, s, sizes_of(u.shape), rows)
        return u

    def _gates(
        self, u: Any, w1: Any, b1: Any, w2: Any, b2: Any, squeeze: str, gate: str
    ) -> tuple[Array, Any, Any]:
        """Check all arguments; return s and the caches of squeeze and excitation."""
        check_array("u", u, ("N", "C", "H", "W"))
        check_se(u, w1, b1, w2, b2, squeeze, gate)
        z, squeeze_cache = self.squeeze_forward(u, operator=squeeze)
        s, excitation_cache = self.excitation_forward(z, w1, b1, w2, b2, gate=gate)
        return s, squeeze_cache, excitation_cache

    def squeeze_excite_backward(self, dy, cache):
        """See `senumpy.ops.squeeze_excite_backward`; with the mean, both paths come in one pass."""
        scaled = cache.scale
        if isinstance(scaled, ScaleCache) and cache.squeeze.operator == "avg":
            check_upstream(dy, scaled.shape, scaled.u.dtype)
            dy_rows = self.runtime.rows(dy)
            ds = product_sums(self.runtime, dy_rows, scaled.u, scaled.sizes)
            gradients = self.excitation_backward(ds, cache.excitation)
            rows, du = self.runtime.image(*scaled.shape, dy.dtype)
            shift = gradients.dz / scaled.sizes.pixels
            scale(self.runtime, dy_rows, scaled.s, scaled.sizes, rows, shift=shift)
            return SqueezeExciteGradients(du, *gradients[1:])
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


class SEUnits(SEOps, StructureOps):
    """SE and its neighbours in one go."""

    def bn_relu_se_forward(self, c, gamma, beta, w1, b1, w2, b2, *, eps=1e-5, squeeze="avg", gate="sigmoid"):
        """See `senumpy.ops.bn_relu_se_forward`."""
        check_batch_arguments(c, gamma, beta, eps, name="c")
        check_se(c, w1, b1, w2, b2, squeeze, gate, name="c")
        se = w1, b1, w2, b2
        if c.dtype not in NOTHING:
            return Engine.bn_relu_se_forward(c, gamma, beta, *se, eps=eps, squeeze=squeeze, gate=gate)
        normed = norm.normalise(self.runtime, self.runtime.rows(c), c.shape, gamma, beta, eps)
        if squeeze == "avg" and gate != "tanh":
            y, cache = activated.forward(self.runtime, normed, se, gate)
            return norm.as_result(y, normed), cache
        v = norm.as_result(norm.transform(self.runtime, normed, relu=True), normed)
        y, se_cache = self.squeeze_excite_forward(v, *se, squeeze=squeeze, gate=gate)
        return y, ComposedCache(normed, se_cache)

    def bn_relu_se_backward(self, dy, cache):
        """See `senumpy.ops.bn_relu_se_backward`."""
        if not isinstance(cache, ActivatedCache | ComposedCache):
            return Engine.bn_relu_se_backward(dy, cache)
        normed = cache.norm
        check_upstream(dy, normed.shape, normed.x.dtype)
        if isinstance(cache, ActivatedCache):
            dc, norm_gradients, se = activated.backward(self.runtime, self.runtime.rows(dy), cache)
        else:
            dv, *se = self.squeeze_excite_backward(dy, cache.se)
            dc, *norm_gradients = norm.gradients(self.runtime, self.runtime.rows(dv), normed, relu=True)
        return BNReLUSEGradients(norm.as_result(dc, normed), *norm_gradients[:2], *se)

    def concat_se_forward(self, xs, w1, b1, w2, b2, *, squeeze="avg", gate="sigmoid"):
        """See `senumpy.ops.concat_se_forward`; it scales while it concatenates."""
        for k, x in enumerate(xs):
            check_array(f"xs[{k}]", x, ("N", "C", "H", "W"))
        check_parts(xs, 1)
        n, _, h, w = xs[0].shape
        shape = n, sum(x.shape[1] for x in xs), h, w
        check_se(xs[0], w1, b1, w2, b2, squeeze, gate, name="xs[0]", channels=shape[1])
        if xs[0].dtype not in NOTHING or squeeze != "avg":
            u, concat = self.concat_forward(xs)
            y, se = self.squeeze_excite_forward(u, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
            return y, (concat, se)
        parts = [self.runtime.rows(x) for x in xs]
        where = places(n, h * w, [x.shape[1] for x in xs])
        means = [
            image_means(self.runtime, part, *sizes) for part, (sizes, _) in zip(parts, where, strict=True)
        ]
        se = excitation(self.runtime, np.concatenate(means, axis=1), w1, b1, w2, b2, gate)
        rows, y = self.runtime.image(n, shape[1], h, w, xs[0].dtype)
        for part, (sizes, within) in zip(parts, where, strict=True):
            scale(self.runtime, part, se.s, sizes, rows, y_within=within, channels=within)
        return y, JoinedCache(parts, where, se, shape)

    def concat_se_backward(self, dy, cache):
        """See `senumpy.ops.concat_se_backward`; it scales while it cuts."""
        if not isinstance(cache, JoinedCache):
            concat, composed = cache
            du, *gradients = self.squeeze_excite_backward(dy, composed)
            return ConcatSEGradients(self.concat_backward(du, concat).dxs, *gradients)
        n, _, h, w = cache.shape
        dtype = cache.parts[0].dtype
        check_upstream(dy, cache.shape, dtype)
        dy_rows = self.runtime.rows(dy)
        ds = [
            product_sums(self.runtime, dy_rows, part, *place)
            for part, place in zip(cache.parts, cache.places, strict=True)
        ]
        dz, *gradients = excitation_gradients(self.runtime, np.concatenate(ds, axis=1), cache.se)
        shift, dxs = dz / (h * w), []
        for sizes, within in cache.places:
            rows, dx = self.runtime.image(n, sizes.c, h, w, dtype)
            scale(
                self.runtime, dy_rows, cache.se.s, sizes, rows,
                shift=shift, x_within=within, channels=within,
            )  # fmt: skip
            dxs.append(dx)
        return ConcatSEGradients(tuple(dxs), *gradients)

    def se_add_forward(self, u, w1, b1, w2, b2, shortcut, *, squeeze="avg", gate="sigmoid"):
        """See `senumpy.ops.se_add_forward`; it scales while it adds."""
        check_array("u", u, ("N", "C", "H", "W"))
        check_array("shortcut", shortcut, u.shape)
        check_same_dtype(u=u, shortcut=shortcut)
        if u.dtype not in NOTHING:
            return Engine.se_add_forward(u, w1, b1, w2, b2, shortcut, squeeze=squeeze, gate=gate)
        s, squeezed, excited = self._gates(u, w1, b1, w2, b2, squeeze, gate)
        rows, y = self.runtime.image_like(u)
        scaled = ScaleCache(self.runtime.rows(u), s, u.shape)
        scale(self.runtime, scaled.u, s, scaled.sizes, rows, addend=self.runtime.rows(shortcut))
        return y, SqueezeExciteCache(squeezed, excited, scaled)

    def se_add_backward(self, dy, cache):
        """See `senumpy.ops.se_add_backward`."""
        if not isinstance(cache, SqueezeExciteCache):
            return Engine.se_add_backward(dy, cache)
        du, dw1, db1, dw2, db2 = self.squeeze_excite_backward(dy, cache)
        return SEAddGradients(du, dw1, db1, dw2, db2, self.copied(dy))
