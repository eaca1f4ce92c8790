"""Squeeze, excitation, scale, and the three composed (paper eq. 2, 3, 4)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.naive.activation import relu, relu_slope, sigmoid, sigmoid_slope, tanh_slope
from senumpy.engines.naive.pool import (
    global_avg_pool_backward,
    global_avg_pool_forward,
    global_max_pool_backward,
    global_max_pool_forward,
)
from senumpy.engines.naive.precision import double, doubles, rounded
from senumpy.ops.arrays import Array
from senumpy.ops.excitation import ExcitationGradients
from senumpy.ops.scale import ScaleGradients
from senumpy.ops.squeeze import SqueezeGradients
from senumpy.ops.squeeze_excite import SqueezeExciteGradients, SqueezeExcitePaths

GATES = {"sigmoid": (sigmoid, sigmoid_slope), "tanh": (math.tanh, tanh_slope), "relu": (relu, relu_slope)}


class SqueezeCache(NamedTuple):
    """The operator and the cache of its pool."""

    operator: str
    pool: Any


def squeeze_forward(u: Array, *, operator: str = "avg") -> tuple[Array, Any]:
    """Describe each channel of `u` (N, C, H, W) by its average or its maximum: (N, C)."""
    z, pool = global_avg_pool_forward(u) if operator == "avg" else global_max_pool_forward(u)
    return z, SqueezeCache(operator, pool)


def squeeze_backward(dy: Array, cache: Any) -> SqueezeGradients:
    """Return the gradient for an upstream gradient `dy` (N, C)."""
    backward = global_avg_pool_backward if cache.operator == "avg" else global_max_pool_backward
    return SqueezeGradients(backward(dy, cache.pool)[0])


class ExcitationCache(NamedTuple):
    """The arguments, and what goes into the two non-linearities, in float64."""

    z: Array
    w1: Array
    b1: Array | None
    w2: Array
    b2: Array | None
    gate: str
    hidden: Array
    logits: Array


def excitation_forward(
    z: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None, *, gate: str = "sigmoid"
) -> tuple[Array, Any]:
    """Compute the gates s[n] = gate(w2 relu(w1 z[n] + b1) + b2), sample by sample: (N, C)."""
    z64, w1_, b1_, w2_, b2_ = doubles(z, w1, b1, w2, b2)
    (N, C), h = z.shape, w1.shape[0]
    hidden, logits, s = np.zeros((N, h)), np.zeros((N, C)), np.zeros((N, C))
    for n in range(N):
        for k in range(h):
            hidden[n, k] = 0.0 if b1 is None else b1_[k]
            for c in range(C):
                hidden[n, k] += w1_[k, c] * z64[n, c]
        for c in range(C):
            logits[n, c] = 0.0 if b2 is None else b2_[c]
            for k in range(h):
                logits[n, c] += w2_[c, k] * relu(hidden[n, k])
            s[n, c] = GATES[gate][0](logits[n, c])
    return s.astype(z.dtype), ExcitationCache(z, w1, b1, w2, b2, gate, hidden, logits)


def excitation_backward(dy: Array, cache: Any) -> ExcitationGradients:
    """Return the gradients for an upstream gradient `dy` (N, C)."""
    z, w1, _, w2, _ = doubles(*cache[:5])
    dz, dw1, dw2, dy64 = np.zeros(z.shape), np.zeros(w1.shape), np.zeros(w2.shape), double(dy)
    db1 = None if cache.b1 is None else np.zeros(cache.b1.shape)
    db2 = None if cache.b2 is None else np.zeros(cache.b2.shape)
    for n in range(z.shape[0]):
        dactive = np.zeros(w1.shape[0])
        for c in range(z.shape[1]):
            dlogit = dy64[n, c] * GATES[cache.gate][1](cache.logits[n, c])
            if db2 is not None:
                db2[c] += dlogit
            for k in range(w1.shape[0]):
                dw2[c, k] += dlogit * relu(cache.hidden[n, k])
                dactive[k] += dlogit * w2[c, k]
        for k in range(w1.shape[0]):
            dhidden = dactive[k] * relu_slope(cache.hidden[n, k])
            if db1 is not None:
                db1[k] += dhidden
            for c in range(z.shape[1]):
                dw1[k, c] += dhidden * z[n, c]
                dz[n, c] += dhidden * w1[k, c]
    return ExcitationGradients(*rounded((dz, dw1, db1, dw2, db2), dy))


class ScaleCache(NamedTuple):
    """The arguments."""

    u: Array
    s: Array


def scale_forward(u: Array, s: Array) -> tuple[Array, Any]:
    """Multiply `u` (N, C, H, W) by the gates `s` (N, C)."""
    y, (u64, s64) = np.zeros(u.shape), doubles(u, s)
    for n, c, i, j in np.ndindex(u.shape):
        y[n, c, i, j] = s64[n, c] * u64[n, c, i, j]
    return y.astype(u.dtype), ScaleCache(u, s)


def scale_backward(dy: Array, cache: Any) -> ScaleGradients:
    """Return the gradients for an upstream gradient `dy` (N, C, H, W)."""
    u, s, dy64 = doubles(*cache, dy)
    du, ds = np.zeros(u.shape), np.zeros(s.shape)
    for n, c, i, j in np.ndindex(u.shape):
        du[n, c, i, j] = s[n, c] * dy64[n, c, i, j]
        ds[n, c] += u[n, c, i, j] * dy64[n, c, i, j]
    return ScaleGradients(*rounded((du, ds), dy))


class SqueezeExciteCache(NamedTuple):
    """The caches of the three steps."""

    squeeze: Any
    excitation: Any
    scale: Any


def squeeze_excite_forward(
    u: Array,
    w1: Array,
    b1: Array | None,
    w2: Array,
    b2: Array | None,
    *,
    squeeze: str = "avg",
    gate: str = "sigmoid",
) -> tuple[Array, Any]:
    """Scale each channel of `u` (N, C, H, W) by its gate."""
    u64 = double(u)
    z, squeeze_cache = squeeze_forward(u64, operator=squeeze)
    s, excitation_cache = excitation_forward(z, *doubles(w1, b1, w2, b2), gate=gate)
    y, scale_cache = scale_forward(u64, s)
    return y.astype(u.dtype), SqueezeExciteCache(squeeze_cache, excitation_cache, scale_cache)


def squeeze_excite_backward(dy: Array, cache: Any) -> SqueezeExciteGradients:
    """Return the gradients for an upstream gradient `dy` (N, C, H, W)."""
    through_scale, ds = scale_backward(double(dy), cache.scale)
    dz, *parameters = excitation_backward(ds, cache.excitation)
    (through_gate,) = squeeze_backward(dz, cache.squeeze)
    return SqueezeExciteGradients(*rounded((through_scale + through_gate, *parameters), dy))


def squeeze_excite_backward_paths(dy: Array, cache: Any) -> SqueezeExcitePaths:
    """Return the gradient of `u` in two parts: what comes through the scale, and through the gate."""
    through_scale, ds = scale_backward(double(dy), cache.scale)
    dz = excitation_backward(ds, cache.excitation).dz
    (through_gate,) = squeeze_backward(dz, cache.squeeze)
    return SqueezeExcitePaths(*rounded((through_scale, through_gate), dy))
