"""A pair of functions on NumPy arrays; results may be any arrays with ``__dlpack__``, on a device too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from senumpy.crosscheck.adapters.options import Options
from senumpy.verify.calls import OpCall
from senumpy.verify.conduct import Record, Restriction
from senumpy.verify.pairs import run_pair

_STATISTICS = ("running_mean", "running_var")


class NumpyFunctions:
    """Functions with the signatures of `senumpy.ops`, or near them.

    Parameters
    ----------
    forward : callable
        ``forward(*args, **options)`` -> ``(y, cache)``, or ``y`` alone where there is no backward. With
        parameters ``running_mean`` and ``running_var`` (and ``momentum``) it gets arrays, to be updated in
        place.
    backward : callable, optional
        ``backward(dy, cache)`` -> gradients: a named tuple, tuple or list in the order of the arguments, a
        dictionary by name (``"dx"`` or ``"x"``), or a single array.
    """

    framework = "numpy"

    def __init__(self, forward: Callable[..., Any], backward: Callable[..., Any] | None) -> None:
        self._forward, self._backward = forward, backward
        self._options = Options(forward)

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is."""
        return self._options.fit(call)[1]

    def restrict(self) -> Restriction | None:
        """Return None: functions take any geometry."""
        return None

    def run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        """Call forward, then backward, and see what became of the arguments."""
        options, _ = self._options.fit(call)
        running = self._running(call, dtype, options)
        run_pair(call, record, self._forward, self._backward, options, running)

    def _running(self, call: OpCall, dtype: np.dtype[np.floating], options: dict[str, Any]) -> dict[str, Any]:
        """Put running statistics into the options where the function has parameters for them."""
        start = call.running(dtype)
        if start is None or not self._options.has(*_STATISTICS):
            return {}
        running = dict(zip(_STATISTICS, (start.mean, start.var), strict=True))
        options |= running
        if self._options.has("momentum"):
            options["momentum"] = start.momentum
        if self._options.has("training"):
            options["training"] = True
        return running
