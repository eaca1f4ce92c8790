"""Calls that are several of our operations, with plain NumPy around: what other libraries do in one.

A pool with dilation is our pool of windows laid side by side, a weighted cross-entropy a sum of ours over
some rows each. Such a call is judged like any other: `verify.rounding` runs it with numbers that are off and
sees how far rounding may take it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from senumpy.ops import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from senumpy.verify.calls import OpCall, Running
from senumpy.verify.cases import OpSpec

Array = NDArray[Any]


@dataclass(frozen=True)
class _ComposedSpec(OpSpec):
    """An entry of the operations' table with functions of its own."""

    functions: tuple[Callable[..., Any], Callable[..., Any]] = field(kw_only=True)

    @property
    def forward(self) -> Callable[..., Any]:
        return self.functions[0]

    @property
    def backward(self) -> Callable[..., Any]:
        return self.functions[1]


@dataclass(frozen=True)
class ComposedCall(OpCall):
    """A call of a function made of operations and plain NumPy.

    Attributes
    ----------
    op : str
        The operation that it is made of.
    forward, backward : callable
        As those of operations: ``forward(*args) -> (y, cache)``, ``backward(dy, cache) -> gradients``.
    differentiable, others : tuple of str
        Names of the arguments that have a gradient, and of those behind them that have none.
    """

    forward: Callable[..., Any] = field(kw_only=True)
    backward: Callable[..., Any] = field(kw_only=True, default=lambda dy, cache: ())
    differentiable: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def spec(self) -> OpSpec:
        """An entry like the operation's own, with the composed functions."""
        own = super().spec
        return _ComposedSpec(
            self.op,
            self.differentiable,
            own.draw,
            self.others,
            own.pattern if self.differentiable else None,
            functions=(self.forward, self.backward),
        )


@dataclass(frozen=True)
class GivenRunning(OpCall):
    """A batch norm in training whose running statistics are given, not drawn; None where there are none."""

    start: Running | None = None

    def running(self, dtype: DTypeLike = np.float64) -> Running | None:
        """Return the running statistics to start from, and the weight of a new value."""
        if self.start is None:
            return None
        return Running(self.start.mean.astype(dtype), self.start.var.astype(dtype), self.start.momentum)


# -- cross-entropies ---------------------------------------------------------------------------------------


def cross_entropy_call(logits: Array, shares: Array, reduction: str, divisor: float = 1.0) -> OpCall:
    """Return the call of a cross-entropy against any targets.

        loss[n] = sum_k shares[n, k] (-log p[n, k])

    where the mean of -log p[n, k] over some rows is our loss of these with label k. Weights of classes,
    labels to ignore, targets that are probabilities, and smoothing: all are shares.

    Parameters
    ----------
    logits : (N, K) array
    shares : (N, K) array
    reduction : {"none", "sum", "mean"}
        A loss for each row; their sum; their sum divided by `divisor`.
    """
    groups = _equal_shares(shares, alone=reduction == "none")
    scale = 1.0 / divisor if reduction == "mean" else 1.0

    def forward(logits: Array, shares: Array) -> tuple[Array, Any]:
        losses, caches = np.zeros(len(logits), logits.dtype), []
        for rows, k in groups:
            loss, cache = softmax_cross_entropy_forward(logits[rows], np.full(len(rows), k))
            losses[rows[0]] += shares[rows[0], k] * len(rows) * loss
            caches.append(cache)
        return losses if reduction == "none" else losses.sum() * scale, (tuple(caches), shares)

    def backward(dy: Array, cache: Any) -> tuple[Array]:
        caches, shares = cache
        dlogits = np.zeros_like(shares)
        dlosses = np.broadcast_to(dy * scale, len(shares))
        for (rows, k), kept in zip(groups, caches, strict=True):
            upstream = dlosses[rows[0]] * shares[rows[0], k] * len(rows)
            dlogits[rows] += softmax_cross_entropy_backward(upstream, kept).dlogits
        return (dlogits,)

    return ComposedCall(
        "softmax_cross_entropy", (logits, shares), forward=forward, backward=backward,
        differentiable=("logits",), others=("shares",),
    )  # fmt: skip


def _equal_shares(shares: Array, *, alone: bool) -> list[tuple[Array, int]]:
    """Return rows and a class, for every share that isn't 0: rows of equal shares together unless `alone`."""
    groups = []
    for k, column in enumerate(shares.T):
        (rows,) = np.nonzero(column)
        if alone:
            groups += [(row, k) for row in rows[:, None]]
        else:
            groups += [(rows[column[rows] == share], k) for share in np.unique(column[rows])]
    return groups


def label_shares(labels: Array, classes: int, weight: Array | None, ignored: int | None) -> Array:
    """Return (N, K) shares for labels: 1 or the weight of the label's class, 0 where it is ignored."""
    shares = np.zeros((labels.size, classes))
    kept = np.ones(labels.shape, bool) if ignored is None else labels != ignored
    shares[kept, labels[kept]] = 1.0 if weight is None else weight[labels[kept]]
    return shares


