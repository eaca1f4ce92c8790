"""Mistakes in the linear layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.verify.mistakes.registry import wrong_arguments, wrong_backward, wrong_forward, wrong_gradients


@wrong_arguments("linear", "bias-subtracted", "The bias is subtracted.")
def _(x: Any, w: Any, b: Any = None) -> Any:
    return (x, w, None if b is None else -b), {}


@wrong_gradients(
    "linear", "dw-averaged", "dw is averaged over the batch; the mean belongs to the loss alone."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dw=gradients.dw / dy.shape[0])


@wrong_backward("linear", "dw-transposed", "dw is x^T dy, the transpose of what fits w.")
def _(dy: Any, cache: Any) -> Any:
    return ops.linear_backward(dy, cache)._replace(dw=(cache.x.T @ dy).reshape(cache.w.shape))


@wrong_backward("linear", "dx-transposed-weight", "dx multiplies by the transposed weight.")
def _(dy: Any, cache: Any) -> Any:
    o, i = cache.w.shape
    return ops.linear_backward(dy, cache)._replace(dx=dy @ cache.w.T.reshape(o, i))


@wrong_gradients("linear", "db-averaged", "db is averaged over the batch instead of summed.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(db=None if gradients.db is None else dy.mean(axis=0))


@wrong_gradients(
    "linear", "db-of-one-sample", "db is not summed over the batch: only the first sample counts."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(db=None if gradients.db is None else dy[0].copy())


@wrong_forward("linear", "bias-forgotten", "The bias is not added.")
def _(x: Any, w: Any, b: Any = None) -> Any:
    return ops.linear_forward(x, w)[0], ops.linear_forward(x, w, b)[1]


@wrong_arguments(
    "linear",
    "weight-read-as-in-out",
    "The weight's memory is read as (in, out), Keras's order; here it is (out, in).",
)
def _(x: Any, w: Any, b: Any = None) -> Any:
    return (x, np.ascontiguousarray(np.ascontiguousarray(w).reshape(w.shape[::-1]).T), b), {}
