"""An engine whose arrays have shapes and no memory: for networks that are only asked what they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from senumpy.engines.steps import StepEngine
from senumpy.ops.arrays import Array


def shape_array(*shape: int) -> Array:
    """Return zeros of `shape` that take no memory: all strides are 0."""
    return np.broadcast_to(np.float32(0.0), shape)


class ShapeEngine(StepEngine):
    """Make weights without numbers: nothing is drawn, nothing takes memory. Operations are the subclass's."""

    name = "shapes"

    def normal(self, shape: Iterable[int], scale: float, rng: Any, dtype: Any) -> Array:
        """Return weights without numbers."""
        return shape_array(*shape)

    @staticmethod
    def zeros(shape: Iterable[int], dtype: Any) -> Array:
        """Return zeros without memory."""
        return shape_array(*shape)

    def shifted(self, x: Array, by: int) -> Array:
        """Return the shape of `x`."""
        return shape_array(*x.shape)