def softmax_call(logits: Array) -> OpCall:
    """Return the call of a softmax over the rows: the probabilities in the gradient of our loss."""

    def forward(logits: Array) -> tuple[Array, Any]:
        labels = np.zeros(len(logits), int)
        _, cache = softmax_cross_entropy_forward(logits, labels)
        # The gradient for an upstream gradient of N is p - q, and q is 1 for the label.
        p = softmax_cross_entropy_backward(np.asarray(len(logits), logits.dtype)[()], cache).dlogits
        p[:, 0] += 1
        return p, None

    return ComposedCall("softmax_cross_entropy", (logits,), forward=forward, others=("logits",))


def log_softmax_call(logits: Array) -> OpCall:
    """Return the call of a log-softmax over the rows: minus our loss, row by row.

    One label a row is enough, for log p[k] = log p[l] + logits[k] - logits[l].
    """

    def forward(logits: Array) -> tuple[Array, Any]:
        y = np.empty_like(logits)
        for n, row in enumerate(logits):
            label = int(np.argmax(row))
            loss, _ = softmax_cross_entropy_forward(row[None], np.array([label]))
            y[n] = row - row[label] - loss
        return y, None

    return ComposedCall("softmax_cross_entropy", (logits,), forward=forward, others=("logits",))


# -- windows that our pools don't have ---------------------------------------------------------------------


class Windows(NamedTuple):
    """Sliding windows over any number of axes, by what they touch; all but `shape` have an entry an axis.

    Tap p of window i touches entry i stride + p dilation - before.
    """

    shape: tuple[int, ...]  # of the image: spatial axes alone
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]  # padding in front of the image
    out: tuple[int, ...]  # how many windows

    def touched(self) -> tuple[Array, Array]:
        """Return which entry, flat, each tap of each window touches, and whether it is inside: (L, K)."""
        flat, inside = np.zeros((1, 1), int), np.ones((1, 1), bool)
        for n, k, s, d, p, count in zip(*self, strict=True):
            at = np.arange(count)[:, None] * s + np.arange(k) * d - p  # (count, k)
            within = (at >= 0) & (at < n)
            flat = _outer(flat * n, np.where(within, at, 0), np.add)
            inside = _outer(inside, within, np.logical_and)
        return flat, inside


def _outer(left: Array, right: Array, function: Any) -> Array:
    """Combine (L, K) with (l, k) to (L l, K k)."""
    both = function(left[:, None, :, None], right[None, :, None, :])
    return both.reshape(left.shape[0] * right.shape[0], -1)


def laid_out_windows(x: Array, windows: Windows, fill: float) -> Array:
    """Return what the windows see, side by side: (N, C, L, K), L windows of K taps, `fill` outside."""
    flat, inside = windows.touched()
    return np.where(inside, x.reshape(*x.shape[:2], -1)[:, :, flat], x.dtype.type(fill))


def windows_pool_call(op: str, x: Array, windows: Windows, divisor: Array | None = None) -> OpCall:
    """Return the call of a pool with windows that our pools don't have: of windows laid side by side.

    Parameters
    ----------
    op : {"max_pool2d", "avg_pool2d"}
    x : (N, C, ...) array
    windows : Windows
    divisor : (L,) array, optional
        By what the sums of an average pool are divided; the number of taps where not given.
    """
    flat, inside = windows.touched()
    taps = flat.shape[1]
    functions: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "max_pool2d": (max_pool2d_forward, max_pool2d_backward),
        "avg_pool2d": (avg_pool2d_forward, avg_pool2d_backward),
    }
    forward_of, backward_of = functions[op]
    touched = (slice(None), slice(None), flat[inside])
    fill = float(np.floor(x.min())) - 1.0 if op == "max_pool2d" else 0.0  # never wins; adds nothing
    factor = np.ones(len(flat)) if divisor is None else taps / divisor

    def forward(x: Array) -> tuple[Array, Any]:
        y, cache = forward_of(laid_out_windows(x, windows, fill), kernel=(1, taps))  # (N, C, L, 1)
        y = y * factor.astype(x.dtype)[:, None]
        return y.reshape(*y.shape[:2], *windows.out), cache

    def backward(dy: Array, cache: Any) -> tuple[Array]:
        dy = dy.reshape(*dy.shape[:2], -1, 1) * factor.astype(dy.dtype)[:, None]
        gathered = backward_of(dy, cache).dx  # (N, C, L, K)
        dx = np.zeros((*dy.shape[:2], int(np.prod(windows.shape))), dy.dtype)
        np.add.at(dx, touched, gathered[:, :, inside])  # type: ignore[arg-type]
        return (dx.reshape(x.shape),)

    return ComposedCall(op, (x,), forward=forward, backward=backward, differentiable=("x",))


def rows_of(x: Array, axis: int) -> Array:
    """Return an array as a matrix whose rows run along `axis`: (entries of the others, K)."""
    return np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])


def spatial(x: Array) -> Array:
    """Return (N, C, ...) as (N, C, H, W): missing axes get a size of 1, axes behind the third become one."""
    return x.reshape(*x.shape[:2], x.shape[2] if x.ndim > 2 else 1, -1)
