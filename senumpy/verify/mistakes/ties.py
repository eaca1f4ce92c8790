"""Conventions at kinks: which of several equal maxima gets the gradient, and ReLU's derivative at 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.activations import ReLUGradients
from senumpy.ops.global_pooling import GlobalMaxPoolGradients
from senumpy.ops.max_pool import MaxPool2dGradients
from senumpy.ops.windows import pool_window, taps
from senumpy.verify.mistakes.registry import MISTAKES, Mistake


def _relu_with_input(x: Any) -> Any:
    return ops.relu_forward(x)[0], x


def _relu_at_zero(slope: float) -> Any:
    def backward(dy: Any, x: Any) -> Any:
        return ReLUGradients(dy * np.where(x == 0, slope, x > 0).astype(dy.dtype))

    return backward


def _pool_with_input(x: Any, **settings: Any) -> Any:
    options = {"stride": None, "padding": 0, "ceil_mode": False} | settings
    window, out = pool_window(
        x, options["kernel"], options["stride"], options["padding"], options["ceil_mode"]
    )
    return ops.max_pool2d_forward(x, **settings)[0], (x, window, out)


def _pool_ties(kind: str) -> Any:
    """Return a backward whose tied maxima share ("even"), all get the gradient ("all"), or the last does."""

    def backward(dy: Any, cache: Any) -> Any:
        x, window, out = cache
        (ph, pw), (h, w) = window.padding, x.shape[2:]
        reach = [
            max(size + 2 * p, (n - 1) * s + k)
            for size, p, n, s, k in zip(
                (h, w), window.padding, out, window.stride, window.kernel, strict=True
            )
        ]
        padded = np.full((*x.shape[:2], *reach), -np.inf)
        padded[:, :, ph : ph + h, pw : pw + w] = x
        views = [padded[:, :, rows, cols] for _p, _q, (rows, cols) in taps(window, out)]
        won = np.stack(views) == np.max(views, axis=0)  # (taps, N, C, H', W')
        back = np.zeros(padded.shape, dy.dtype)
        share = _shares(won, kind).astype(dy.dtype)
        for part, (_p, _q, (rows, cols)) in zip(share, taps(window, out), strict=True):
            back[:, :, rows, cols] += part * dy
        return MaxPool2dGradients(back[:, :, ph : ph + h, pw : pw + w].copy())

    return backward


def _global_with_input(x: Any) -> Any:
    return ops.global_max_pool_forward(x)[0], x


def _global_ties(kind: str) -> Any:
    def backward(dy: Any, x: Any) -> Any:
        flat = np.moveaxis(x.reshape(*x.shape[:2], -1), 2, 0)  # (H W, N, C)
        share = np.moveaxis(_shares(flat == flat.max(0), kind), 0, 2).astype(dy.dtype)
        return GlobalMaxPoolGradients((share * dy[:, :, None]).reshape(x.shape))

    return backward


def _shares(won: Any, kind: str) -> Any:
    """Return what each of the maxima along axis 0 gets of the gradient."""
    if kind == "even":
        return won / won.sum(0)
    if kind == "last":
        return won & (np.cumsum(won[::-1], axis=0)[::-1] == 1)
    return won


_TIES = (
    (
        "last-maximum",
        "last",
        "At a tie the last maximum gets the gradient; here and in PyTorch the first does.",
    ),
    (
        "ties-share-evenly",
        "even",
        "Tied maxima share the gradient evenly; here and in PyTorch the first gets all.",
    ),
    (
        "ties-all-get-it",
        "all",
        "Each of several tied maxima gets the whole gradient: it is counted repeatedly.",
    ),
)

MISTAKES.append(
    Mistake(
        "relu",
        "derivative-1-at-zero",
        "The gradient passes at 0 too, where the convention of every framework is a derivative of 0.",
        _relu_with_input,
        _relu_at_zero(1.0),
    )
)
MISTAKES.append(
    Mistake(
        "relu",
        "derivative-half-at-zero",
        "Half of the gradient passes at 0, where the convention of every framework is a derivative of 0.",
        _relu_with_input,
        _relu_at_zero(0.5),
    )
)
for _name, _kind, _explanation in _TIES:
    MISTAKES.append(Mistake("max_pool2d", _name, _explanation, _pool_with_input, _pool_ties(_kind)))
    MISTAKES.append(Mistake("global_max_pool", _name, _explanation, _global_with_input, _global_ties(_kind)))
