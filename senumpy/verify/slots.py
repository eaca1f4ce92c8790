"""The ways in which a backward may return its gradients, and which gradient is whose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


class CandidateError(Exception):
    """The functions under test raised, or returned something that has no place in the contract.

    Attributes
    ----------
    stage : str
        "forward" or "backward".
    """

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


@dataclass(frozen=True)
class Slot:
    """An argument that has a gradient: one array, a list of arrays, or None (then so is its gradient)."""

    name: str
    key: int | str
    length: int | None = None
    absent: bool = False

    @property
    def leaves(self) -> tuple[str, ...]:
        """Names of its arrays: ``x``, or ``xs[0]``, ``xs[1]`` of a list."""
        if self.absent:
            return ()
        return (self.name,) if self.length is None else tuple(f"{self.name}[{i}]" for i in range(self.length))


def slot_of(name: str, key: int | str, value: Any) -> Slot | None:
    """Return the slot of an argument: floating-point arrays, lists of them and None have one."""
    if value is None:
        return Slot(name, key, absent=True)
    if _is_float_array(value):
        return Slot(name, key)
    if isinstance(value, list | tuple) and value and all(_is_float_array(item) for item in value):
        return Slot(name, key, length=len(value))
    return None


def gradients_by_slot(result: Any, slots: Sequence[Slot]) -> list[Any]:
    """Return one gradient a slot, whatever way `backward` returned them.

    As a named tuple, tuple or list in the order of the arguments (with None for an argument that is None, or
    without), a dictionary by name (``"dx"`` or ``"x"``), or a single array where there is one argument.

    Raises
    ------
    CandidateError
        There are more or fewer gradients, or names are missing.
    """
    present = [slot for slot in slots if not slot.absent]
    names = [f"d{slot.name}" for slot in slots]
    if hasattr(result, "_asdict") and set(result._fields) >= set(names):
        result = result._asdict()
    if isinstance(result, Mapping):
        return [_by_name(result, slot) for slot in slots]
    if len(present) == 1 and _is_whole(result, present[0]):
        return [None if slot.absent else result for slot in slots]
    if isinstance(result, tuple | list):
        if len(result) == len(slots):
            return list(result)
        if len(result) == len(present):
            rest = iter(result)
            return [None if slot.absent else next(rest) for slot in slots]
    wanted = f"{len(slots)} gradient{'s' * (len(slots) != 1)}: {', '.join(names)}"
    raise CandidateError("backward", f"backward returned {text_of(result)}, wanted {wanted}")


def text_of(value: Any) -> str:
    """Describe what was returned in a few words."""
    if isinstance(value, tuple | list):
        return f"{len(value)} value{'s' * (len(value) != 1)}"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, Mapping):
        return f"a dictionary of {', '.join(map(repr, value))}"
    return "None" if value is None else type(value).__name__


def _by_name(result: Mapping[str, Any], slot: Slot) -> Any:
    for key in (f"d{slot.name}", slot.name):
        if key in result:
            return result[key]
    if slot.absent:
        return None
    raise CandidateError("backward", f"backward returned {text_of(result)}, wanted a key 'd{slot.name}'")


def _is_float_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.generic | float) or hasattr(value, "__dlpack__")


def _is_whole(result: Any, slot: Slot) -> bool:
    """Whether `result` is itself the gradient of the only slot, and not a tuple that holds it."""
    if slot.length is None:
        return _is_array(result)
    return (
        isinstance(result, tuple | list)
        and len(result) == slot.length
        and all(_is_array(item) and not isinstance(item, float) for item in result)
    )
