"""The units around SE, composed of the naive operations; float64 from end to end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from senumpy.engines.naive.activation import relu_backward, relu_forward
from senumpy.engines.naive.norm import batchnorm2d_backward, batchnorm2d_forward
from senumpy.engines.naive.precision import double, doubles, rounded
from senumpy.engines.naive.squeeze_excite import squeeze_excite_backward, squeeze_excite_forward
from senumpy.engines.naive.structure import (
    concat_backward,
    concat_forward,
    residual_add_backward,
    residual_add_forward,
)
from senumpy.ops.arrays import Array
from senumpy.ops.bn_relu_se import BNReLUSEGradients
from senumpy.ops.concat_se import ConcatSEGradients
from senumpy.ops.se_add import SEAddGradients


class BNReLUSECache(NamedTuple):
    """The caches of the steps, and batch norm's statistics."""

    norm: Any
    relu: Any
    se: Any
    mean: Array
    var: Array


def bn_relu_se_forward(
    c: Array, gamma: Array, beta: Array, *se: Array | None, eps: float = 1e-5, **options: Any
) -> tuple[Array, Any]:
    """Run batch norm with the statistics of the batch, ReLU and SE; `se` is w1, b1, w2, b2."""
    normed, norm = batchnorm2d_forward(*doubles(c, gamma, beta), eps=eps)
    v, relu = relu_forward(normed)
    w1, b1, w2, b2 = doubles(*se)
    y, se_cache = squeeze_excite_forward(v, w1, b1, w2, b2, **options)
    return y.astype(c.dtype), BNReLUSECache(norm, relu, se_cache, *rounded((norm.mean, norm.var), c))


def bn_relu_se_backward(dy: Array, cache: Any) -> BNReLUSEGradients:
    """Return the gradients for an upstream gradient `dy` (N, C, H, W)."""
    dv, *dse = squeeze_excite_backward(double(dy), cache.se)
    dnorm = batchnorm2d_backward(relu_backward(dv, cache.relu).dx, cache.norm)
    return BNReLUSEGradients(*rounded((*dnorm, *dse), dy))


def concat_se_forward(xs: Sequence[Array], *se: Array | None, **options: Any) -> tuple[Array, Any]:
    """Concatenate channels and run SE."""
    u, concat = concat_forward(doubles(*xs))
    w1, b1, w2, b2 = doubles(*se)
    y, se_cache = squeeze_excite_forward(u, w1, b1, w2, b2, **options)
    return y.astype(xs[0].dtype), (concat, se_cache)


def concat_se_backward(dy: Array, cache: Any) -> ConcatSEGradients:
    """Return the gradients for an upstream gradient `dy` (N, C, H, W)."""
    concat, se_cache = cache
    du, *dse = squeeze_excite_backward(double(dy), se_cache)
    return ConcatSEGradients(rounded(concat_backward(du, concat).dxs, dy), *rounded(tuple(dse), dy))


def se_add_forward(
    u: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None, shortcut: Array, **options: Any
) -> tuple[Array, Any]:
    """Run SE and add the shortcut."""
    scaled, se_cache = squeeze_excite_forward(*doubles(u, w1, b1, w2, b2), **options)
    y, add = residual_add_forward(scaled, double(shortcut))
    return y.astype(u.dtype), (se_cache, add)


def se_add_backward(dy: Array, cache: Any) -> SEAddGradients:
    """Return the gradients for an upstream gradient `dy` (N, C, H, W)."""
    se_cache, add = cache
    dscaled, dshortcut = residual_add_backward(double(dy), add)
    return SEAddGradients(*rounded((*squeeze_excite_backward(dscaled, se_cache), dshortcut), dy))
