"""A forward and a backward on NumPy arrays, called and watched: what `Record` notes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from senumpy.verify.calls import OpCall
from senumpy.verify.conduct import Record, changed, named_leaves, sharing
from senumpy.verify.slots import CandidateError, Slot, gradients_by_slot, slot_of, text_of


def run_pair(
    call: OpCall,
    record: Record,
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None,
    options: dict[str, Any],
    running: dict[str, Any] | None = None,
) -> None:
    """Call forward, then backward, and see what became of the arguments.

    Parameters
    ----------
    call : OpCall
    record : Record
        Of the call, in the dtype that arguments are to have; takes the results.
    forward : callable
        ``forward(*args, **options)`` -> ``(y, cache)``, or ``y`` alone where there is no backward.
    backward : callable or None
        ``backward(dy, cache)`` -> gradients: a named tuple, tuple or list in the order of the arguments, a
        dictionary by name (``"dx"`` or ``"x"``), or a single array.
    options : dict
        What forward is called with by name.
    running : dict, optional
        Arrays among the options that forward updates in place, results by these names.
    """
    args = call.arguments(record.dtype)
    given, before = named_leaves(call, args), named_leaves(call, call.arguments(record.dtype))
    result = forward(*args, **options)
    value, cache = _split(result, backward is not None, record)
    record.answer.conduct += changed(given, before, "forward")
    _note(record, sharing("y", value, given))
    dy = record.forward(value)
    for name, array in (running or {}).items():
        record.take(name, array)
    if backward is not None:
        _gradients(call, record, backward, (dy, cache, {**given, "y": value}), before)


def _gradients(
    call: OpCall,
    record: Record,
    backward: Callable[..., Any],
    way: tuple[Any, Any, dict[str, Any]],
    before: dict[str, Any],
) -> None:
    dy, cache, given = way
    dy_before = dy.copy()
    for name in before:
        before[name] = given[name].copy()  # what forward changed is not backward's
    gradients = backward(dy if dy.ndim else dy[()], cache)
    upstream = {"the upstream gradient": dy}
    record.answer.conduct += changed(upstream, {"the upstream gradient": dy_before}, "backward")
    leaves = {name: given[name] for name in before}
    record.answer.conduct += changed(leaves, before, "backward")
    slots = [slot for i, name in enumerate(call.spec.arguments) if (slot := slot_of(name, i, call.args[i]))]
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


def _split(result: Any, wanted: bool, record: Record) -> tuple[Any, Any]:
    if isinstance(result, tuple | list) and len(result) == 2:
        return result[0], result[1]
    if wanted:
        what = text_of(result)
        record.note("type", f"forward returned {what}, wanted a pair (y, cache), as there is a backward")
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
