"""Linear layer: y[n, o] = b[o] + sum_i x[n, i] w[o, i]."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.naive.precision import doubles, rounded
from senumpy.ops.arrays import Array
from senumpy.ops.linear import LinearGradients


class LinearCache(NamedTuple):
    """The arguments."""

    x: Array
    w: Array
    b: Array | None


def linear_forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, Any]:
    """Multiply each row of `x` (N, I) by the matrix `w` (O, I), and add `b` (O,)."""
    x64, w64, b64 = doubles(x, w, b)
    y = np.zeros((x.shape[0], w.shape[0]))
    for n, o in np.ndindex(y.shape):
        if b is not None:
            y[n, o] += b64[o]
        for i in range(x.shape[1]):
            y[n, o] += x64[n, i] * w64[o, i]
    return y.astype(x.dtype), LinearCache(x, w, b)


def linear_backward(dy: Array, cache: Any) -> LinearGradients:
    """Return the gradients for an upstream gradient `dy` (N, O)."""
    x, w, b = doubles(*cache)
    (dy64,) = doubles(dy)
    dx, dw = np.zeros(x.shape), np.zeros(w.shape)
    db = None if b is None else np.zeros(b.shape)
    for n, o in np.ndindex(dy.shape):
        if db is not None:
            db[o] += dy64[n, o]
        for i in range(x.shape[1]):
            dx[n, i] += w[o, i] * dy64[n, o]
            dw[o, i] += x[n, i] * dy64[n, o]
    return LinearGradients(*rounded((dx, dw, db), dy))
