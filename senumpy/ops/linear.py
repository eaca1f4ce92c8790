"""Linear (fully connected) layer.

y = x W^T + b        y[n, o] = sum_i x[n, i] w[o, i] + b[o]
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.arrays import Array, check_array, check_same_dtype, check_upstream, namespace


class LinearCache(NamedTuple):
    """What `linear_backward` needs."""

    x: Array
    w: Array
    has_bias: bool


class LinearGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    dx: Array
    dw: Array
    db: Array | None


def linear_forward(x: Array, w: Array, b: Array | None = None) -> tuple[Array, LinearCache]:
    """Multiply each row of `x` by the matrix `w`.

    Parameters
    ----------
    x : (N, I) array, float32 or float64
    w : (O, I) array
    b : (O,) array, optional

    Returns
    -------
    y : (N, O) array
    cache : LinearCache
    """
    check_linear_arguments(x, w, b)
    # exercise linear_forward: 1 point, level 1, lesson 3 "The linear layer"
    y = x @ w.T  # (N, I) @ (I, O) -> (N, O)
    if b is not None:
        y = y + b
    return y, LinearCache(x, w, b is not None)
    # end of exercise


# dL = sum_{n,o} dy[n,o] (sum_i dx[n,i] w[o,i] + sum_i x[n,i] dw[o,i] + db[o]); read off the factors:
#     dL/dx = dy W        dL/dW = dy^T x        dL/db = sum_n dy[n]
def linear_backward(dy: Array, cache: LinearCache) -> LinearGradients:
    """Return the gradients of `linear_forward` for an upstream gradient `dy` (N, O)."""
    x, w, has_bias = cache
    check_upstream(dy, (x.shape[0], w.shape[0]), x.dtype)
    # exercise linear_backward: 2 points, level 1, lesson 3 "The linear layer, backwards"
    dx = dy @ w  # (N, O) @ (O, I) -> (N, I)
    dw = dy.T @ x  # (O, N) @ (N, I) -> (O, I)
    db = namespace(x).sum(dy, axis=0) if has_bias else None
    return LinearGradients(dx, dw, db)
    # end of exercise


def check_linear_arguments(x: Array, w: Array, b: Array | None) -> None:
    """Raise unless `w` maps the rows of `x`, and `b` fits."""
    check_array("x", x, ("N", "I"))
    check_array("w", w, ("O", x.shape[1]))
    if b is not None:
        check_array("b", b, (w.shape[0],))
    check_same_dtype(x=x, w=w, b=b)
