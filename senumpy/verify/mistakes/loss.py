"""Mistakes in softmax cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.verify.mistakes.registry import wrong_arguments, wrong_backward, wrong_forward, wrong_result


@wrong_forward("softmax_cross_entropy", "sum-over-batch", "The loss is the sum over the batch, not the mean.")
def _(logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> Any:
    loss, cache = ops.softmax_cross_entropy_forward(logits, labels, label_smoothing=label_smoothing)
    return loss * logits.shape[0], cache


@wrong_arguments("softmax_cross_entropy", "smoothing-ignored", "Label smoothing is left out.")
def _(logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> Any:
    return (logits, labels), {}


def _with_targets(logits: Any, labels: Any, hit: float, miss: float, label_smoothing: float) -> Any:
    _, cache = ops.softmax_cross_entropy_forward(logits, labels, label_smoothing=label_smoothing)
    shifted = logits - logits.real.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    q = np.where(labels[:, None] == np.arange(logits.shape[1]), hit, miss)
    return -(q * log_p).sum() / len(labels), cache


@wrong_forward(
    "softmax_cross_entropy",
    "smoothing-off-by-one",
    "e is spread over the K - 1 other classes, not over all K.",
)
def _(logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> Any:
    others = logits.shape[1] - 1
    return _with_targets(logits, labels, 1.0 - label_smoothing, label_smoothing / others, label_smoothing)


@wrong_forward(
    "softmax_cross_entropy",
    "smoothing-without-share",
    "The right class loses e but gets no share of e / K back.",
)
def _(logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> Any:
    classes = logits.shape[1]
    return _with_targets(logits, labels, 1.0 - label_smoothing, label_smoothing / classes, label_smoothing)


@wrong_forward("softmax_cross_entropy", "base-2", "The logarithm has base 2: the loss is in bits.")
def _(logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> Any:
    loss, cache = ops.softmax_cross_entropy_forward(logits, labels, label_smoothing=label_smoothing)
    return loss / np.log(2.0), cache


@wrong_backward("softmax_cross_entropy", "not-divided-by-n", "dlogits lacks the 1/N of the mean.")
def _(dloss: Any, cache: Any) -> Any:
    gradients = ops.softmax_cross_entropy_backward(dloss, cache)
    return gradients._replace(dlogits=gradients.dlogits * cache.p.shape[0])


@wrong_backward("softmax_cross_entropy", "divided-by-nk", "dlogits is divided by N K instead of N.")
def _(dloss: Any, cache: Any) -> Any:
    gradients = ops.softmax_cross_entropy_backward(dloss, cache)
    return gradients._replace(dlogits=gradients.dlogits / cache.p.shape[1])


@wrong_backward("softmax_cross_entropy", "no-target", "dlogits is the softmax: the target is not subtracted.")
def _(dloss: Any, cache: Any) -> Any:
    return ops.softmax_cross_entropy_backward(dloss, cache._replace(q=np.zeros_like(cache.q)))


@wrong_backward(
    "softmax_cross_entropy",
    "sharp-target",
    "The backward forgets label smoothing and subtracts 1 at the label.",
)
def _(dloss: Any, cache: Any) -> Any:
    sharp = (cache.q == cache.q.max(axis=1, keepdims=True)).astype(cache.q.dtype)
    return ops.softmax_cross_entropy_backward(dloss, cache._replace(q=sharp))


@wrong_backward(
    "softmax_cross_entropy", "negative", "dlogits is target minus softmax: the wrong sign climbs the loss."
)
def _(dloss: Any, cache: Any) -> Any:
    return ops.softmax_cross_entropy_backward(-dloss, cache)


@wrong_backward("softmax_cross_entropy", "no-upstream", "The upstream gradient is taken for 1.")
def _(dloss: Any, cache: Any) -> Any:
    return ops.softmax_cross_entropy_backward(1.0, cache)


@wrong_result(
    "softmax_cross_entropy", "mean-over-everything", "The loss is divided by N K: a mean over classes, too."
)
def _(loss: Any, logits: Any, labels: Any, **settings: Any) -> Any:
    return loss / logits.shape[1]


@wrong_arguments(
    "softmax_cross_entropy",
    "softmax-twice",
    "The loss is given probabilities, of which it takes a softmax again.",
)
def _(logits: Any, labels: Any, **settings: Any) -> Any:
    return (_softmax(logits, 1), labels), settings


def _softmax(logits: Any, axis: int) -> Any:
    powers = np.exp(logits - logits.real.max(axis=axis, keepdims=True))
    return powers / powers.sum(axis=axis, keepdims=True)


def _log_softmax(logits: Any, axis: int) -> Any:
    shifted = logits - logits.real.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _targets(labels: Any, classes: int, label_smoothing: float) -> Any:
    off = label_smoothing / classes
    return np.where(labels[:, None] == np.arange(classes), 1.0 - label_smoothing + off, off)


@wrong_forward(
    "softmax_cross_entropy",
    "softmax-over-batch",
    "The softmax runs over the batch (axis 0), not the classes.",
)
def _(logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> Any:
    _, cache = ops.softmax_cross_entropy_forward(logits, labels, label_smoothing=label_smoothing)
    q = _targets(labels, logits.shape[1], label_smoothing)
    return -(q * _log_softmax(logits, 0)).sum() / len(labels), cache


@wrong_forward(
    "softmax_cross_entropy",
    "sigmoid-per-class",
    "It is the binary cross-entropy of a sigmoid for each class.",
)
def _(logits: Any, labels: Any, *, label_smoothing: float = 0.0) -> Any:
    _, cache = ops.softmax_cross_entropy_forward(logits, labels, label_smoothing=label_smoothing)
    q = _targets(labels, logits.shape[1], label_smoothing)
    size = np.where(logits.real > 0, logits, -logits)
    losses = np.where(logits.real > 0, logits, 0.0) - logits * q + np.log(1.0 + np.exp(-size))
    return losses.sum() / len(labels), cache
