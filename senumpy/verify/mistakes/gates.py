"""Conventions of the gate: biases, the inner ReLU, squeeze, the gate's function; in the block and in units.

Every variant below is a wrong SE block; each unit that holds one is wrong in the same way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.arrays import per_channel
from senumpy.verify.mistakes.activations import hard_sigmoid
from senumpy.verify.mistakes.registry import library, wrong_backward, wrong_forward, wrong_gradients

_GATES: dict[str, Callable[[Any], Any]] = {
    "sigmoid": lambda a: ops.sigmoid_forward(a)[0],
    "tanh": lambda a: ops.tanh_forward(a)[0],
    "relu": lambda a: ops.relu_forward(a)[0],
}


def _excite(z: Any, w1: Any, b1: Any, w2: Any, b2: Any, gate: str = "sigmoid", variant: str = "") -> Any:
    """Return the gates (N, C) of a wrong excitation."""
    b1 = None if variant in ("first-bias-forgotten", "no-biases") else b1
    b2 = None if variant in ("second-bias-forgotten", "no-biases") else b2
    hidden = ops.linear_forward(z, w1, b1)[0]
    active = hidden if variant == "no-inner-relu" else ops.relu_forward(hidden)[0]
    logits = ops.linear_forward(active, w2, b2)[0]
    if variant == "gate-forgotten":
        return logits
    if variant == "hard-sigmoid" and gate == "sigmoid":
        return hard_sigmoid(logits)
    if variant == "softmax-gate":
        powers = np.exp(logits - logits.real.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)
    return _GATES["sigmoid" if variant == "always-sigmoid" else gate](logits)


def _block(
    u: Any, w1: Any, b1: Any, w2: Any, b2: Any, *, squeeze: str = "avg", gate: str = "sigmoid", variant: str
) -> Any:
    """Return the result of a wrong SE block."""
    if variant == "squeeze-summed" and squeeze == "avg":
        z = u.sum((2, 3))
    elif variant == "operator-ignored":
        z = u.mean((2, 3))
    else:
        z = ops.squeeze_forward(u, operator=squeeze)[0]
    s = _excite(z, w1, b1, w2, b2, gate, variant)
    return u * per_channel(1.0 + s if variant == "one-plus-s" else s)


_VARIANTS = {
    "no-inner-relu": "The ReLU between SE's two linear layers is missing.",
    "no-biases": "SE's biases are left out; the paper's code and PyTorch's have both.",
    "first-bias-forgotten": "SE's first bias, of the hidden layer, is left out.",
    "second-bias-forgotten": "SE's second bias, before the gate, is left out.",
    "gate-forgotten": "SE scales by the logits: the gate's function is not applied.",
    "hard-sigmoid": "SE's gate is the hard sigmoid, relu6(x + 3) / 6, that of MobileNetV3.",
    "softmax-gate": "SE's gate is a softmax over the channels.",
    "always-sigmoid": "SE's gate is a sigmoid whatever was asked for.",
    "one-plus-s": "SE scales by 1 + s: a residual gate that the paper doesn't have.",
    "squeeze-summed": "SE's squeeze sums over the pixels instead of averaging.",
    "operator-ignored": "SE's squeeze is the average whatever was asked for.",
}


def _register_excitation(variant: str, explanation: str) -> None:
    @wrong_forward("excitation", variant, explanation)
    def _(z: Any, w1: Any, b1: Any, w2: Any, b2: Any, *, gate: str = "sigmoid") -> Any:
        cache = ops.excitation_forward(z, w1, b1, w2, b2, gate=gate)[1]
        return _excite(z, w1, b1, w2, b2, gate, variant), cache


def _register_unit(op: str, variant: str, explanation: str) -> None:
    """Register the wrong block in one operation; `around` has a block of it and the unit's other parts."""

    @wrong_forward(op, variant, explanation)
    def _(*args: Any, **options: Any) -> Any:
        def block(u: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
            settings = {name: options[name] for name in ("squeeze", "gate") if name in options}
            return _block(u, w1, b1, w2, b2, **settings, variant=variant)

        norm = {name: options[name] for name in ("eps",) if name in options}
        return _UNITS[op](block, *args, **norm), library(op, "forward")(*args, **options)[1]


def _bn_relu_se(block: Any, c: Any, gamma: Any, beta: Any, *se: Any, **norm: Any) -> Any:
    return block(ops.relu_forward(ops.batchnorm2d_forward(c, gamma, beta, **norm)[0])[0], *se)


def _residual_tail(block: Any, c: Any, gamma: Any, beta: Any, *rest: Any, **norm: Any) -> Any:
    *se, shortcut = rest
    v = ops.batchnorm2d_forward(c, gamma, beta, **norm)[0]
    return ops.relu_forward((v if se[0] is None else block(v, *se)) + shortcut)[0]


def _residual_tail_inference(block: Any, c: Any, *rest: Any, **norm: Any) -> Any:
    *statistics, w1, b1, w2, b2, shortcut = rest
    v = ops.batchnorm2d_inference_forward(c, *statistics, **norm)[0]
    return ops.relu_forward((v if w1 is None else block(v, w1, b1, w2, b2)) + shortcut)[0]


_UNITS: dict[str, Callable[..., Any]] = {
    "squeeze_excite": lambda block, *args: block(*args),
    "se_add": lambda block, *args: block(*args[:-1]) + args[-1],
    "concat_se": lambda block, xs, *se: block(np.concatenate(xs, axis=1), *se),
    "bn_relu_se": _bn_relu_se,
    "residual_tail": _residual_tail,
    "residual_tail_inference": _residual_tail_inference,
}

_OF_THE_EXCITATION = tuple(_VARIANTS)[:7]
for _variant in _OF_THE_EXCITATION:
    if _variant not in ("no-inner-relu", "no-biases"):  # these stand with the block's other mistakes
        _register_excitation(_variant, _VARIANTS[_variant])
for _op in _UNITS:
    for _variant, _explanation in _VARIANTS.items():
        _register_unit(_op, _variant, _explanation)


for _op in ("excitation", "squeeze_excite"):
    for _weight in ("dw1", "dw2", "db1", "db2"):
        if (_op, _weight) == ("excitation", "dw1"):
            continue

        @wrong_gradients(
            _op, f"{_weight}-averaged", f"{_weight} is averaged over the batch; the mean belongs to the loss."
        )
        def _(gradients: Any, dy: Any, cache: Any, _weight: str = _weight) -> Any:
            value = getattr(gradients, _weight)
            return gradients._replace(**{_weight: None if value is None else value / dy.shape[0]})


@wrong_backward("squeeze_excite", "no-gate-derivative", "The gate's derivative is left out of the chain.")
def _(dy: Any, cache: Any) -> Any:
    through_scale, ds = ops.scale_backward(dy, cache.scale)
    dactive, dw2, db2 = ops.linear_backward(ds, cache.excitation.expand)
    dhidden = ops.relu_backward(dactive, cache.excitation.relu).dx
    dz, dw1, db1 = ops.linear_backward(dhidden, cache.excitation.reduce)
    du = through_scale + ops.squeeze_backward(dz, cache.squeeze).du
    return ops.squeeze_excite_backward(dy, cache)._replace(du=du, dw1=dw1, db1=db1, dw2=dw2, db2=db2)


@wrong_backward("squeeze_excite", "no-relu-mask", "The gradient passes hidden units that were off.")
def _(dy: Any, cache: Any) -> Any:
    inner = cache.excitation
    mask = np.ones_like(inner.relu.mask)
    return ops.squeeze_excite_backward(
        dy, cache._replace(excitation=inner._replace(relu=inner.relu._replace(mask=mask)))
    )


@wrong_backward("se_add", "dropped-gate-path", "The path through the gate is missing.")
def _(dy: Any, cache: Any) -> Any:
    paths = ops.squeeze_excite_backward_paths(dy, cache.se)
    return ops.se_add_backward(dy, cache)._replace(du=paths.through_scale)


@wrong_forward("se_add", "shortcut-forgotten", "The shortcut is not added.")
def _(u: Any, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Any, **settings: Any) -> Any:
    y, _ = ops.squeeze_excite_forward(u, w1, b1, w2, b2, **settings)
    return y, ops.se_add_forward(u, w1, b1, w2, b2, shortcut, **settings)[1]


@wrong_forward("bn_relu_se", "no-relu", "The ReLU between batch norm and SE is missing.")
def _(c: Any, gamma: Any, beta: Any, *se: Any, eps: float = 1e-5, **settings: Any) -> Any:
    _, cache = ops.bn_relu_se_forward(c, gamma, beta, *se, eps=eps, **settings)
    normed, _ = ops.batchnorm2d_forward(c, gamma, beta, eps=eps)
    return ops.squeeze_excite_forward(normed, *se, **settings)[0], cache


@wrong_forward("squeeze", "summed", "The squeeze sums over the pixels instead of averaging.")
def _(u: Any, *, operator: str = "avg") -> Any:
    z, cache = ops.squeeze_forward(u, operator=operator)
    return (u.sum((2, 3)) if operator == "avg" else z), cache


@wrong_forward("scale", "sigmoid-again", "The gates pass a sigmoid although they did already.")
def _(u: Any, s: Any) -> Any:
    return u * per_channel(ops.sigmoid_forward(s)[0]), ops.scale_forward(u, s)[1]


@wrong_forward("scale", "added", "The gates are added to u instead of multiplied.")
def _(u: Any, s: Any) -> Any:
    return u + per_channel(s), ops.scale_forward(u, s)[1]


@wrong_forward("residual_add", "averaged", "The two terms are averaged instead of added.")
def _(branch: Any, shortcut: Any) -> Any:
    y, cache = ops.residual_add_forward(branch, shortcut)
    return y / 2.0, cache


@wrong_forward("residual_tail", "no-last-relu", "The ReLU after the sum is missing.")
def _(*args: Any, eps: float = 1e-5, **settings: Any) -> Any:
    c, gamma, beta, *se, shortcut = args
    v = ops.batchnorm2d_forward(c, gamma, beta, eps=eps)[0]
    v = v if se[0] is None else ops.squeeze_excite_forward(v, *se, **settings)[0]
    return v + shortcut, ops.residual_tail_forward(*args, eps=eps, **settings)[1]


@wrong_forward("residual_tail", "shortcut-forgotten", "The shortcut is not added.")
def _(*args: Any, **options: Any) -> Any:
    *branch, shortcut = args
    branch.append(np.zeros_like(shortcut))
    y, _ = library("residual_tail", "forward")(*branch, **options)
    return y, ops.residual_tail_forward(*args, **options)[1]
