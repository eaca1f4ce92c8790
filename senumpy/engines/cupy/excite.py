"""SE's excitation, s = gate(W2 relu(W1 z + b1) + b2): two small matrix products, and kernels around them."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy as cp

from senumpy.engines.cupy.passes import column_sums
from senumpy.engines.cupy.products import Matrix, multiply
from senumpy.engines.cupy.runtime import Runtime, in_order, lines
from senumpy.engines.cupy.sources import Build
from senumpy.ops.arrays import Array
from senumpy.ops.excitation import ExcitationGradients

_KINDS = {"sigmoid": 0, "tanh": 1, "relu": 2}  # as in the source


class Excitation(NamedTuple):
    """What the gradient of the excitation needs; (N, C) but for `hidden` (N, h) and the weights, all flat."""

    z: Array
    w1: Array
    hidden: Array
    w2: Array
    s: Array
    s_scale: Array | None  # s times batch norm's scale and bias, for its pass
    s_bias: Array | None
    gate: str
    sizes: tuple[int, int, int]  # N, C, h
    biases: tuple[bool, bool]


def forward(
    runtime: Runtime, z: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None, gate: str, *,
    scale: Array | None = None, bias: Array | None = None,
) -> Excitation:  # fmt: skip
    """Compute the gates for z (N, C)."""
    (n, c), h, dtype = z.shape, w1.shape[0], z.dtype
    z, w1, w2 = in_order(z), in_order(w1), in_order(w2)
    build = Build("excite", dtype.name, 1)
    hidden, logits = cp.empty(n * h, dtype), cp.empty(n * c, dtype)
    multiply(runtime, Matrix(z, c), Matrix(w1, c, turned=True), Matrix(hidden, h), n, h, c)
    runtime.launch(build, "add_bias", *lines(n * h), hidden, _vector(b1), n * h, h, True)
    multiply(runtime, Matrix(hidden, h), Matrix(w2, h, turned=True), Matrix(logits, c), n, c, h)
    s = cp.empty((n, c), dtype)
    s_scale, s_bias = (None if scale is None else cp.empty(n * c, dtype) for _ in range(2))
    runtime.launch(
        build,
        "gates",
        *lines(n * c),
        logits,
        _vector(b2),
        n * c,
        c,
        _KINDS[gate],
        scale,
        bias,
        s,
        s_scale,
        s_bias,
    )
    return Excitation(
        z, w1, hidden, w2, s, s_scale, s_bias, gate, (n, c, h), (b1 is not None, b2 is not None)
    )


def backward(
    runtime: Runtime, g1: Array, cache: Excitation, *, g0: Array | None = None, gamma: Array | None = None,
    beta: Array | None = None,
) -> ExcitationGradients:  # fmt: skip
    """Return all gradients for ds = g1, or behind batch norm for ds = gamma g1 + beta g0; each (N, C)."""
    (n, c, h), dtype = cache.sizes, cache.s.dtype
    dlogits, dhidden = cp.empty(n * c, dtype), cp.empty(n * h, dtype)
    runtime.launch(
        Build("excite", dtype.name, 1), "gates_back", *lines(n * c), g0, in_order(g1), gamma, beta, cache.s,
        n * c, c, _KINDS[cache.gate], dlogits,
    )  # fmt: skip
    dw2, dw1, dz = cp.empty((c, h), dtype), cp.empty((h, c), dtype), cp.empty((n, c), dtype)
    multiply(runtime, Matrix(dlogits, c, turned=True), Matrix(cache.hidden, h), Matrix(dw2, h), c, h, n)
    multiply(runtime, Matrix(dlogits, c), Matrix(cache.w2, h), Matrix(dhidden, h), n, h, c)
    runtime.launch(
        Build("elementwise", dtype.name, 1),
        "activate_back",
        *lines(n * h),
        dhidden,
        cache.hidden,
        n * h,
        dhidden,
    )
    multiply(runtime, Matrix(dhidden, h, turned=True), Matrix(cache.z, c), Matrix(dw1, c), h, c, n)
    multiply(runtime, Matrix(dhidden, h), Matrix(cache.w1, c), Matrix(dz, c), n, c, h)
    first, second = cache.biases
    db1 = column_sums(runtime, dhidden, n, h) if first else None
    db2 = column_sums(runtime, dlogits, n, c) if second else None
    return ExcitationGradients(dz, dw1, db1, dw2, db2)


def _vector(array: Any) -> Any:
    return None if array is None else in_order(array)
