"""Mistakes in running statistics, which are no operation but state that a batch-norm layer keeps.

    running = (1 - momentum) running + momentum statistic

The mean is stored as it is. The variance is stored unbiased: times M / (M - 1), where M values went into it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

Update = Callable[[float, float, int, float], float]


class RunningMistake(NamedTuple):
    """A wrong `update(running, biased_var, count, momentum)` of the running variance."""

    name: str
    explanation: str
    update: Update


def running_variance(running: float, biased_var: float, count: int, momentum: float) -> float:
    """Return the running variance after a batch of `count` values with the given biased variance."""
    return (1.0 - momentum) * running + momentum * biased_var * count / (count - 1)


RUNNING_MISTAKES = (
    RunningMistake(
        "momentum-reversed",
        "Momentum is the weight of the old value instead of the new one.",
        lambda running, var, count, momentum: running_variance(running, var, count, 1.0 - momentum),
    ),
    RunningMistake(
        "biased-variance",
        "The biased variance is stored; PyTorch stores the unbiased one, ONNX this one.",
        lambda running, var, count, momentum: (1.0 - momentum) * running + momentum * var,
    ),
    RunningMistake(
        "replaced",
        "The last batch's variance replaces the running one.",
        lambda running, var, count, momentum: var * count / (count - 1),
    ),
    RunningMistake(
        "deviation",
        "The standard deviation is averaged instead of the variance.",
        lambda running, var, count, momentum: (1.0 - momentum) * running + momentum * var**0.5,
    ),
)
