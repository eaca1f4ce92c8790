"""Mistakes in running statistics, which are no operation but state that a batch-norm layer keeps.

    running = (1 - momentum) running + momentum statistic

The mean is stored as it is. The variance is stored unbiased: times M / (M - 1), where M values went into it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from senumpy.verify.mistakes.registry import Mistake


class Terms(NamedTuple):
    """What the update is made of; statistics are numbers or (C,) arrays, the weights are numbers."""

    old_mean: Any
    old_var: Any
    mean: Any  # of the batch
    var: Any  # of the batch, already unbiased
    biased: Any
    mean_weights: tuple[float, float]  # of the old value and of the batch's
    var_weights: tuple[float, float]

    def updated(self) -> tuple[Any, Any]:
        """Return the new running mean and the new running variance."""
        (a, b), (c, d) = self.mean_weights, self.var_weights
        return a * self.old_mean + b * self.mean, c * self.old_var + d * self.var


def right_terms(old_mean: Any, old_var: Any, mean: Any, biased: Any, count: int, momentum: float) -> Terms:
    """Return the terms of the right update after a batch of `count` values a channel."""
    weights = (1.0 - momentum, momentum)
    return Terms(old_mean, old_var, mean, biased * count / max(1, count - 1), biased, weights, weights)


def running_variance(running: float, biased_var: float, count: int, momentum: float) -> float:
    """Return the running variance after a batch of `count` values with the given biased variance."""
    return right_terms(0.0, running, 0.0, biased_var, count, momentum).updated()[1]


class RunningMistake(NamedTuple):
    """A wrong update: `change` returns other terms. One change upon another makes two mistakes."""

    name: str
    explanation: str
    change: Callable[[Terms], Terms]

    def update(self, running: float, biased_var: float, count: int, momentum: float) -> float:
        """Return the wrong running variance."""
        return self.change(right_terms(0.0, running, 0.0, biased_var, count, momentum)).updated()[1]

    @property
    def mistake(self) -> Mistake:
        """The same as an entry of the bank; it has no forward and no backward."""
        return Mistake("batchnorm2d", f"running-{self.name}", self.explanation)


def _mean_weights(weights: Callable[[tuple[float, float]], tuple[float, float]]) -> Callable[[Terms], Terms]:
    return lambda t: t._replace(mean_weights=weights(t.mean_weights))


def _weights(weights: Callable[[tuple[float, float]], tuple[float, float]]) -> Callable[[Terms], Terms]:
    return lambda t: t._replace(mean_weights=weights(t.mean_weights), var_weights=weights(t.var_weights))


_OLD_FIRST = (
    "Momentum is the weight of the old value (Keras, ONNX, Caffe) instead of the new one (PyTorch, here): "
    "m against 1 - m."
)

RUNNING_MISTAKES = (
    RunningMistake("momentum-reversed", _OLD_FIRST, _weights(lambda w: w[::-1])),
    RunningMistake(
        "biased-variance",
        "running_var follows the biased variance; PyTorch stores the unbiased one, ONNX the biased.",
        lambda t: t._replace(var=t.biased),
    ),
    RunningMistake(
        "replaced",
        "The last batch's statistics replace the running ones.",
        _weights(lambda w: (0.0, 1.0)),
    ),
    RunningMistake(
        "variance-momentum-reversed",
        "Momentum is the weight of the old value in running_var, and of the new one in running_mean.",
        lambda t: t._replace(var_weights=t.var_weights[::-1]),
    ),
    RunningMistake(
        "mean-momentum-reversed",
        "Momentum is the weight of the old value in running_mean, and of the new one in running_var.",
        _mean_weights(lambda w: w[::-1]),
    ),
    RunningMistake(
        "deviation",
        "running_var follows the standard deviation instead of the variance.",
        lambda t: t._replace(var=np.sqrt(t.var)),
    ),
    RunningMistake(
        "not-updated", "The running statistics are left as they were.", _weights(lambda w: (1.0, 0.0))
    ),
    RunningMistake(
        "added",
        "The batch's share is added, but the old value is not shrunk.",
        _weights(lambda w: (1.0, w[1])),
    ),
    RunningMistake(
        "mean-not-updated",
        "running_mean is left as it was; only running_var is updated.",
        _mean_weights(lambda w: (1.0, 0.0)),
    ),
    RunningMistake(
        "variance-not-updated",
        "running_var is left as it was; only running_mean is updated.",
        lambda t: t._replace(var_weights=(1.0, 0.0)),
    ),
    RunningMistake(
        "variance-from-zero",
        "running_var follows mean(x^2): the mean is not subtracted.",
        lambda t: t._replace(var=t.biased + t.mean * t.mean),
    ),
)
