"""Batch norm, ReLU and SE in one go: y = SE(relu(BN(c))), one pass more than without SE, and none more back.

With v = relu((c - mean) a + beta), the mask m of the ReLU, and the sums K0 = sum m, K1 = sum m xhat over each
image:

    z = mean of v over the image = (gamma K1 + beta K0) / HW
    s = excitation(z), not negative (so not tanh)
    y = s v = relu((c - mean) s a + s beta)

Backward, with g = m dy and the sums G0 = sum g, G1 = sum g xhat over each image:

    ds     = sum dy v = gamma G1 + beta G0              then dz by the excitation's gradient
    dv     = m (s dy + dz / HW)                         both ways from y to v: scale, and squeeze
    dbeta  = sum_n s G0 + K0 dz / HW
    dgamma = sum_n s G1 + K1 dz / HW

and one pass writes dc by batch norm's formula.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.engines.arguments import SEWeights
from senumpy.engines.numba import norm as norms
from senumpy.engines.numba import passes
from senumpy.engines.numba.dense import Excitation, excitation, excitation_gradients
from senumpy.engines.numba.geometry import Array
from senumpy.engines.numba.norm import Norm
from senumpy.engines.numba.runtime import NOTHING, Runtime


class ActivatedCache(NamedTuple):
    """What the gradient needs."""

    norm: Norm
    opened: tuple[Array, Array]  # K0 and K1, (N, C) in float64
    se: Excitation

    @property
    def mean(self) -> Array:
        """Mean of the batch, (C,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (C,)."""
        return self.norm.var


def forward(runtime: Runtime, norm: Norm, se: SEWeights, gate: str) -> tuple[Array, ActivatedCache]:
    """Return y as rows."""
    _, pixels, c = norm.sizes
    dtype = norm.x.dtype
    opened = norms.open_sums(runtime, norm)
    z = (norm.gamma * opened[1] + norm.bias * opened[0]) / pixels
    excited = excitation(runtime, z.astype(dtype), *se, gate)
    y = runtime.empty(norm.x.size, dtype)
    vectors = norm.widen(norm.mean), norm.widen(excited.s * norm.scale), norm.widen(excited.s * norm.bias)
    runtime.run(
        passes.transform, norm.x, *norm.wide_sizes, *vectors, c * norm.wide, NOTHING[dtype], True, y
    )  # fmt: skip
    return y, ActivatedCache(norm, opened, excited)


def backward(runtime: Runtime, dy: Array, cache: ActivatedCache) -> tuple[Array, Any, Any]:
    """Return dc as rows, the gradients of batch norm's parameters, and those of SE."""
    norm, (k0, k1), se = cache
    _, pixels, _ = norm.sizes
    g0, g1 = norms.sums(runtime, dy, norm, passes.RELU)
    ds = norm.gamma * g1 + norm.bias * g0
    dz, *se_gradients = excitation_gradients(runtime, ds.astype(norm.x.dtype), se)
    inner = dz / pixels
    dbeta = (se.s * g0 + inner * k0).sum(axis=0)
    dgamma = (se.s * g1 + inner * k1).sum(axis=0)
    dc, _ = norms.pass_back(runtime, dy, norm, dgamma, dbeta, passes.RELU, factor=se.s, inner=inner)
    return dc, norms.parameter_gradients(norm, dgamma, dbeta), se_gradients
