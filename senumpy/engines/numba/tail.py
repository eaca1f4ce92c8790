"""The residual tail in one pass each way: y = relu(SE(BN(c)) + shortcut), with SE's cost next to nothing.

The squeeze needs no pass of its own, because batch norm is affine: with the mean m[n] of image n's channel,
a = gamma / sqrt(var + eps) and v = (c - mean) a + beta,

    z[n] = mean of v over the image = (m[n] - mean) a + beta
    s    = excitation(z)
    y    = relu((c - mean) s a + s beta + shortcut)

Backward, with g = dy where y > 0, and sums over an image G0 = sum g, G1 = sum g xhat:

    ds     = sum g v = gamma G1 + beta G0               then dz by the excitation's gradient
    dv     = s g + dz / HW                              both ways from y to v: scale, and squeeze
    dbeta  = sum_n s G0 + dz
    dgamma = sum_n s G1 + dz (m[n] - mean) / sqrt(var + eps)

and one pass writes dc by batch norm's formula, and the shortcut's gradient g.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.arguments import SEWeights
from senumpy.engines.numba import norm as norms
from senumpy.engines.numba import passes
from senumpy.engines.numba.dense import Excitation, excitation, excitation_gradients
from senumpy.engines.numba.geometry import Array
from senumpy.engines.numba.norm import Norm
from senumpy.engines.numba.runtime import Runtime


class TailCache(NamedTuple):
    """What the gradient of the tail needs."""

    norm: Norm
    image_mean: Array | None  # (N, C) of c, where there is SE
    se: Excitation | None
    y: Array  # rows

    @property
    def mean(self) -> Array:
        """Mean of the batch, (C,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (C,)."""
        return self.norm.var


def forward(
    runtime: Runtime, norm: Norm, se: SEWeights | None, gate: str, shortcut: Array
) -> tuple[Array, TailCache]:
    """Return y as rows; `norm` holds c, `shortcut` is rows."""
    n, rows, c = norm.sizes
    dtype = norm.x.dtype
    y = runtime.empty(norm.x.size, dtype)
    excited = image_mean = None
    scale, bias, step = norm.scale, norm.bias, 0
    if se is not None:
        image_mean = norm.image_mean if norm.image_mean.size else image_means(runtime, norm.x, n, rows, c)
        xhat_mean = (image_mean - norm.mean) * norm.rstd
        excited = excitation(runtime, (xhat_mean * norm.gamma + norm.bias).astype(dtype), *se, gate)
        scale, bias, step = excited.s * norm.scale, excited.s * norm.bias, c * norm.wide
    vectors = norm.widen(norm.mean), norm.widen(scale), norm.widen(bias)
    runtime.run(passes.transform, norm.x, *norm.wide_sizes, *vectors, step, shortcut, True, y)
    return y, TailCache(norm, image_mean, excited, y)


def backward(runtime: Runtime, dy: Array, cache: TailCache) -> tuple[Array, Array, Any, Any]:
    """Return dc and dshortcut as rows, the gradients of batch norm's parameters, and those of SE."""
    norm, se = cache.norm, cache.se
    _, rows, _ = norm.sizes
    gate = passes.RELU_BY_RESULT
    g0, g1 = norms.sums(runtime, dy, norm, gate, cache.y)
    if se is None or cache.image_mean is None:
        dbeta, dgamma = g0.sum(axis=0), g1.sum(axis=0)
        dc, dshortcut = norms.pass_back(runtime, dy, norm, dgamma, dbeta, gate, cache.y)
        return dc, dshortcut, norms.parameter_gradients(norm, dgamma, dbeta), (None,) * 4
    ds = norm.gamma * g1 + norm.bias * g0
    dz, *se_gradients = excitation_gradients(runtime, ds.astype(norm.x.dtype), se)
    xhat_mean = (cache.image_mean - norm.mean) * norm.rstd
    dbeta = (se.s * g0 + dz).sum(axis=0)
    dgamma = (se.s * g1 + dz * xhat_mean).sum(axis=0)
    dc, dshortcut = norms.pass_back(runtime, dy, norm, dgamma, dbeta, gate, cache.y, se.s, dz / rows)
    return dc, dshortcut, norms.parameter_gradients(norm, dgamma, dbeta), se_gradients


def image_means(runtime: Runtime, x: Array, n: int, rows: int, c: int) -> Array:
    """Return the mean of each image's channels, (N, C), in the dtype of x."""
    wide = passes.pixels_a_row(c, rows)
    rows, c = rows // wide, c * wide
    mean = np.empty((n, c), x.dtype)
    sums = runtime.empty(n * -(-rows // passes.BLOCK_ROWS) * c, x.dtype)
    runtime.run(passes.means, x, n, rows, c, sums, mean.reshape(-1))
    return mean if wide == 1 else mean.reshape(n, wide, c // wide).mean(axis=1)
