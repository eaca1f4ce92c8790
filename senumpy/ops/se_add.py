"""SE and the addition of the shortcut: the end of a residual unit without batch norm and ReLU there.

    y = SE(u) + shortcut

So end the pre-activation units and those of Shake-Shake. An engine may scale while it adds.
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.arrays import Array, check_array, check_same_dtype
from senumpy.ops.residual_add import ResidualAddCache, residual_add_backward, residual_add_forward
from senumpy.ops.squeeze_excite import SqueezeExciteCache, squeeze_excite_backward, squeeze_excite_forward


class SEAddCache(NamedTuple):
    """The caches of both steps."""

    se: SqueezeExciteCache
    add: ResidualAddCache


class SEAddGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    du: Array
    dw1: Array
    db1: Array | None
    dw2: Array
    db2: Array | None
    dshortcut: Array


def se_add_forward(
    u: Array,
    w1: Array,
    b1: Array | None,
    w2: Array,
    b2: Array | None,
    shortcut: Array,
    *,
    squeeze: str = "avg",
    gate: str = "sigmoid",
) -> tuple[Array, SEAddCache]:
    """Recalibrate the channels of the branch `u` and add the shortcut.

    Parameters
    ----------
    u, shortcut : (N, C, H, W) arrays, float32 or float64
    w1, b1, w2, b2 : (h, C), (h,), (C, h), (C,) arrays
    squeeze, gate
        As in `squeeze_excite_forward`.

    Returns
    -------
    y : (N, C, H, W) array
    cache : SEAddCache
    """
    check_array("u", u, ("N", "C", "H", "W"))
    check_array("shortcut", shortcut, u.shape)
    check_same_dtype(u=u, shortcut=shortcut)
    scaled, se = squeeze_excite_forward(u, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
    y, add = residual_add_forward(scaled, shortcut)
    return y, SEAddCache(se, add)


def se_add_backward(dy: Array, cache: SEAddCache) -> SEAddGradients:
    """Return the gradients of `se_add_forward` for an upstream gradient `dy` (N, C, H, W)."""
    dscaled, dshortcut = residual_add_backward(dy, cache.add)
    return SEAddGradients(*squeeze_excite_backward(dscaled, cache.se), dshortcut)
