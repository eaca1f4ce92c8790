"""The residual tail: everything after the last convolution of a residual unit (paper, fig. 3).

    v = BN(c)
    y = relu(SE(v) + shortcut)

c is the result of the branch's last convolution. There is no ReLU between the last batch norm and SE, and SE
acts on the branch, before the sum. Without SE (w1 is None): y = relu(v + shortcut).

In batch norm's two modes. An engine may run it in one go: the squeeze follows from sums of batch norm's.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from senumpy.ops.activations import ReLUCache, relu_backward, relu_forward
from senumpy.ops.arrays import Array
from senumpy.ops.batchnorm import (
    BatchNorm2dCache,
    batchnorm2d_backward,
    batchnorm2d_forward,
    check_batch_arguments,
    check_norm_arguments,
)
from senumpy.ops.batchnorm_inference import (
    BatchNorm2dInferenceCache,
    batchnorm2d_inference_backward,
    batchnorm2d_inference_forward,
)
from senumpy.ops.residual_add import ResidualAddCache, residual_add_backward, residual_add_forward
from senumpy.ops.squeeze_excite import SqueezeExciteCache, squeeze_excite_backward, squeeze_excite_forward

SEGradients: TypeAlias = "tuple[Array | None, Array | None, Array | None, Array | None]"


class ResidualTailCache(NamedTuple):
    """The caches of the steps; `se` is None where there is no SE."""

    norm: Any  # BatchNorm2dCache, or BatchNorm2dInferenceCache
    se: SqueezeExciteCache | None
    add: ResidualAddCache
    relu: ReLUCache

    @property
    def mean(self) -> Array:
        """Mean of the batch, (C,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (C,)."""
        return self.norm.var


class ResidualTailGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    dc: Array
    dgamma: Array
    dbeta: Array
    dw1: Array | None
    db1: Array | None
    dw2: Array | None
    db2: Array | None
    dshortcut: Array


def residual_tail_forward(
    c: Array,
    gamma: Array,
    beta: Array,
    w1: Array | None,
    b1: Array | None,
    w2: Array | None,
    b2: Array | None,
    shortcut: Array,
    *,
    eps: float = 1e-5,
    squeeze: str = "avg",
    gate: str = "sigmoid",
) -> tuple[Array, ResidualTailCache]:
    """Run batch norm, SE, addition and ReLU, with the statistics of the batch.

    Parameters
    ----------
    c, shortcut : (N, C, H, W) arrays, float32 or float64
    gamma, beta : (C,) arrays
    w1, b1, w2, b2 : (h, C), (h,), (C, h), (C,) arrays
        As in `squeeze_excite_forward`; all None for a unit without SE.
    eps, squeeze, gate
        As in `batchnorm2d_forward` and `squeeze_excite_forward`.

    Returns
    -------
    y : (N, C, H, W) array
    cache : ResidualTailCache
    """
    check_batch_arguments(c, gamma, beta, eps, name="c")
    # exercise residual_tail_forward: 2 points, level 2, lesson 14 "The residual tail";
    #   given: batchnorm2d_forward, squeeze_excite_forward, residual_add_forward, relu_forward
    v, norm = batchnorm2d_forward(c, gamma, beta, eps=eps)
    return _after_norm(v, norm, w1, b1, w2, b2, shortcut, squeeze, gate)
    # end of exercise


def residual_tail_backward(dy: Array, cache: ResidualTailCache) -> ResidualTailGradients:
    """Return the gradients of `residual_tail_forward` for an upstream gradient `dy` (N, C, H, W)."""
    # exercise residual_tail_backward: 3 points, level 3, lesson 14 "The tail, backwards";
    #   given: relu_backward, residual_add_backward, squeeze_excite_backward, batchnorm2d_backward
    dv, se_gradients, dshortcut = _before_norm(dy, cache)
    return ResidualTailGradients(*batchnorm2d_backward(dv, cache.norm), *se_gradients, dshortcut)
    # end of exercise


class ResidualTailInferenceGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    dc: Array
    dgamma: Array
    dbeta: Array
    dmean: Array
    dvar: Array
    dw1: Array | None
    db1: Array | None
    dw2: Array | None
    db2: Array | None
    dshortcut: Array


def residual_tail_inference_forward(
    c: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    var: Array,
    w1: Array | None,
    b1: Array | None,
    w2: Array | None,
    b2: Array | None,
    shortcut: Array,
    *,
    eps: float = 1e-5,
    squeeze: str = "avg",
    gate: str = "sigmoid",
) -> tuple[Array, ResidualTailCache]:
    """Run the same with given (running) statistics `mean` and `var`, both (C,)."""
    check_norm_arguments(c, eps, name="c", gamma=gamma, beta=beta, mean=mean, var=var)
    v, norm = batchnorm2d_inference_forward(c, gamma, beta, mean, var, eps=eps)
    return _after_norm(v, norm, w1, b1, w2, b2, shortcut, squeeze, gate)


def residual_tail_inference_backward(dy: Array, cache: ResidualTailCache) -> ResidualTailInferenceGradients:
    """Return the gradients of `residual_tail_inference_forward` for an upstream gradient `dy`."""
    dv, se_gradients, dshortcut = _before_norm(dy, cache)
    norm_gradients = batchnorm2d_inference_backward(dv, cache.norm)
    return ResidualTailInferenceGradients(*norm_gradients, *se_gradients, dshortcut)


# exercise residual_tail_forward
def _after_norm(
    v: Array,
    norm: BatchNorm2dCache | BatchNorm2dInferenceCache,
    w1: Array | None,
    b1: Array | None,
    w2: Array | None,
    b2: Array | None,
    shortcut: Array,
    squeeze: str,
    gate: str,
) -> tuple[Array, ResidualTailCache]:
    se = None
    if w1 is not None and w2 is not None:
        v, se = squeeze_excite_forward(v, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
    elif any(a is not None for a in (w1, b1, w2, b2)):
        raise ValueError("w1, w2: got one of the SE arguments alone; wanted w1 and w2, or all four None")
    total, add = residual_add_forward(v, shortcut)
    y, relu = relu_forward(total)
    return y, ResidualTailCache(norm, se, add, relu)


# end of exercise


# exercise residual_tail_backward
def _before_norm(dy: Array, cache: ResidualTailCache) -> tuple[Array, SEGradients, Array]:
    (dtotal,) = relu_backward(dy, cache.relu)
    dv, dshortcut = residual_add_backward(dtotal, cache.add)
    if cache.se is None:
        return dv, (None, None, None, None), dshortcut
    du, dw1, db1, dw2, db2 = squeeze_excite_backward(dv, cache.se)
    return du, (dw1, db1, dw2, db2), dshortcut


# end of exercise
