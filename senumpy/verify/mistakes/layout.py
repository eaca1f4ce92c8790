"""Mistakes in the order of axes: NHWC where NCHW is meant, in results, arguments and sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.verify.mistakes.registry import wrong_arguments, wrong_forward, wrong_result

_IMAGES = ("conv2d", "max_pool2d", "avg_pool2d", "batchnorm2d", "squeeze_excite")


def to_nhwc(x: Any) -> Any:
    """Return (N, C, H, W) as (N, H, W, C)."""
    return x.transpose(0, 2, 3, 1).copy()


def read_as_nhwc(x: Any) -> Any:
    """Return the image that a program for NHWC sees in the memory of `x` (N, C, H, W)."""
    n, c, h, w = x.shape
    return np.ascontiguousarray(np.ascontiguousarray(x).reshape(n, h, w, c).transpose(0, 3, 1, 2))


def _register(op: str) -> None:
    @wrong_result(
        op, "nhwc-result", "The result's axes are N, H, W, C (TensorFlow's order) instead of N, C, H, W."
    )
    def _(y: Any, *args: Any, **options: Any) -> Any:
        return to_nhwc(y)

    @wrong_arguments(
        op, "read-as-nhwc", "The image's memory is read in the order N, H, W, C; here it is N, C, H, W."
    )
    def _(x: Any, *args: Any, **options: Any) -> Any:
        return (read_as_nhwc(x), *args), options


for _op in _IMAGES:
    _register(_op)


@wrong_arguments(
    "conv2d", "kernel-read-as-hwio", "The kernel's memory is read as (kh, kw, C, O), TensorFlow's order."
)
def _(x: Any, w: Any, b: Any = None, **settings: Any) -> Any:
    o, c, kh, kw = w.shape
    read = np.ascontiguousarray(np.ascontiguousarray(w).reshape(kh, kw, c, o).transpose(3, 2, 0, 1))
    return (x, read, b), settings


@wrong_forward(
    "batchnorm2d", "last-axis", "Statistics, gamma and beta belong to the last axis: that is NHWC, not NCHW."
)
def _(x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    cache = ops.batchnorm2d_forward(x, gamma, beta, eps=eps)[1]
    if x.shape[3] != x.shape[1]:  # gamma doesn't fit: such a program would refuse
        raise ValueError("gamma: the last axis has another size")
    y, _ = ops.batchnorm2d_forward(x.transpose(0, 3, 1, 2), gamma, beta, eps=eps)
    return y.transpose(0, 2, 3, 1).copy(), cache


@wrong_forward("global_avg_pool", "nhwc-axes", "The mean runs over axes 1 and 2: that is NHWC, not NCHW.")
def _(x: Any) -> Any:
    return x.mean((1, 2)), ops.global_avg_pool_forward(x)[1]


@wrong_forward("global_max_pool", "nhwc-axes", "The maximum runs over axes 1 and 2: that is NHWC, not NCHW.")
def _(x: Any) -> Any:
    y, _ = ops.global_max_pool_forward(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return y, ops.global_max_pool_forward(x)[1]


@wrong_forward("squeeze", "nhwc-axes", "The squeeze runs over axes 1 and 2: that is NHWC, not NCHW.")
def _(u: Any, *, operator: str = "avg") -> Any:
    z, _ = ops.squeeze_forward(np.ascontiguousarray(u.transpose(0, 3, 1, 2)), operator=operator)
    return z, ops.squeeze_forward(u, operator=operator)[1]
