"""He initialisation (He et al. 2015, arXiv 1502.01852, eq. 10): keeps the variance from ReLU layer to layer.

w ~ N(0, 2 / fan_in)        fan_in = number of inputs that one output sums over
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import Array


class _Blank:
    """A generator that draws zeros."""

    def standard_normal(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        return np.zeros(shape, dtype)


BLANK: Any = _Blank()


def he_normal(
    shape: tuple[int, ...], *, engine: Engine, rng: np.random.Generator | None, dtype: Any
) -> Array:
    """Draw weights of shape (O, ...); every axis but the first counts as fan-in.

    The draws are float32 for every dtype, so that a seed means the same network in float32 and float64.
    """
    rng = rng if rng is not None else np.random.default_rng()
    return engine.normal(shape, math.sqrt(2.0 / math.prod(shape[1:])), rng, dtype)
