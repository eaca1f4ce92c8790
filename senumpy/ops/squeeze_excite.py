"""The Squeeze-and-Excitation block (paper sec. 3, fig. 1): squeeze, excitation, scale.

    z = squeeze(u)                              eq. 2    (N, C, H, W) -> (N, C)
    s = gate(W2 relu(W1 z + b1) + b2)           eq. 3    (N, C) -> (N, C)
    y = s u                                     eq. 4    (N, C), (N, C, H, W) -> (N, C, H, W)

u reaches y twice: as the factor that is scaled, and through the gate. Its gradient is the sum of two paths.
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.arrays import Array, check_array, check_same_dtype
from senumpy.ops.excitation import (
    ExcitationCache,
    ExcitationGradients,
    check_weights,
    excitation_backward,
    excitation_forward,
)
from senumpy.ops.scale import ScaleCache, scale_backward, scale_forward
from senumpy.ops.squeeze import SqueezeCache, squeeze_backward, squeeze_forward


class SqueezeExciteCache(NamedTuple):
    """The caches of the three steps."""

    squeeze: SqueezeCache
    excitation: ExcitationCache
    scale: ScaleCache


class SqueezeExciteGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    du: Array
    dw1: Array
    db1: Array | None
    dw2: Array
    db2: Array | None


class SqueezeExcitePaths(NamedTuple):
    """The two parts of du, each (N, C, H, W)."""

    through_scale: Array
    through_gate: Array


def squeeze_excite_forward(
    u: Array,
    w1: Array,
    b1: Array | None,
    w2: Array,
    b2: Array | None,
    *,
    squeeze: str = "avg",
    gate: str = "sigmoid",
) -> tuple[Array, SqueezeExciteCache]:
    """Recalibrate the channels of `u` by gates computed from all of them.

    Parameters
    ----------
    u : (N, C, H, W) array, float32 or float64
    w1 : (h, C) array
    b1 : (h,) array or None
    w2 : (C, h) array
    b2 : (C,) array or None
    squeeze : {"avg", "max"}
    gate : {"sigmoid", "tanh", "relu"}

    Returns
    -------
    y : (N, C, H, W) array
    cache : SqueezeExciteCache
    """
    check_array("u", u, ("N", "C", "H", "W"))
    check_weights(u.shape[1], w1, b1, w2, b2)
    check_same_dtype(u=u, w1=w1, b1=b1, w2=w2, b2=b2)
    # exercise squeeze_excite_forward: 1 point, level 1, lesson 13 "The block";
    #   given: squeeze_forward, excitation_forward, scale_forward
    z, squeeze_cache = squeeze_forward(u, operator=squeeze)
    s, excitation_cache = excitation_forward(z, w1, b1, w2, b2, gate=gate)
    y, scale_cache = scale_forward(u, s)
    return y, SqueezeExciteCache(squeeze_cache, excitation_cache, scale_cache)
    # end of exercise


# y[n,c,i,j] = s[n,c](u) u[n,c,i,j], so by the product rule
#     dL/du = s dy                                 as if the gate were a constant
#           + (dz/du)^T (ds/dz)^T ds               where ds[n,c] = sum_{i,j} dy u collects all pixels
# With the average squeeze the second path is spread evenly: dz[n,c] / (H W) at each pixel. On large images it
# is small, so a loose test does not notice when it is missing.
def squeeze_excite_backward(dy: Array, cache: SqueezeExciteCache) -> SqueezeExciteGradients:
    """Return the gradients of `squeeze_excite_forward` for an upstream gradient `dy` (N, C, H, W)."""
    # exercise squeeze_excite_backward: 3 points, level 3, lesson 13 "Two paths to one input";
    #   given: scale_backward, excitation_backward, squeeze_backward
    paths, gradients = _backward(dy, cache)
    du = paths.through_scale + paths.through_gate
    return SqueezeExciteGradients(du, *gradients[1:])
    # end of exercise


def squeeze_excite_backward_paths(dy: Array, cache: SqueezeExciteCache) -> SqueezeExcitePaths:
    """Return the two parts of du, through the scale and through the gate; their sum is du."""
    return _backward(dy, cache)[0]


# exercise squeeze_excite_backward
def _backward(dy: Array, cache: SqueezeExciteCache) -> tuple[SqueezeExcitePaths, ExcitationGradients]:
    through_scale, ds = scale_backward(dy, cache.scale)
    gradients = excitation_backward(ds, cache.excitation)
    (through_gate,) = squeeze_backward(gradients.dz, cache.squeeze)
    return SqueezeExcitePaths(through_scale, through_gate), gradients


# end of exercise
