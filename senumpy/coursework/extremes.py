"""Calls that need care: extreme numbers, where formulas that are right on paper fail; rarer settings."""

from __future__ import annotations

import numpy as np

from senumpy.verify.calls import OpCall


def extreme_calls(op: str, seed: int) -> list[OpCall]:
    """Return calls of an operation that need care; few, and none for most operations."""
    rng = np.random.default_rng([seed, 7])

    def draw(*shape: int, scale: float = 1.0, mean: float = 0.0) -> np.ndarray:
        return rng.normal(mean, scale, shape).astype(np.float32).astype(np.float64)

    if op == "sigmoid":
        return [OpCall(op, (draw(3, 4, scale=800.0),), seed=seed, note="large numbers")]
    if op == "softmax_cross_entropy":
        logits, labels = draw(4, 5, scale=1e4), rng.integers(0, 5, 4)
        return [OpCall(op, (logits, labels), seed=seed, note="large logits")]
    if op == "batchnorm2d":
        args = draw(3, 2, 4, 4, mean=1e4), draw(2), draw(2)
        return [OpCall(op, args, seed=seed, note="a large mean")]
    if op == "pad_shortcut":
        settings = {"channels": 3, "stride": (1, 2)}
        return [OpCall(op, (draw(2, 2, 3, 4),), settings, seed=seed, note="a pair of strides")]
    return []
