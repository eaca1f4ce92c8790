"""A function on PyTorch tensors; its gradients are autograd's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from senumpy.crosscheck.adapters.options import Options
from senumpy.crosscheck.adapters.torch_tensors import Inputs, differentiate, take_absent, tensor
from senumpy.verify.calls import OpCall
from senumpy.verify.conduct import Record, Restriction

_RENAME = {"kernel": "kernel_size", "axis": "dim"}  # for PyTorch's own functions, which don't tell
_STATISTICS = {"running_mean": "mean", "running_var": "var"}
_NORMS = {"gamma": ("weight", "gamma", "scale"), "beta": ("bias", "beta", "shift")}


class TorchFunction:
    """A function called as those in `torch.nn.functional`: arguments by position, options by keyword.

    Parameters
    ----------
    function : callable
        ``function(*tensors, **options)`` -> a tensor. One with ``running_mean`` and ``running_var`` among its
        positional parameters, as `torch.nn.functional.batch_norm`, gets all by name.
    """

    framework = "torch"

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        own = str(getattr(function, "__module__", "")).startswith("torch")
        self._options = Options(function, _RENAME if own else {})
        if own and self._options.known is not None and "args" in self._options.known:
            self._options.known = None  # PyTorch's dispatchers tell no more than *args, **kwargs

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is."""
        return self._options.fit(call)[1]

    def restrict(self) -> Restriction | None:
        """Return None: functions take any geometry."""
        return None

    def run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        """Call the function and take the gradients of all its arguments."""
        inputs = Inputs(call, dtype)
        options = {name: _tensors(value) for name, value in self._options.fit(call)[0].items()}
        leaves = dict(inputs.leaves)
        running: dict[str, torch.Tensor] = {}
        if self._options.has(*_STATISTICS):
            args, running = self._named(call, dtype, inputs, options)
            leaves = {name: leaf for name, leaf in leaves.items() if name not in ("mean", "var")}
        else:
            args = list(inputs.args)
        y = self._function(*args, **options)
        inputs.note_changes(record)
        gradients = differentiate(y, leaves, record)
        for name, value in running.items():
            record.take(name, value)
        for name, gradient in gradients.items():
            record.take(f"d{name}", gradient)
        take_absent(call, record)

    def _named(
        self, call: OpCall, dtype: np.dtype[np.floating], inputs: Inputs, options: dict[str, Any]
    ) -> tuple[list[Any], dict[str, torch.Tensor]]:
        """Put norms and statistics into the options; return what stays positional, and the statistics."""
        named, start = inputs.by_name(call), call.running(dtype)
        running: dict[str, torch.Tensor] = {}
        if start is not None:
            running = {"running_mean": tensor(start.mean), "running_var": tensor(start.var)}
            options |= {"training": True} if self._options.has("training") else {}
            options |= {"momentum": start.momentum} if self._options.has("momentum") else {}
            options |= running
        elif "mean" in named:
            options |= {name: named.pop(ours).detach() for name, ours in _STATISTICS.items()}
        for ours, theirs in _NORMS.items():
            name = next((name for name in theirs if self._options.has(name)), None)
            if name is not None and ours in named:
                options[name] = named.pop(ours)
        return list(named.values()), running


def _tensors(value: Any) -> Any:
    """Return masks as tensors; leave numbers and pairs."""
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value
