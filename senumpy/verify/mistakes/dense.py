"""Mistakes in the linear layer."""

from __future__ import annotations

from typing import Any

from senumpy import ops
from senumpy.verify.mistakes.registry import wrong_backward, wrong_forward


@wrong_forward("linear", "bias-subtracted", "The bias is subtracted.")
def _(x: Any, w: Any, b: Any = None) -> Any:
    return ops.linear_forward(x, w, None if b is None else -b)


@wrong_backward("linear", "dw-averaged", "dw is averaged over the batch; the mean belongs to the loss alone.")
def _(dy: Any, cache: Any) -> Any:
    gradients = ops.linear_backward(dy, cache)
    return gradients._replace(dw=gradients.dw / dy.shape[0])


@wrong_backward("linear", "dw-transposed", "dw is x^T dy, the transpose of what fits w.")
def _(dy: Any, cache: Any) -> Any:
    return ops.linear_backward(dy, cache)._replace(dw=(cache.x.T @ dy).reshape(cache.w.shape))


@wrong_backward("linear", "dx-transposed-weight", "dx multiplies by the transposed weight.")
def _(dy: Any, cache: Any) -> Any:
    o, i = cache.w.shape
    return ops.linear_backward(dy, cache)._replace(dx=dy @ cache.w.T.reshape(o, i))


@wrong_backward("linear", "db-averaged", "db is averaged over the batch instead of summed.")
def _(dy: Any, cache: Any) -> Any:
    gradients = ops.linear_backward(dy, cache)
    return gradients._replace(db=None if gradients.db is None else dy.mean(axis=0))


@wrong_backward(
    "linear", "db-of-one-sample", "db is not summed over the batch: only the first sample counts."
)
def _(dy: Any, cache: Any) -> Any:
    gradients = ops.linear_backward(dy, cache)
    return gradients._replace(db=None if gradients.db is None else dy[0].copy())
