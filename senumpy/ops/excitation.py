"""Excitation (paper sec. 3.2, eq. 3): from channel descriptors to one gate a channel.

    s = F_ex(z, W) = gate(W2 relu(W1 z + b1) + b2)

W1 (h, C) reduces to h = C/r hidden units, W2 (C, h) expands again. The gate is the sigmoid; Table 12 tries
tanh and ReLU in its place. The inner non-linearity is always a ReLU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.activations import (
    ReLUCache,
    SigmoidCache,
    TanhCache,
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from senumpy.ops.arrays import Array, check_array, check_same_dtype
from senumpy.ops.linear import LinearCache, linear_backward, linear_forward

_GATES: dict[str, tuple[Any, Any]] = {
    "sigmoid": (sigmoid_forward, sigmoid_backward),
    "tanh": (tanh_forward, tanh_backward),
    "relu": (relu_forward, relu_backward),
}


class ExcitationCache(NamedTuple):
    """The caches of the four steps, and the gate's name."""

    reduce: LinearCache
    relu: ReLUCache
    expand: LinearCache
    gate: ReLUCache | SigmoidCache | TanhCache
    gate_name: str


class ExcitationGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    dz: Array
    dw1: Array
    db1: Array | None
    dw2: Array
    db2: Array | None


def excitation_forward(
    z: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None, *, gate: str = "sigmoid"
) -> tuple[Array, ExcitationCache]:
    """Compute the gates of all channels from all descriptors.

    Parameters
    ----------
    z : (N, C) array, float32 or float64
    w1 : (h, C) array
    b1 : (h,) array or None
    w2 : (C, h) array
    b2 : (C,) array or None
    gate : {"sigmoid", "tanh", "relu"}

    Returns
    -------
    s : (N, C) array
    cache : ExcitationCache
    """
    check_gate(gate)
    check_array("z", z, ("N", "C"))
    check_weights(z.shape[1], w1, b1, w2, b2)
    check_same_dtype(z=z, w1=w1, b1=b1, w2=w2, b2=b2)

    # exercise excitation_forward: 2 points, level 2, lesson 12 "Two layers and a gate";
    #   given: linear_forward, relu_forward, sigmoid_forward, tanh_forward
    hidden, reduce_cache = linear_forward(z, w1, b1)  # (N, C) -> (N, h)
    active, relu_cache = relu_forward(hidden)
    logits, expand_cache = linear_forward(active, w2, b2)  # (N, h) -> (N, C)
    s, gate_cache = _GATES[gate][0](logits)
    return s, ExcitationCache(reduce_cache, relu_cache, expand_cache, gate_cache, gate)
    # end of exercise


# The chain rule, last step first.
def excitation_backward(dy: Array, cache: ExcitationCache) -> ExcitationGradients:
    """Return the gradients of `excitation_forward` for an upstream gradient `dy` (N, C)."""
    # exercise excitation_backward: 3 points, level 2, lesson 12 "The excitation, backwards";
    #   given: linear_backward, relu_backward, _GATES
    (dlogits,) = _GATES[cache.gate_name][1](dy, cache.gate)
    dactive, dw2, db2 = linear_backward(dlogits, cache.expand)
    (dhidden,) = relu_backward(dactive, cache.relu)
    dz, dw1, db1 = linear_backward(dhidden, cache.reduce)
    return ExcitationGradients(dz, dw1, db1, dw2, db2)
    # end of exercise


def check_gate(gate: str) -> None:
    """Raise unless there is such a gate."""
    if gate not in _GATES:
        raise ValueError(f'gate: got {gate!r}, wanted "sigmoid", "tanh" or "relu"')


def check_weights(channels: int, w1: Array, b1: Array | None, w2: Array, b2: Array | None) -> None:
    """Raise unless the weights map `channels` to a hidden width and back."""
    check_array("w1", w1, ("h", channels))
    check_array("w2", w2, (channels, w1.shape[0]))
    for name, bias, width in (("b1", b1, w1.shape[0]), ("b2", b2, channels)):
        if bias is not None:
            check_array(name, bias, (width,))
