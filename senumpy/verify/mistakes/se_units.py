"""Mistakes in the units around SE: a path forgotten, a mask forgotten, an order changed."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.arrays import per_channel
from senumpy.verify.mistakes.registry import wrong_backward, wrong_forward


@wrong_forward("bn_relu_se", "se-before-relu", "SE comes before the ReLU instead of after.")
def _(c: Any, gamma: Any, beta: Any, *se: Any, eps: float = 1e-5, **settings: Any) -> Any:
    _, cache = ops.bn_relu_se_forward(c, gamma, beta, *se, eps=eps, **settings)
    normed, _ = ops.batchnorm2d_forward(c, gamma, beta, eps=eps)
    return ops.relu_forward(ops.squeeze_excite_forward(normed, *se, **settings)[0])[0], cache


@wrong_backward("bn_relu_se", "squeeze-unmasked", "What comes back through the squeeze passes a closed ReLU.")
def _(dy: Any, cache: Any) -> Any:
    gradients = ops.bn_relu_se_backward(dy, cache)
    through_scale, through_gate = ops.squeeze_excite_backward_paths(dy, cache.se)
    du = ops.relu_backward(through_scale, cache.relu).dx + through_gate
    dc, dgamma, dbeta = ops.batchnorm2d_backward(du, cache.norm)
    return gradients._replace(dc=dc, dgamma=dgamma, dbeta=dbeta)


@wrong_backward("bn_relu_se", "dropped-gate-path", "The path through the gate is missing.")
def _(dy: Any, cache: Any) -> Any:
    gradients = ops.bn_relu_se_backward(dy, cache)
    dv = dy * per_channel(cache.se.scale.s)
    dc, dgamma, dbeta = ops.batchnorm2d_backward(ops.relu_backward(dv, cache.relu).dx, cache.norm)
    return gradients._replace(dc=dc, dgamma=dgamma, dbeta=dbeta)


@wrong_forward("concat_se", "reversed", "The branches are joined in reverse order.")
def _(xs: Any, *se: Any, **settings: Any) -> Any:
    _, cache = ops.concat_se_forward(xs, *se, **settings)
    return ops.concat_se_forward(xs[::-1], *se, **settings)[0], cache


@wrong_backward("concat_se", "dropped-gate-path", "The path through the gate is missing.")
def _(dy: Any, cache: Any) -> Any:
    through_scale, _ = ops.squeeze_excite_backward_paths(dy, cache.se)
    dxs = ops.concat_backward(through_scale, cache.concat).dxs
    return ops.concat_se_backward(dy, cache)._replace(dxs=dxs)


@wrong_forward("se_add", "se-after-sum", "SE acts on the sum instead of on the branch.")
def _(u: Any, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any, **settings: Any) -> Any:
    _, cache = ops.se_add_forward(u, w1, b1, w2, b2, shortcut, **settings)
    return ops.squeeze_excite_forward(u + shortcut, w1, b1, w2, b2, **settings)[0], cache


@wrong_backward("se_add", "shortcut-scaled", "The shortcut's gradient is scaled by the gate, too.")
def _(dy: Any, cache: Any) -> Any:
    return ops.se_add_backward(dy, cache)._replace(dshortcut=dy * per_channel(cache.se.scale.s))


@wrong_backward("se_add", "shortcut-cut", "No gradient goes back through the shortcut.")
def _(dy: Any, cache: Any) -> Any:
    return ops.se_add_backward(dy, cache)._replace(dshortcut=np.zeros_like(dy))
