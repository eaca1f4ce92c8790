"""Whether options that a user gives exist, and are of the right kind."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from senumpy.errors import InputError, unknown_name
from senumpy.verify.cases import op_spec

_PAIRS = ("stride", "padding", "dilation", "kernel")
_WHOLE = ("groups", "channels", "axis")
_WORDS = {"gate": ("sigmoid", "tanh", "relu"), "squeeze": ("avg", "max"), "operator": ("avg", "max")}


def check_options(op: str, options: Mapping[str, Any]) -> None:
    """Raise InputError unless these are options of an operation, with values of their kind."""
    parameters = inspect.signature(op_spec(op).forward).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for name, value in options.items():
        if name not in known:
            raise unknown_name(f"option of {op}", name, known)
        wanted = _wanted(name, value)
        if wanted:
            raise InputError(f"option {name}: got {value!r}, wanted {wanted}")


def _wanted(name: str, value: Any) -> str:
    """Return what an option's value should have been; empty for a right one."""
    if name in _PAIRS:
        parts = value if isinstance(value, tuple | list) and len(value) == 2 else (value,)
        return "" if all(_whole(part) for part in parts) else "a whole number or two"
    if name in _WHOLE:
        return "" if _whole(value) or (name == "axis" and isinstance(value, int)) else "a whole number"
    if name in _WORDS:
        return "" if value in _WORDS[name] else f"one of {', '.join(_WORDS[name])}"
    if name.startswith(("ceil", "count")):
        return "" if isinstance(value, bool) else "True or False"
    if name in ("eps", "p", "label_smoothing"):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if number and value >= 0 else "a number of at least 0"
    return ""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
