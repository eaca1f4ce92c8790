"""Shake-Shake (Gastaldi 2017, arXiv 1705.07485, sec. 2): two branches, mixed at random for each image.

    y[n] = alpha[n] a[n] + (1 - alpha[n]) b[n]

In training alpha is drawn from U(0, 1) for each image, and the way back uses other numbers, beta, which makes
it a regulariser: the gradient is deliberately not that of the forward. In evaluation both are 1/2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.arrays import Array, check_array, check_same_dtype, check_upstream, namespace


class ShakeCache(NamedTuple):
    """Shape and dtype of both branches, and the mixture for the way back, (N, 1, 1, 1)."""

    shape: tuple[int, ...]
    dtype: Any
    beta: Array


class ShakeGradients(NamedTuple):
    """Gradients in the order of the forward's arguments; alpha and beta are draws and have none."""

    da: Array
    db: Array


def shake_forward(a: Array, b: Array, *, alpha: Any, beta: Any = None) -> tuple[Array, ShakeCache]:
    """Mix two branches.

    Parameters
    ----------
    a, b : array (N, C, H, W), float32 or float64
        The branches' results.
    alpha : N numbers
        Part of `a` in each image.
    beta : N numbers, optional
        Part of the gradient that `a` receives: drawn ("shake"), or 1/2 ("even"). Where not given, alpha: then
        the backward is the derivative of the forward.
    """
    check_array("a", a, ("N", "C", "H", "W"))
    check_array("b", b, a.shape)
    check_same_dtype(a=a, b=b)
    part = _per_image("alpha", alpha, a)
    back = part if beta is None else _per_image("beta", beta, a)
    return part * a + (1 - part) * b, ShakeCache(a.shape, a.dtype, back)


# y is linear in both: da = alpha dy and db = (1 - alpha) dy, with beta in alpha's place.
def shake_backward(dy: Array, cache: ShakeCache) -> ShakeGradients:
    """Return what each branch receives of an upstream gradient `dy` (N, C, H, W)."""
    check_upstream(dy, cache.shape, cache.dtype)
    return ShakeGradients(cache.beta * dy, (1 - cache.beta) * dy)


def _per_image(name: str, values: Any, a: Array) -> Array:
    """Return one number for each image of `a` as (N, 1, 1, 1)."""
    numbers = namespace(a).asarray(values, dtype=a.dtype)
    if numbers.shape != a.shape[:1]:
        raise ValueError(f"{name}: got shape {numbers.shape}, wanted {a.shape[:1]}: a number for each image")
    return numbers[:, None, None, None]
