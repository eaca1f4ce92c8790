"""A PyTorch Module as an operation: an instance of fixed geometry, a class, or a factory ``make(call)``."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np
import torch

from senumpy.crosscheck.adapters.construct import Constructor
from senumpy.crosscheck.adapters.options import ALIASES
from senumpy.crosscheck.adapters.parameters import Parameter, inputs_of, match, parameters_of
from senumpy.crosscheck.adapters.torch_tensors import Inputs, differentiate, dtype_of, take_absent, tensor
from senumpy.errors import InputError
from senumpy.verify.calls import OpCall
from senumpy.verify.cases import op_spec
from senumpy.verify.conduct import Record, Restriction

_BUFFERS = {
    "running_mean": ("running_mean", "moving_mean", "mean"),
    "running_var": ("running_var", "moving_var", "moving_variance", "var"),
}
_GATES = {"sigmoid": torch.nn.Sigmoid, "tanh": torch.nn.Tanh, "relu": torch.nn.ReLU}


def is_module_target(target: Any) -> bool:
    """Whether a target is a Module, a class of Modules, or a factory of them."""
    if isinstance(target, torch.nn.Module):
        return True
    if inspect.isclass(target):
        return issubclass(target, torch.nn.Module)
    try:
        known = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return False
    return [p.name for p in known if p.default is p.empty] == ["call"]


class TorchModule:
    """A Module that gets the call's weights, and is called with what is left.

    An instance is copied: what it is and holds stays as it was. Its copy starts each call in its first state.

    Parameters
    ----------
    op : str
    target : Module, class of Modules, or function
        See `Constructor` for how classes are built, and `parameters.match` for how parameters are told apart.

    Raises
    ------
    InputError
        A class that nothing is known to build with, or an instance whose parameters are not the operation's.
    """

    framework = "torch"

    def __init__(self, op: str, target: Any) -> None:
        self._op, self._make, self._fixed = op, None, None
        if isinstance(target, torch.nn.Module):
            try:
                self._fixed = copy.deepcopy(target)
            except Exception as error:
                raise InputError(
                    f"{type(target).__name__} can't be copied ({error}): give its class"
                ) from None
            self._state = copy.deepcopy(target.state_dict())
            self._restriction = _restriction(op, self._fixed)
        else:
            self._make = Constructor(op, target)

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is."""
        if self._make is None:
            return ""
        reason = self._make.fill(call)[1]
        if reason or not parameters_of(self._op):
            return reason
        module = self._module(call)
        try:
            placed = _placed(call.op, module, call)
        except InputError as error:
            return str(error)
        missing = [name for name in _given(call) if name not in placed]
        return f"it has no {missing[0]}" if missing else ""

    def restrict(self) -> Restriction | None:
        """Return an instance's geometry, or the options that a class can't be told."""
        return self._restriction if self._make is None else Restriction(options=self._make.fixed(self._op))

    def run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        """Set the weights, call the Module, take the gradients of inputs and weights."""
        module = self._module(call).to(dtype_of(dtype)).train(not call.op.endswith("_inference"))
        named = dict(zip(call.names, call.arguments(dtype), strict=True))
        placed = _placed(call.op, module, call)
        weights = dict(module.named_parameters())
        _set_weights(named, placed, weights)
        running = _set_statistics(call, dtype, module, named, fixed=self._make is None)
        inputs = Inputs(call, dtype)
        arguments = inputs.by_name(call)
        y = module(*(arguments[name] for name in inputs_of(call.op)))
        inputs.note_changes(record)
        kept = inputs_of(call.op)
        leaves = {name: leaf for name, leaf in inputs.leaves.items() if name.partition("[")[0] in kept}
        leaves |= {name: weights[path] for name, path in placed.items() if named[name] is not None}
        gradients = differentiate(y, leaves, record)
        for name, buffer in running.items():
            record.take(name, buffer)
        for name, gradient in gradients.items():
            if name in placed:
                gradient = gradient.reshape(named[name].shape)
            record.take(f"d{name}", gradient)
        take_absent(call, record)

    def _module(self, call: OpCall) -> torch.nn.Module:
        if self._make is None:
            assert self._fixed is not None
            self._fixed.load_state_dict(self._state)
            self._fixed.zero_grad()
            return self._fixed
        if self._make.factory:
            module = self._make(call)
        else:
            arguments, _ = self._make.fill(call)
            module = self._make.build({name: _gate(self._make, name, v) for name, v in arguments.items()})
        if not isinstance(module, torch.nn.Module):
            raise TypeError(f"the factory returned a {type(module).__name__}, wanted a torch.nn.Module")
        return module


def _gate(make: Constructor, name: str, value: Any) -> Any:
    """Return a gate as a class where the constructor's default is one."""
    default = make.known[name].default
    return _GATES[value] if inspect.isclass(default) and value in _GATES else value


def _given(call: OpCall) -> list[str]:
    """Return the arguments that need a parameter."""
    named = dict(zip(call.names, call.args, strict=True))
    return [n for n in parameters_of(call.op) if named[n] is not None and n not in ("mean", "var")]


