"""The candidate's side: a PyTorch network runs once, and hooks write down what every module took and gave.

A hook on a module's input hands it on as a view of its own: the view's gradient is then this module's part
alone, also where others take the same tensor. What is written down is copied at once, since ReLUs may work
in place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.replay import Results
from senumpy.errors import InputError

Array = NDArray[Any]
RANDOM = ("Dropout", "AlphaDropout", "DropPath", "StochasticDepth", "DropBlock")


class CandidateFailedError(InputError):
    """The candidate itself raised, left the process by `sys.exit`, or did not come back."""


@dataclass
class Call:
    """One call of a module."""

    x: Array | None = None
    y: Array | None = None
    dy: Array | None = None
    dx: Array | None = None


@dataclass
class TorchTrace:
    """One run of a PyTorch network.

    Attributes
    ----------
    calls : dict
        Of each module that ran, by its name.
    order : list of str
        Names of modules in the order in which they were first entered.
    logits : array
    gradients : dict
        By parameter; None for one that got none.
    buffers : dict
        After the run.
    """

    calls: dict[str, list[Call]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    logits: Any = None
    gradients: Results = field(default_factory=dict)
    buffers: dict[str, Array] = field(default_factory=dict)


def torch_copy(net: Any, dtype: str) -> Any:
    """Return a copy of a module, or what a class or function makes, in a dtype and without anything random.

    What a function returns is used as it is, and is changed.

    Raises
    ------
    InputError
        It is no module, or can't be made or copied.
    """
    torch = library()
    if isinstance(net, torch.nn.Module):
        try:
            net = copy.deepcopy(net)
        except Exception as problem:
            raise InputError(
                f"model: can't be copied ({_said(problem)}); give a function that makes it"
            ) from problem
    elif not callable(net):
        raise InputError(
            f"model: got {_kind(net)}, wanted a torch.nn.Module, or what makes one without arguments"
        )
    else:
        try:
            net = net()
        except (Exception, SystemExit) as problem:
            raise CandidateFailedError(f"model: making it raised {_said(problem)}") from problem
        if not isinstance(net, torch.nn.Module):
            raise InputError(f"model: calling it gave {_kind(net)}, wanted a torch.nn.Module")
    try:
        net = net.to(device="cpu", dtype=getattr(torch, dtype))
        net.requires_grad_(True)
    except (RuntimeError, NotImplementedError) as problem:  # compiled ones, ones without memory
        raise InputError(f"model: can't be set up in {dtype} on the processor: {_said(problem)}") from problem
    for module in net.modules():
        names = ["drop_rate"]  # timm's networks call dropout by this
        if type(module).__name__.startswith(RANDOM):
            names += ["p", "drop_prob"]
        for name in names:
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    return net


def run_torch(net: Any, x: Array, upstream: Callable[[tuple[int, ...]], Array] | None) -> TorchTrace:
    """Run a module forward, and back if `upstream` gives a gradient for logits of a shape.

    Raises
    ------
    InputError
        It raises (says inside which module), or gives something else than one tensor of logits (N, classes).
    """
    torch = library()
    trace, inside = TorchTrace(), []  # type: ignore[var-annotated]
    handles = []
    for name, module in net.named_modules():
        handles.append(module.register_forward_pre_hook(_entering(trace, name, inside), with_kwargs=True))
        handles.append(module.register_forward_hook(_leaving(trace, name, inside)))
    net.zero_grad(set_to_none=True)
    try:
        with torch.enable_grad():
            logits = net(torch.tensor(x, requires_grad=upstream is not None))
        trace.logits = _numbers(_one_tensor(logits, len(x)))
        if upstream is not None:
            if not logits.requires_grad:
                raise InputError("model: its result has no gradient (detached, or made under no_grad)")
            logits.backward(torch.tensor(upstream(tuple(logits.shape)), dtype=logits.dtype))
    except InputError:
        raise
    except (Exception, SystemExit) as problem:
        where = f"inside {inside[-1] or 'its own forward'} " if inside else "on the way back "
        raise CandidateFailedError(f"model: {where}it raised {_said(problem)}") from problem
    finally:
        for handle in handles:
            handle.remove()
    trace.gradients = {n: None if p.grad is None else _numbers(p.grad) for n, p in net.named_parameters()}
    trace.buffers = {n: _numbers(b) for n, b in net.named_buffers()}
    return trace


def _entering(trace: TorchTrace, name: str, inside: list[str]) -> Any:
    def hook(module: Any, args: Any, kwargs: Any) -> Any:
        inside.append(name)
        call = Call()
        if name not in trace.calls:
            trace.order.append(name)
        trace.calls.setdefault(name, []).append(call)
        place = next((i for i, a in enumerate(args) if _is_float(a)), None)
        key = next((k for k, a in kwargs.items() if _is_float(a)), None)
        if place is None and key is None:
            return None
        x = args[place] if place is not None else kwargs[key]
        call.x = _numbers(x)
        own = x.view_as(x)
        if own.requires_grad:
            own.register_hook(lambda gradient: setattr(call, "dx", _numbers(gradient)))
        if place is not None:
            return (*args[:place], own, *args[place + 1 :]), kwargs
        return args, {**kwargs, key: own}

    return hook


def _leaving(trace: TorchTrace, name: str, inside: list[str]) -> Any:
    def hook(module: Any, args: Any, y: Any) -> None:
        inside.pop()
        call = trace.calls[name][-1]
        if _is_float(y):
            call.y = _numbers(y)
            if y.requires_grad:
                y.register_hook(lambda gradient: setattr(call, "dy", _numbers(gradient)))

    return hook


def _is_float(value: Any) -> bool:
    return isinstance(value, library().Tensor) and value.is_floating_point()


def _numbers(tensor: Any) -> Array:
    """Return a copy as a NumPy array."""
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _one_tensor(logits: Any, n: int) -> Any:
    torch = library()
    if not isinstance(logits, torch.Tensor):
        raise InputError(
            f"model: its forward returns {_kind(logits)}, wanted one tensor of logits (N, classes); wrap it"
        )
    if logits.ndim != 2 or len(logits) != n:
        raise InputError(f"model: its result has shape {tuple(logits.shape)}, wanted ({n}, classes)")
    return logits


def library() -> Any:
    """Return PyTorch.

    Raises
    ------
    InputError
        It is not installed.
    """
    try:
        import torch
    except ImportError:
        raise InputError("models of PyTorch need it: pip install torch") from None
    return torch


def _kind(value: Any) -> str:
    length = f" of {len(value)}" if isinstance(value, (tuple, list, dict)) else ""
    return f"a {type(value).__name__}{length}"


def _said(problem: BaseException) -> str:
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {text[:200]}" if text else type(problem).__name__


def probe(net: Any, x: Array) -> TorchTrace:
    """Run a module forward, twice, and leave it as it was.

    Raises
    ------
    InputError
        As `run_torch`; or two runs differ.
    """
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    trace = run_torch(net, x, None)
    net.load_state_dict(before)
    with library().no_grad():
        again = net(library().tensor(x))
    net.load_state_dict(before)
    if not np.array_equal(trace.logits, again.numpy(), equal_nan=True):
        raise InputError(
            "model: two runs on the same images differ; it draws random numbers (dropout?): switch them off"
        )
    return trace
