"""An engine that remembers the gates of every SE block that runs on it."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.engines import Engine
from senumpy.engines.steps import StepEngine
from senumpy.ops.arrays import Array


class GateWatcher(StepEngine):
    """The operations of another engine, one by one, with an eye on SE.

    Attributes
    ----------
    gates : list of array
        s (N, C) of each SE block in the order of execution, in NumPy.
    """

    def __init__(self, inner: Engine) -> None:
        self.gates: list[np.ndarray[Any, Any]] = []
        self.inner = inner
        own = {name for cls in (GateWatcher, StepEngine) for name in vars(cls)}
        for name in {*ops.__all__, *_HELPERS} - own:
            setattr(self, name, getattr(inner, name))

    def squeeze_excite_forward(
        self, u: Array, *weights: Any, squeeze: str = "avg", gate: str = "sigmoid"
    ) -> Any:
        """Run SE and remember its gates; there is no cache."""
        z, _ = self.inner.squeeze_forward(u, operator=squeeze)
        s, _ = self.inner.excitation_forward(z, *weights, gate=gate)
        self.gates.append(self.inner.to_numpy(s))
        return self.inner.scale_forward(u, s)


_HELPERS = (
    *("name", "describe", "device_memory", "peak_memory"),
    *("asarray", "to_numpy", "zeros", "normal", "shifted", "times"),
)
