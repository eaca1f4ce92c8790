"""Concatenation and SE: the end of an Inception module (SENet paper, fig. 2).

    u = [x_1, x_2, ..., x_k]    along channels
    y = SE(u)

One block recalibrates the channels of all branches. An engine may scale while it concatenates.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from senumpy.ops.arrays import Array, check_array, check_same_dtype
from senumpy.ops.concat import ConcatCache, concat_backward, concat_forward
from senumpy.ops.excitation import check_weights
from senumpy.ops.squeeze_excite import SqueezeExciteCache, squeeze_excite_backward, squeeze_excite_forward


class ConcatSECache(NamedTuple):
    """The caches of both steps."""

    concat: ConcatCache
    se: SqueezeExciteCache


class ConcatSEGradients(NamedTuple):
    """Gradients in the order of the forward's arguments; one a part first."""

    dxs: tuple[Array, ...]
    dw1: Array
    db1: Array | None
    dw2: Array
    db2: Array | None


def concat_se_forward(
    xs: Sequence[Array],
    w1: Array,
    b1: Array | None,
    w2: Array,
    b2: Array | None,
    *,
    squeeze: str = "avg",
    gate: str = "sigmoid",
) -> tuple[Array, ConcatSECache]:
    """Join activations along channels and recalibrate the result.

    Parameters
    ----------
    xs : sequence of (N, C_i, H, W) arrays, float32 or float64
    w1, b1, w2, b2 : (h, C), (h,), (C, h), (C,) arrays, C the sum of all C_i
    squeeze, gate
        As in `squeeze_excite_forward`.

    Returns
    -------
    y : (N, C, H, W) array
    cache : ConcatSECache
    """
    for k, x in enumerate(xs):
        check_array(f"xs[{k}]", x, ("N", "C", "H", "W"))
    u, concat = concat_forward(xs)
    check_weights(u.shape[1], w1, b1, w2, b2)
    check_same_dtype(**{"xs[0]": xs[0]}, w1=w1, b1=b1, w2=w2, b2=b2)
    y, se = squeeze_excite_forward(u, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
    return y, ConcatSECache(concat, se)


def concat_se_backward(dy: Array, cache: ConcatSECache) -> ConcatSEGradients:
    """Return the gradients of `concat_se_forward` for an upstream gradient `dy` (N, C, H, W)."""
    gradients = squeeze_excite_backward(dy, cache.se)
    return ConcatSEGradients(concat_backward(gradients.du, cache.concat).dxs, *gradients[1:])
