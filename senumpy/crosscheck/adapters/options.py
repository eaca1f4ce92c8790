"""The options of a call under the names that somebody else's function or constructor has for them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from senumpy.crosscheck.exchange import all_options, defaults
from senumpy.verify.calls import OpCall

# Other names of options, in the order in which they are tried after the option's own.
ALIASES: dict[str, tuple[str, ...]] = {
    "kernel": ("kernel_size", "pool_size", "kernel_shape", "k"),
    "stride": ("strides", "s"),
    "padding": ("pad", "pads", "p"),
    "dilation": ("dilations", "dilation_rate", "rhs_dilation", "d"),
    "groups": ("group", "feature_group_count", "g"),
    "eps": ("epsilon", "variance_epsilon"),
    "axis": ("dim",),
    "label_smoothing": ("smoothing",),
    "squeeze": ("operator", "pool"),
    "gate": ("gate_layer", "scale_activation", "gate_fn", "gate_activation"),
}
_MASKS = ("kept", "mask", "keep_mask")
NOT_DEFAULT = "the function has no option {name!r}, which is {value!r} here (default {default!r})"


def parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """Return the parameters of a function by name; None where it doesn't tell (written in C)."""
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return None


def takes_anything(known: Mapping[str, inspect.Parameter] | None) -> bool:
    """Whether any keyword goes: the signature has ``**options``."""
    return known is not None and any(p.kind is p.VAR_KEYWORD for p in known.values())


class Options:
    """How a function takes the options of calls, and which calls it can't take.

    Parameters
    ----------
    function : callable
        Asked for the names of its parameters.
    rename : mapping of str, optional
        Names of options in a function that doesn't tell its parameters.
    """

    def __init__(self, function: Callable[..., Any], rename: Mapping[str, str] | None = None) -> None:
        self.known = parameters(function)
        self._rename = dict(rename or {})

    def has(self, *names: str) -> bool:
        """Whether the function has all of these parameters."""
        return self.known is not None and all(name in self.known for name in names)

    def fit(self, call: OpCall) -> tuple[dict[str, Any], str]:
        """Return the keyword options for a call, and why it can't be made (empty where it can)."""
        given: dict[str, Any] = {}
        standard, spelt = defaults(call), all_options(call)
        for name, value in spelt.items():
            if isinstance(value, np.random.Generator):
                reason = self._random(name, value, call, given)
            else:
                reason = self._option(name, value, standard.get(name), name in call.options, given)
            if reason:
                return {}, reason
        return given, ""

    def _option(self, name: str, value: Any, default: Any, spelt: bool, given: dict[str, Any]) -> str:
        """Put one option into `given`, or return why it doesn't fit."""
        # The stride of a pool is its kernel unless given; all else that wasn't spelt out is at its default.
        differs = spelt and value != default
        if self.known is None:  # its own defaults can't be seen: all is said
            given[self._rename.get(name, name)] = value
            return ""
        if takes_anything(self.known) and not self._name(name):
            if spelt:
                given[self._rename.get(name, name)] = value
            return ""
        own = self._name(name)
        if own is None:
            return NOT_DEFAULT.format(name=name, value=value, default=default) if differs else ""
        if spelt or self.known[own].default != default:
            given[own] = value
        return ""

    def _random(self, name: str, rng: np.random.Generator, call: OpCall, given: dict[str, Any]) -> str:
        if self.known is None or self.has(name) or takes_anything(self.known):
            given[name] = rng
            return ""
        for mask in _MASKS:
            if self.has(mask):
                given[mask] = rng.random(call.args[0].shape) >= call.options.get("p", 0.5)
                return ""
        if call.options.get("p", 0.5) == 0:
            return ""
        return f"it draws its own random numbers: to be compared it needs a parameter {name!r} or 'kept'"

    def _name(self, option: str) -> str | None:
        assert self.known is not None
        return next((name for name in (option, *ALIASES.get(option, ())) if name in self.known), None)


def first_of(names: Iterable[str], found: Mapping[str, Any]) -> str | None:
    """Return the first of the names that is there."""
    return next((name for name in names if name in found), None)


def same_option(a: Any, b: Any) -> bool:
    """Whether two values of an option mean the same: 2 is (2, 2)."""
    if isinstance(a, tuple | list) or isinstance(b, tuple | list):
        return pair(a) == pair(b)
    if isinstance(a, float) and isinstance(b, float):  # one of them may have been through a float32
        return math.isclose(a, b, rel_tol=1e-6)
    return bool(a == b)


def pair(value: Any) -> tuple[Any, ...]:
    """Return a tuple: a single value stands for both axes."""
    return tuple(value) if isinstance(value, tuple | list) else (value, value)
