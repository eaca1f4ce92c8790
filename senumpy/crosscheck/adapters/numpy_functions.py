"""A pair of functions on NumPy arrays; results may be any arrays with ``__dlpack__``, on a device too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from senumpy.crosscheck.adapters.options import Options
from senumpy.crosscheck.conduct import Record, Restriction, changed, named_leaves, sharing
from senumpy.verify.calls import OpCall
from senumpy.verify.slots import CandidateError, Slot, gradients_by_slot, slot_of, text_of

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
        args = call.arguments(dtype)
        given, before = named_leaves(call, args), named_leaves(call, call.arguments(dtype))
        options, _ = self._options.fit(call)
        running = self._running(call, dtype, options)
        result = self._forward(*args, **options)
        value, cache = self._split(result, record)
        record.answer.conduct += changed(given, before, "forward")
        _note(record, sharing("y", value, given))
        dy = record.forward(value)
        for name, array in running.items():
            record.take(name, array)
        if self._backward is None:
            return
        self._gradients(call, record, (dy, cache, {**given, "y": value}), before)

    def _gradients(
        self, call: OpCall, record: Record, way: tuple[Any, Any, dict[str, Any]], before: dict[str, Any]
    ) -> None:
        assert self._backward is not None
        dy, cache, given = way
        dy_before = dy.copy()
        for name in before:
            before[name] = given[name].copy()  # what forward changed is not backward's
        gradients = self._backward(dy if dy.ndim else dy[()], cache)
        upstream = {"the upstream gradient": dy}
        record.answer.conduct += changed(upstream, {"the upstream gradient": dy_before}, "backward")
        leaves = {name: given[name] for name in before}
        record.answer.conduct += changed(leaves, before, "backward")
        slots = [
            slot for i, name in enumerate(call.spec.arguments) if (slot := slot_of(name, i, call.args[i]))
        ]
        try:
            found = gradients_by_slot(gradients, slots)
        except CandidateError as error:
            record.note("type", str(error))
            return
        named: dict[str, Any] = {}
        for slot, gradient in zip(slots, found, strict=True):
            named |= _leaves(slot, gradient, record)
        others = {**given, **upstream}
        for name, gradient in named.items():
            _note(record, sharing(name, gradient, others))
            others[name] = gradient

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

    def _split(self, result: Any, record: Record) -> tuple[Any, Any]:
        if isinstance(result, tuple | list) and len(result) == 2:
            return result[0], result[1]
        if self._backward is not None:
            what = text_of(result)
            record.note("type", f"forward returned {what}, wanted a pair (y, cache), as there is a backward")
            return result, None
        return result, None


def _leaves(slot: Slot, gradient: Any, record: Record) -> dict[str, Any]:
    """Give the gradient of one argument to `record`; return its arrays by name."""
    if slot.absent:
        record.absent(f"d{slot.name}", gradient)
        return {}
    if slot.length is None:
        record.take(f"d{slot.name}", gradient)
        return {f"d{slot.name}": gradient}
    if not isinstance(gradient, tuple | list) or len(gradient) != slot.length:
        what = text_of(gradient)
        record.note("type", f"d{slot.name} is {what}, wanted a tuple of {slot.length} arrays")
        return {}
    for leaf, part in zip(slot.leaves, gradient, strict=True):
        record.take(f"d{leaf}", part)
    return {f"d{leaf}": part for leaf, part in zip(slot.leaves, gradient, strict=True)}


def _note(record: Record, conduct: Any) -> None:
    if conduct is not None:
        record.answer.conduct.append(conduct)
