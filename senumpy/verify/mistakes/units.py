"""Mistakes in the two units, in both modes of batch norm: an order changed, a step forgotten."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.arrays import per_channel
from senumpy.verify.mistakes.registry import wrong_backward, wrong_forward


@wrong_forward("conv_bn_relu", "no-relu", "The ReLU at the end is missing.")
def _(x: Any, w: Any, gamma: Any, beta: Any, *, eps: float = 1e-5, **settings: Any) -> Any:
    cache = ops.conv_bn_relu_forward(x, w, gamma, beta, eps=eps, **settings)[1]
    u, _ = ops.conv2d_forward(x, w, **settings)
    return ops.batchnorm2d_forward(u, gamma, beta, eps=eps)[0], cache


@wrong_forward("conv_bn_relu", "relu-before-norm", "ReLU comes before batch norm instead of after.")
def _(x: Any, w: Any, gamma: Any, beta: Any, *, eps: float = 1e-5, **settings: Any) -> Any:
    cache = ops.conv_bn_relu_forward(x, w, gamma, beta, eps=eps, **settings)[1]
    u, _ = ops.conv2d_forward(x, w, **settings)
    return ops.batchnorm2d_forward(ops.relu_forward(u)[0], gamma, beta, eps=eps)[0], cache


@wrong_backward("conv_bn_relu", "no-relu-mask", "The gradient passes where the ReLU was off.")
def _(dy: Any, cache: Any) -> Any:
    mask = np.ones_like(cache.relu.mask)
    return ops.conv_bn_relu_backward(dy, cache._replace(relu=cache.relu._replace(mask=mask)))


@wrong_forward("conv_bn_relu_inference", "batch-statistics", "Inference takes the statistics of the batch.")
def _(x: Any, w: Any, gamma: Any, beta: Any, mean: Any, var: Any, **settings: Any) -> Any:
    y, _ = ops.conv_bn_relu_forward(x, w, gamma, beta, **settings)
    return y, ops.conv_bn_relu_inference_forward(x, w, gamma, beta, mean, var, **settings)[1]


@wrong_backward(
    "conv_bn_relu_inference", "dx-without-gamma", "The gradient is not scaled by gamma on its way back."
)
def _(dy: Any, cache: Any) -> Any:
    plain = cache._replace(norm=cache.norm._replace(gamma=np.ones_like(cache.norm.gamma)))
    dx = ops.conv_bn_relu_inference_backward(dy, plain).dx
    return ops.conv_bn_relu_inference_backward(dy, cache)._replace(dx=dx)


def _se_after_sum(total: Any, w1: Any, b1: Any, w2: Any, b2: Any, settings: dict[str, Any]) -> Any:
    if w1 is None:
        return ops.relu_forward(total)[0]
    return ops.relu_forward(ops.squeeze_excite_forward(total, w1, b1, w2, b2, **settings)[0])[0]


@wrong_forward("residual_tail", "se-after-sum", "SE acts on the sum instead of on the branch.")
def _(
    c: Any, gamma: Any, beta: Any, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any,
    *, eps: float = 1e-5, **settings: Any,
) -> Any:  # fmt: skip
    _, cache = ops.residual_tail_forward(c, gamma, beta, w1, b1, w2, b2, shortcut, eps=eps, **settings)
    v, _ = ops.batchnorm2d_forward(c, gamma, beta, eps=eps)
    return _se_after_sum(v + shortcut, w1, b1, w2, b2, settings), cache


@wrong_forward("residual_tail", "relu-before-se", "There is a ReLU between batch norm and SE.")
def _(
    c: Any, gamma: Any, beta: Any, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any,
    *, eps: float = 1e-5, **settings: Any,
) -> Any:  # fmt: skip
    _, cache = ops.residual_tail_forward(c, gamma, beta, w1, b1, w2, b2, shortcut, eps=eps, **settings)
    v = ops.relu_forward(ops.batchnorm2d_forward(c, gamma, beta, eps=eps)[0])[0]
    if w1 is not None:
        v = ops.squeeze_excite_forward(v, w1, b1, w2, b2, **settings)[0]
    return ops.relu_forward(v + shortcut)[0], cache


@wrong_forward(
    "residual_tail", "relu-before-sum", "ReLU is applied to the branch, and the shortcut added after it."
)
def _(
    c: Any, gamma: Any, beta: Any, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any,
    *, eps: float = 1e-5, **settings: Any,
) -> Any:  # fmt: skip
    arguments = (c, gamma, beta, w1, b1, w2, b2)
    branch, _ = ops.residual_tail_forward(*arguments, np.zeros_like(shortcut), eps=eps, **settings)
    return branch + shortcut, ops.residual_tail_forward(*arguments, shortcut, eps=eps, **settings)[1]


@wrong_backward(
    "residual_tail", "shortcut-unmasked", "The shortcut gets dy without the mask of the last ReLU."
)
def _(dy: Any, cache: Any) -> Any:
    return ops.residual_tail_backward(dy, cache)._replace(dshortcut=dy.copy())


@wrong_backward(
    "residual_tail", "dropped-gate-path", "The path through the gate is missing between SE and batch norm."
)
def _(dy: Any, cache: Any) -> Any:
    gradients = ops.residual_tail_backward(dy, cache)
    if cache.se is None:
        return gradients._replace(dshortcut=-gradients.dshortcut)
    du = gradients.dshortcut * per_channel(cache.se.scale.s)
    dc, dgamma, dbeta = ops.batchnorm2d_backward(du, cache.norm)
    return gradients._replace(dc=dc, dgamma=dgamma, dbeta=dbeta)


@wrong_forward("residual_tail_inference", "se-never-called", "SE is built but never called.")
def _(
    c: Any, gamma: Any, beta: Any, mean: Any, var: Any, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any,
    *, eps: float = 1e-5, **settings: Any,
) -> Any:  # fmt: skip
    statistics = (c, gamma, beta, mean, var)
    y, _ = ops.residual_tail_inference_forward(*statistics, None, None, None, None, shortcut, eps=eps)
    cache = ops.residual_tail_inference_forward(*statistics, w1, b1, w2, b2, shortcut, eps=eps, **settings)[1]
    return y, cache


@wrong_backward("residual_tail_inference", "shortcut-cut", "No gradient goes back through the shortcut.")
def _(dy: Any, cache: Any) -> Any:
    gradients = ops.residual_tail_inference_backward(dy, cache)
    return gradients._replace(dshortcut=np.zeros_like(dy))