def _placed(op: str, module: torch.nn.Module, call: OpCall | None = None) -> dict[str, str]:
    """Return which parameter is which argument."""
    found = [Parameter(path, tuple(p.shape)) for path, p in module.named_parameters()]
    named = {} if call is None else dict(zip(call.names, call.args, strict=True))
    absent = [name for name, value in named.items() if value is None]
    if call is None and "w1" in parameters_of(op) and op.startswith("residual_tail"):
        absent = [] if any(len(p.shape) > 1 for p in found) else ["w1", "w2"]
    shapes = {
        name: value.shape for name, value in named.items() if name in ("w1", "w2") and value is not None
    }
    return match(op, found, absent, shapes)


def _set_weights(
    named: dict[str, Any], placed: dict[str, str], weights: dict[str, torch.nn.Parameter]
) -> None:
    """Copy the call's arrays into the parameters; a bias that the call has not becomes zero."""
    with torch.no_grad():
        for name, path in placed.items():
            array, weight = named[name], weights[path]
            if array is None:
                weight.zero_()
                continue
            if weight.numel() != array.size:
                shape = tuple(weight.shape)
                raise InputError(
                    f"its parameter {path} has shape {shape}, wanted that of {name}: {array.shape}"
                )
            weight.copy_(tensor(array).reshape(weight.shape))
            weight.requires_grad_()


def _set_statistics(
    call: OpCall,
    dtype: np.dtype[np.floating],
    module: torch.nn.Module,
    named: dict[str, Any],
    *,
    fixed: bool,
) -> dict[str, torch.Tensor]:
    """Copy statistics into the buffers; return those that training changes, by the names of results."""
    start = call.running(dtype)
    if start is None and "mean" not in named:
        return {}
    values = (start.mean, start.var) if start is not None else (named["mean"], named["var"])
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for (name, known), value in zip(_BUFFERS.items(), values, strict=True):
            for path, buffer in module.named_buffers():
                if path.rpartition(".")[2] in known and buffer.numel() == value.size:
                    buffer.copy_(tensor(value).reshape(buffer.shape))
                    found[name] = buffer
    if start is None:
        if len(found) < len(_BUFFERS):
            raise InputError("the Module has no buffers running_mean and running_var to normalise with")
        return {}
    for part in module.modules() if fixed else ():  # a class was told; an instance's own is a setting
        if isinstance(getattr(part, "momentum", None), float):
            part.momentum = start.momentum
    return {name: buffer.reshape(-1) for name, buffer in found.items()}


def _restriction(op: str, module: torch.nn.Module) -> Restriction:
    """Return the geometry of an instance: shapes of its parameters, options that are its attributes."""
    placed = _placed(op, module)
    weights = dict(module.named_parameters())
    shapes: dict[str, tuple[int | None, ...]] = {}
    for name, path in placed.items():
        shape = tuple(weights[path].shape)
        if name in ("w1", "w2") or (name == "w" and op == "linear"):
            shape = shape[:2]
        shapes[name] = (int(np.prod(shape)),) if name not in ("w", "w1", "w2") else shape
    known = parameters_of(op)
    if "gamma" in known and "mean" in known:
        shapes |= dict.fromkeys(("mean", "var"), shapes["gamma"])
    absent = tuple(n for n in known if n not in placed and n not in ("mean", "var"))
    options = {}
    for p in inspect.signature(op_spec(op).forward).parameters.values():
        if p.kind is p.KEYWORD_ONLY:
            value = _attribute(module, p.name)
            value = p.default if value is None else value
            if value is not p.empty and value is not None:
                options[p.name] = _meaning(op, p.name, value, module)
    return Restriction(shapes, absent, (), options)


def _attribute(module: torch.nn.Module, option: str) -> Any:
    """Return an option of a Module, or of the first part of it that has one."""
    for part in module.modules():
        for name in (option, *ALIASES.get(option, ())):
            value = getattr(part, name, None)
            if isinstance(value, bool | int | float | str) or (
                isinstance(value, tuple | list) and all(isinstance(item, int) for item in value)
            ):
                return tuple(value) if isinstance(value, list) else value
    return None


def _meaning(op: str, option: str, value: Any, module: torch.nn.Module) -> Any:
    """Return an option's value in our words, or raise for one that we have no word for."""
    mode = getattr(module, "padding_mode", "zeros")
    if option == "padding" and mode != "zeros":
        raise InputError(f"padding_mode is {mode!r}, wanted 'zeros': {op} pads with nothing else")
    if option != "padding" or not isinstance(value, str):
        return value
    if value == "valid":
        return 0
    kernel, dilation = module.kernel_size, module.dilation
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if any(t % 2 for t in total):
        raise InputError(
            f"padding is 'same' with a kernel of {kernel}: uneven, and {op} pads both sides alike"
        )
    return tuple(t // 2 for t in total)
