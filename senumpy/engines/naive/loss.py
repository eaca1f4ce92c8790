"""Softmax cross-entropy, sample by sample: L = -1/N sum_{n,k} q[n,k] log p[n,k]."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.naive.precision import double
from senumpy.ops.arrays import Array
from senumpy.ops.loss import SoftmaxCrossEntropyGradients


class SoftmaxCrossEntropyCache(NamedTuple):
    """The arguments."""

    logits: Array
    labels: Array
    label_smoothing: float


def softmax_cross_entropy_forward(
    logits: Array, labels: Array, *, label_smoothing: float = 0.0
) -> tuple[Any, Any]:
    """Return the mean cross-entropy of `logits` (N, K) against the smoothed `labels` (N,)."""
    cache = SoftmaxCrossEntropyCache(logits, labels, label_smoothing)
    N, K = logits.shape
    loss = 0.0
    for n in range(N):
        log_p = _log_softmax(double(logits)[n])
        for k in range(K):
            q = _target(cache, n, k)
            if q > 0:  # 0 log 0 = 0
                loss -= q * log_p[k] / N
    return logits.dtype.type(loss), cache


# L = 1/N sum_n (log sum_l exp(a[l]) - sum_k q[k] a[k]): the first term's gradient is the softmax.
def softmax_cross_entropy_backward(dloss: Array | float, cache: Any) -> SoftmaxCrossEntropyGradients:
    """Return the gradient of the logits for a scalar upstream gradient."""
    logits = double(cache.logits)
    dlogits = np.zeros(logits.shape)
    for n, k in np.ndindex(dlogits.shape):
        p = math.exp(_log_softmax(logits[n])[k])
        dlogits[n, k] = float(dloss) * (p - _target(cache, n, k)) / len(logits)
    return SoftmaxCrossEntropyGradients(dlogits.astype(cache.logits.dtype))


def _target(cache: SoftmaxCrossEntropyCache, n: int, k: int) -> float:
    """Return the smoothed target of sample n for class k."""
    e, classes = cache.label_smoothing, cache.logits.shape[1]
    return (1.0 - e) * (k == cache.labels[n]) + e / classes


def _log_softmax(row: Array) -> list[float]:
    """Return the logarithm of the softmax; the largest logit becomes 0, so that exp can't overflow."""
    largest = max(row)
    log_sum = math.log(math.fsum(math.exp(a - largest) for a in row))
    return [float(a - largest) - log_sum for a in row]
