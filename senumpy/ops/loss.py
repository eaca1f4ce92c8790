"""Softmax cross-entropy, mean over the batch, with label smoothing.

p[n,k] = exp(a[n,k]) / sum_l exp(a[n,l])                                softmax of the logits a
q[n,k] = (1 - e) [k = label_n] + e / K                                  smoothed target (Szegedy et al. 2016)
L      = -1/N sum_{n,k} q[n,k] log p[n,k]
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.arrays import Array, check_array, is_array, namespace


class SoftmaxCrossEntropyCache(NamedTuple):
    """Probabilities and targets, both (N, K)."""

    p: Array
    q: Array


class SoftmaxCrossEntropyGradients(NamedTuple):
    """Gradient of the logits; labels have none."""

    dlogits: Array


def softmax_cross_entropy_forward(
    logits: Array, labels: Any, *, label_smoothing: float = 0.0
) -> tuple[Array, SoftmaxCrossEntropyCache]:
    """Return the mean cross-entropy of the softmax of `logits` against `labels`.

    Parameters
    ----------
    logits : (N, K) array, float32 or float64
    labels : (N,) array of ints in 0..K-1
    label_smoothing : float
        e, the share that is spread evenly over the classes: 0 <= e <= 1.

    Returns
    -------
    loss : scalar of the logits' dtype
    cache : SoftmaxCrossEntropyCache
    """
    check_loss_arguments(logits, labels, label_smoothing)
    xp = namespace(logits)
    n, k = logits.shape
    # exercise softmax_cross_entropy_forward: 2 points, level 2, lesson 3 "Softmax and cross-entropy"
    # Shifting all logits of a row changes nothing and keeps exp from overflowing: the largest becomes 0.
    shifted = logits - xp.max(logits.real, axis=1, keepdims=True)
    log_sum = xp.log(xp.sum(xp.exp(shifted), axis=1, keepdims=True))
    log_p = shifted - log_sum  # (N, K) - (N, 1) -> (N, K)

    hit = xp.reshape(labels, (n, 1)) == xp.arange(k)
    off = label_smoothing / k
    q = xp.where(hit, 1.0 - label_smoothing + off, off)
    q = xp.astype(q, logits.dtype)
    # Where q = 0 the term is 0 even for log p = -inf (a logit of -inf rules a class out).
    terms = xp.where(q.real > 0, q * xp.where(q.real > 0, log_p, xp.zeros_like(log_p)), xp.zeros_like(q))
    loss = -xp.sum(terms) / n
    return loss, SoftmaxCrossEntropyCache(xp.exp(log_p), q)
    # end of exercise


# log p[k] = a[k] - log sum_l exp(a[l]), so dlog p[k]/da[l] = [k = l] - p[l], and because sum_k q[k] = 1
#     dL/da[n,l] = -1/N sum_k q[n,k] ([k = l] - p[n,l]) = (p[n,l] - q[n,l]) / N
def softmax_cross_entropy_backward(
    dloss: Array | float, cache: SoftmaxCrossEntropyCache
) -> SoftmaxCrossEntropyGradients:
    """Return the gradient of the logits for a scalar upstream gradient (1.0 where the loss is the end)."""
    p, q = cache
    check_scalar(dloss)
    # exercise softmax_cross_entropy_backward: 2 points, level 2, lesson 3 "The gradient of the loss"
    return SoftmaxCrossEntropyGradients((p - q) * namespace(p).asarray(dloss, dtype=p.dtype) / p.shape[0])
    # end of exercise


def check_scalar(dloss: Any) -> None:
    """Raise unless the upstream gradient is one number."""
    if getattr(dloss, "shape", ()) != ():
        raise ValueError(f"dloss: got shape {getattr(dloss, 'shape', None)}, wanted a scalar")


def check_loss_arguments(logits: Array, labels: Any, label_smoothing: float) -> None:
    """Raise unless the labels fit the logits and the smoothing is a share."""
    check_array("logits", logits, ("N", "K"))
    _check_labels(labels, *logits.shape)
    if not 0.0 <= label_smoothing <= 1.0:
        raise ValueError(f"label_smoothing: got {label_smoothing}, wanted 0 <= label_smoothing <= 1")


def _check_labels(labels: Any, n: int, k: int) -> None:
    if not is_array(labels):
        raise TypeError(f"labels: got {type(labels).__name__}, wanted an array of ints")
    xp = namespace(labels)
    if not xp.isdtype(labels.dtype, "integral"):
        raise TypeError(f"labels: got dtype {labels.dtype}, wanted ints")
    if labels.shape != (n,):
        raise ValueError(f"labels: got shape {labels.shape}, wanted ({n},) like the logits")
    low, high = int(xp.min(labels)), int(xp.max(labels))
    if low < 0 or high >= k:
        raise ValueError(f"labels: got {low if low < 0 else high}, wanted 0 to {k - 1} for {k} classes")
