"""Mistakes in squeeze, excitation, scale, and the block that they make."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.arrays import per_channel
from senumpy.verify.mistakes.registry import wrong_backward, wrong_forward, wrong_gradients


@wrong_forward("squeeze", "operator-ignored", "The average is taken whatever the operator.")
def _(u: Any, *, operator: str = "avg") -> Any:
    return ops.squeeze_forward(u)


@wrong_forward("squeeze", "over-channels", "The mean runs over the channels too.")
def _(u: Any, *, operator: str = "avg") -> Any:
    z, cache = ops.squeeze_forward(u, operator=operator)
    return np.broadcast_to(u.mean((1, 2, 3))[:, None], z.shape).copy(), cache


@wrong_gradients("squeeze", "not-divided", "du lacks 1 / (H W).")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(du=gradients.du * gradients.du[0, 0].size)


@wrong_gradients("squeeze", "divided-twice", "du is divided by H W twice.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(du=gradients.du / gradients.du[0, 0].size)


@wrong_forward("excitation", "no-inner-relu", "The ReLU between the two linear layers is missing.")
def _(z: Any, w1: Any, b1: Any, w2: Any, b2: Any, *, gate: str = "sigmoid") -> Any:
    cache = ops.excitation_forward(z, w1, b1, w2, b2, gate=gate)[1]
    hidden = ops.linear_forward(z, w1, b1)[0]
    logits = ops.linear_forward(hidden, w2, b2)[0]
    apply = {"sigmoid": ops.sigmoid_forward, "tanh": ops.tanh_forward, "relu": ops.relu_forward}[gate]
    return apply(logits)[0], cache


@wrong_forward("excitation", "always-sigmoid", "The gate is a sigmoid whatever was asked for.")
def _(z: Any, w1: Any, b1: Any, w2: Any, b2: Any, *, gate: str = "sigmoid") -> Any:
    return ops.excitation_forward(z, w1, b1, w2, b2)


@wrong_forward("excitation", "no-biases", "The biases are left out.")
def _(z: Any, w1: Any, b1: Any, w2: Any, b2: Any, *, gate: str = "sigmoid") -> Any:
    s, _ = ops.excitation_forward(z, w1, None, w2, None, gate=gate)
    return s, ops.excitation_forward(z, w1, b1, w2, b2, gate=gate)[1]


@wrong_backward("excitation", "no-gate-derivative", "The gate's derivative is left out of the chain.")
def _(dy: Any, cache: Any) -> Any:
    dactive, dw2, db2 = ops.linear_backward(dy, cache.expand)
    dz, dw1, db1 = ops.linear_backward(ops.relu_backward(dactive, cache.relu).dx, cache.reduce)
    return ops.excitation_backward(dy, cache)._replace(dz=dz, dw1=dw1, db1=db1, dw2=dw2, db2=db2)


@wrong_backward("excitation", "no-relu-mask", "The gradient passes hidden units that were off.")
def _(dy: Any, cache: Any) -> Any:
    open_cache = cache._replace(relu=cache.relu._replace(mask=np.ones_like(cache.relu.mask)))
    return ops.excitation_backward(dy, open_cache)


@wrong_gradients("excitation", "dw1-averaged", "dw1 is averaged over the batch instead of summed.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dw1=gradients.dw1 / dy.shape[0])


@wrong_forward("scale", "one-plus-s", "The result is u (1 + s): a residual gate that the paper doesn't have.")
def _(u: Any, s: Any) -> Any:
    return u * per_channel(1.0 + s), ops.scale_forward(u, s)[1]


@wrong_backward("scale", "ds-averaged", "ds is averaged over the pixels instead of summed.")
def _(dy: Any, cache: Any) -> Any:
    return ops.scale_backward(dy, cache)._replace(ds=(dy * cache.u).mean((2, 3)))


@wrong_backward("scale", "ds-without-u", "ds lacks the factor u.")
def _(dy: Any, cache: Any) -> Any:
    return ops.scale_backward(dy, cache)._replace(ds=dy.sum((2, 3)))


@wrong_backward("scale", "du-unscaled", "du lacks the factor s.")
def _(dy: Any, cache: Any) -> Any:
    return ops.scale_backward(dy, cache)._replace(du=dy.copy())


@wrong_backward(
    "scale", "overwrites-cache", "The cached u is multiplied in place: a second backward sees another."
)
def _(dy: Any, cache: Any) -> Any:
    gradients = ops.scale_backward(dy, cache)
    np.multiply(cache.u, dy, out=cache.u)
    return gradients


@wrong_forward("squeeze_excite", "never-called", "The block is built but never called: u passes unchanged.")
def _(u: Any, w1: Any, b1: Any, w2: Any, b2: Any, **settings: Any) -> Any:
    return u.copy(), ops.squeeze_excite_forward(u, w1, b1, w2, b2, **settings)[1]


@wrong_forward("squeeze_excite", "gate-twice", "The gate is applied twice: y = s^2 u.")
def _(u: Any, w1: Any, b1: Any, w2: Any, b2: Any, **settings: Any) -> Any:
    y, cache = ops.squeeze_excite_forward(u, w1, b1, w2, b2, **settings)
    return y * per_channel(cache.scale.s), cache


@wrong_forward(
    "squeeze_excite", "gate-of-the-batch", "One gate for the whole batch: the squeeze averages images too."
)
def _(u: Any, w1: Any, b1: Any, w2: Any, b2: Any, **settings: Any) -> Any:
    _, cache = ops.squeeze_excite_forward(u, w1, b1, w2, b2, **settings)
    return u * per_channel(cache.scale.s.mean(0, keepdims=True)), cache


@wrong_backward(
    "squeeze_excite", "dropped-gate-path", "du lacks the path through the gate: it is dy s alone."
)
def _(dy: Any, cache: Any) -> Any:
    paths = ops.squeeze_excite_backward_paths(dy, cache)
    return ops.squeeze_excite_backward(dy, cache)._replace(du=paths.through_scale)


@wrong_backward("squeeze_excite", "dropped-scale-path", "du lacks the path through the scale.")
def _(dy: Any, cache: Any) -> Any:
    paths = ops.squeeze_excite_backward_paths(dy, cache)
    return ops.squeeze_excite_backward(dy, cache)._replace(du=paths.through_gate)


@wrong_backward("squeeze_excite", "gate-path-not-divided", "The path through the gate lacks 1 / (H W).")
def _(dy: Any, cache: Any) -> Any:
    scale, gate = ops.squeeze_excite_backward_paths(dy, cache)
    return ops.squeeze_excite_backward(dy, cache)._replace(du=scale + gate * dy[0, 0].size)


@wrong_backward(
    "squeeze_excite", "gate-path-divided-twice", "The path through the gate is divided by H W twice."
)
def _(dy: Any, cache: Any) -> Any:
    scale, gate = ops.squeeze_excite_backward_paths(dy, cache)
    return ops.squeeze_excite_backward(dy, cache)._replace(du=scale + gate / dy[0, 0].size)


@wrong_backward(
    "squeeze_excite", "gate-path-divided-by-n", "The path through the gate is divided by N as well."
)
def _(dy: Any, cache: Any) -> Any:
    scale, gate = ops.squeeze_excite_backward_paths(dy, cache)
    return ops.squeeze_excite_backward(dy, cache)._replace(du=scale + gate / dy.shape[0])


@wrong_gradients(
    "squeeze_excite", "weights-without-sum", "The weights' gradients see the mean over pixels, not the sum."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    area = dy[0, 0].size
    return gradients._replace(dw1=gradients.dw1 / area, dw2=gradients.dw2 / area)
