"""An engine that remembers the gates of every SE block that runs on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.engines.steps import StepEngine
from senumpy.ops.arrays import Array


class GateWatcher(StepEngine):
    """The operations as they stand; `gates` lists s (N, C) of each SE block in the order of execution."""

    def __init__(self) -> None:
        self.gates: list[np.ndarray[Any, Any]] = []

    def squeeze_excite_forward(self, u: Array, *weights: Any, **settings: Any) -> Any:
        """Run SE and remember its gates."""
        y, cache = Engine.squeeze_excite_forward(u, *weights, **settings)
        self.gates.append(cache.scale.s)
        return y, cache
