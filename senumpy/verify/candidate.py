"""Anybody's forward/backward pair, called safely: every way of naming gradients, every exception caught."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.errors import InputError
from senumpy.verify.slots import CandidateError, Slot, gradients_by_slot, slot_of, text_of

Array = NDArray[Any]
Values = dict[str, Array]


class Arguments:
    """The arguments of a call, taken apart into named float64 arrays and everything else.

    Parameters
    ----------
    forward : callable
        Asked for the names of its positional arguments.
    args, kwargs : tuple, dict
        The call. Floating-point arrays, lists of them, and None in their place have gradients.
    names : sequence of str, optional
        The arguments that `backward` returns gradients of, in its order; all floating-point ones if None.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        names: Sequence[str] | None = None,
    ) -> None:
        self.signature = forward
        self.args, self.kwargs = tuple(args), dict(kwargs)
        self.positional = _positional_names(forward, len(self.args))
        positional = enumerate(zip(self.positional, self.args, strict=True))
        found: list[tuple[str, int | str, Any]] = [(name, key, value) for key, (name, value) in positional]
        found += [(name, name, value) for name, value in self.kwargs.items() if value is not None]
        slots = [slot for name, key, value in found if (slot := slot_of(name, key, value)) is not None]
        self.all_slots = tuple(slots)
        self.values: Values = {
            leaf: np.array(array, dtype=np.float64, order="K")
            for slot in slots
            for leaf, array in zip(slot.leaves, self._arrays(slot), strict=True)
        }
        self.slots = self.all_slots if names is None else self._named(names)
        self.leaves = tuple(leaf for slot in self.slots for leaf in slot.leaves)
        if not self.leaves:
            raise InputError("no floating-point array among the arguments: there is no gradient to check")

    def _named(self, names: Sequence[str]) -> tuple[Slot, ...]:
        known = {slot.name: slot for slot in self.all_slots}
        for name in names:
            if name not in known and name in _optional_names(self.signature):
                known[name] = Slot(name, name, absent=True)
            elif name not in known:
                wanted = ", ".join(known) or "none"
                raise InputError(f"argument {name!r} is no floating-point array; those are: {wanted}")
        return tuple(known[name] for name in names)

    def _arrays(self, slot: Slot) -> list[Array]:
        value = self.args[slot.key] if isinstance(slot.key, int) else self.kwargs[slot.key]
        return [] if slot.absent else [value] if slot.length is None else list(value)

    def build(self, values: Values) -> tuple[list[Any], dict[str, Any]]:
        """Return (args, kwargs) of the call with `values` in the places of the arrays.

        Random generators are copied, so that every call draws the same numbers.
        """
        args: list[Any] = list(self.args)
        kwargs = {key: _fresh(value) for key, value in self.kwargs.items()}
        for slot in self.all_slots:
            if slot.absent:
                continue
            arrays = [values[leaf] for leaf in slot.leaves]
            value: Any = arrays[0] if slot.length is None else arrays
            if isinstance(slot.key, int):
                args[slot.key] = value
            else:
                kwargs[slot.key] = value
        return [_fresh(value) for value in args], kwargs


