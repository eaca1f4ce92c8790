"""Batch norm, ReLU and SE: what follows a convolution where there is no shortcut (VGG, MobileNet).

    v = relu(BN(c))
    y = SE(v)

c is the result of the convolution. As in the residual tail, the composition below is the definition; an
engine may run it in one go, for SE's gradient needs no pass over the pixels that batch norm's doesn't take.
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.activations import ReLUCache, relu_backward, relu_forward
from senumpy.ops.arrays import Array
from senumpy.ops.batchnorm import (
    BatchNorm2dCache,
    batchnorm2d_backward,
    batchnorm2d_forward,
    check_batch_arguments,
)
from senumpy.ops.squeeze_excite import SqueezeExciteCache, squeeze_excite_backward, squeeze_excite_forward


class BNReLUSECache(NamedTuple):
    """The caches of the three steps."""

    norm: BatchNorm2dCache
    relu: ReLUCache
    se: SqueezeExciteCache

    @property
    def mean(self) -> Array:
        """Mean of the batch, (C,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (C,)."""
        return self.norm.var


class BNReLUSEGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    dc: Array
    dgamma: Array
    dbeta: Array
    dw1: Array
    db1: Array | None
    dw2: Array
    db2: Array | None


def bn_relu_se_forward(
    c: Array,
    gamma: Array,
    beta: Array,
    w1: Array,
    b1: Array | None,
    w2: Array,
    b2: Array | None,
    *,
    eps: float = 1e-5,
    squeeze: str = "avg",
    gate: str = "sigmoid",
) -> tuple[Array, BNReLUSECache]:
    """Run batch norm with the statistics of the batch, ReLU and SE.

    Parameters
    ----------
    c : (N, C, H, W) array, float32 or float64
    gamma, beta : (C,) arrays
    w1, b1, w2, b2 : (h, C), (h,), (C, h), (C,) arrays
        As in `squeeze_excite_forward`.
    eps, squeeze, gate
        As in `batchnorm2d_forward` and `squeeze_excite_forward`.

    Returns
    -------
    y : (N, C, H, W) array
    cache : BNReLUSECache
    """
    check_batch_arguments(c, gamma, beta, eps, name="c")
    normed, norm = batchnorm2d_forward(c, gamma, beta, eps=eps)
    v, relu = relu_forward(normed)
    y, se = squeeze_excite_forward(v, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
    return y, BNReLUSECache(norm, relu, se)


# SE's two paths meet before the ReLU: what comes back through the squeeze, dz / (H W) at each pixel, is
# masked like the rest.
def bn_relu_se_backward(dy: Array, cache: BNReLUSECache) -> BNReLUSEGradients:
    """Return the gradients of `bn_relu_se_forward` for an upstream gradient `dy` (N, C, H, W)."""
    gradients = squeeze_excite_backward(dy, cache.se)
    (dnormed,) = relu_backward(gradients.du, cache.relu)
    dc, dgamma, dbeta = batchnorm2d_backward(dnormed, cache.norm)
    return BNReLUSEGradients(dc, dgamma, dbeta, *gradients[1:])