class Candidate:
    """A forward/backward pair on given arguments. All failures become `CandidateError`.

    Parameters
    ----------
    forward : callable
        ``forward(*args, **kwargs) -> (y, cache)``.
    backward : callable
        ``backward(dy, cache)`` -> the gradients: named tuple, tuple or list in the order of the arguments,
        dictionary by name (``"dx"`` or ``"x"``), or a single array.
    arguments : Arguments
    """

    def __init__(
        self, forward: Callable[..., Any], backward: Callable[..., Any] | None, arguments: Arguments
    ) -> None:
        self._forward, self._backward, self.arguments = forward, backward, arguments

    def forward(self, values: Values) -> tuple[Array, Any]:
        """Return (y, cache); `values` are handed over as they are."""
        args, kwargs = self.arguments.build(values)
        result = _guarded("forward", self._forward, *args, **kwargs)
        if not isinstance(result, tuple | list) or len(result) != 2:
            kind = type(result).__name__
            raise CandidateError("forward", f"forward returned {kind}, wanted a pair (y, cache)")
        try:
            y = np.asarray(result[0])
        except ValueError as error:
            raise CandidateError("forward", f"forward's result is no array: {error}") from error
        if y.dtype.kind not in "fc":
            raise CandidateError("forward", f"forward returned dtype {y.dtype}, wanted floating point")
        return y, result[1]

    def output(self, values: Values) -> Array:
        """Return y of a call on copies, so that a function that changes its arguments spoils nothing."""
        return self.forward({leaf: array.copy(order="K") for leaf, array in values.items()})[0]

    def backward(self, dy: Array, cache: Any) -> dict[str, Array]:
        """Return the gradients by name of leaf; `dy` is handed over as it is (a scalar where y is one)."""
        assert self._backward is not None
        result = _guarded("backward", self._backward, dy if dy.ndim else dy[()], cache)
        return dict(self._named_gradients(result))

    def _named_gradients(self, result: Any) -> Iterator[tuple[str, Array]]:
        slots = self.arguments.slots
        for slot, gradient in zip(slots, gradients_by_slot(result, slots), strict=True):
            if slot.absent:
                if gradient is not None:
                    raise CandidateError("backward", f"d{slot.name} is {text_of(gradient)}, wanted None: "
                                         f"the argument {slot.name} is None")  # fmt: skip
                continue
            arrays = [gradient] if slot.length is None else gradient
            if slot.length is not None and (
                not isinstance(arrays, tuple | list) or len(arrays) != slot.length
            ):
                raise CandidateError(
                    "backward", f"d{slot.name} is {text_of(arrays)}, wanted a tuple of {slot.length} arrays"
                )
            for leaf, array in zip(slot.leaves, arrays, strict=True):
                yield leaf, _checked(leaf, array, self.arguments.values[leaf])


def walk_arrays(value: Any, path: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Array]]:
    """Yield (path, array) for every array inside tuples, lists, dictionaries and objects' attributes."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        yield path, value
        return
    if isinstance(value, Mapping):
        items = [(f"[{key!r}]", item) for key, item in value.items()]
    elif hasattr(value, "_fields"):
        items = [(f".{name}", getattr(value, name)) for name in value._fields]
    elif isinstance(value, list | tuple):
        items = [(f"[{i}]", item) for i, item in enumerate(value)]
    elif hasattr(value, "__dict__") and not isinstance(value, type) and not callable(value):
        items = [(f".{name}", item) for name, item in vars(value).items()]
    else:
        return
    for suffix, item in items:
        yield from walk_arrays(item, path + suffix, seen)


def _guarded(stage: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except (Exception, SystemExit) as error:
        raise CandidateError(stage, f"raised {type(error).__name__} in {stage}: {error}") from error


def _checked(leaf: str, gradient: Any, value: Array) -> Array:
    """Return the gradient of one array, or raise because it is missing or misshaped."""
    if gradient is None:
        raise CandidateError("backward", f"d{leaf} is None, wanted an array of shape {value.shape}")
    try:
        array = np.asarray(gradient)
    except ValueError as error:
        raise CandidateError("backward", f"d{leaf} is no array: {error}") from error
    if array.dtype.kind not in "fiu":
        raise CandidateError("backward", f"d{leaf} has dtype {array.dtype}, wanted floating point")
    if array.shape != value.shape:
        transposed = " (the transpose?)" if array.shape == value.shape[::-1] else ""
        raise CandidateError("backward", f"d{leaf} has shape {array.shape}, wanted {value.shape}{transposed}")
    return array


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # a function without a signature, written in C
        return []


def _optional_names(function: Callable[..., Any]) -> list[str]:
    """Return the parameters that are None unless given."""
    return [parameter.name for parameter in _parameters(function) if parameter.default is None]


def _positional_names(function: Callable[..., Any], count: int) -> list[str]:
    """Return names of the first `count` positional parameters; ``args[i]`` for those without one."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in _parameters(function) if parameter.kind in kinds]
    return [names[i] if i < len(names) else f"args[{i}]" for i in range(count)]


def _fresh(value: Any) -> Any:
    """Copy what a call could change: generators and arrays of labels."""
    if isinstance(value, np.random.Generator) or (
        isinstance(value, np.ndarray) and value.dtype.kind in "iub"
    ):
        return copy.deepcopy(value)
    return value
