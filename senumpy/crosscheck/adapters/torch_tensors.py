"""PyTorch's tensors and gradients: shared by functions, Modules, and Keras layers on PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from senumpy.verify.calls import OpCall
from senumpy.verify.conduct import Record, changed, named_leaves


class Inputs:
    """The arguments of a call as tensors, in the memory orders asked for, each with a gradient.

    Parameters
    ----------
    call : OpCall
    dtype : dtype

    Attributes
    ----------
    args : tuple
        Tensors, int64 labels, None, lists of tensors. They are no leaves of the graph, so that in-place
        functions work, too.
    leaves : dict of tensors
        By name: what gradients are taken of.
    """

    def __init__(self, call: OpCall, dtype: np.dtype[np.floating]) -> None:
        self._before = named_leaves(call, call.arguments(dtype))
        self.leaves: dict[str, torch.Tensor] = {}
        self._given: dict[str, torch.Tensor] = {}
        args: list[Any] = []
        for name, value in zip(call.names, call.arguments(dtype), strict=True):
            if isinstance(value, tuple | list):
                args.append([self._tensor(f"{name}[{i}]", part) for i, part in enumerate(value)])
            else:
                args.append(None if value is None else self._tensor(name, value))
        self.args: tuple[Any, ...] = tuple(args)

    def by_name(self, call: OpCall) -> dict[str, Any]:
        """Return the arguments by name."""
        return dict(zip(call.names, self.args, strict=True))

    def _tensor(self, name: str, array: np.ndarray[Any, Any]) -> torch.Tensor:
        if array.dtype.kind != "f":
            self._given[name] = torch.from_numpy(array.astype(np.int64))
            return self._given[name]
        self.leaves[name] = tensor(array).requires_grad_()
        self._given[name] = self.leaves[name].clone()
        return self._given[name]

    def note_changes(self, record: Record, where: str = "forward") -> None:
        """Note what is no longer what it was."""
        given = {name: value.detach().numpy() for name, value in self._given.items()}
        record.answer.conduct += changed(given, self._before, where)


def tensor(array: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return a tensor of its own memory, in the same order where PyTorch knows it (strides above zero)."""
    backwards = any(stride < 0 for stride in array.strides)
    return torch.from_numpy(array.copy() if backwards else array)


def dtype_of(dtype: np.dtype[np.floating]) -> torch.dtype:
    """Return PyTorch's name of a NumPy dtype."""
    return torch.float64 if dtype == np.float64 else torch.float32


def differentiate(y: Any, leaves: Mapping[str, torch.Tensor], record: Record) -> dict[str, torch.Tensor]:
    """Give y to `record` and return the leaves' gradients; zeros where y doesn't depend on one."""
    dy = record.forward(y)
    if not leaves:
        return {}
    if not isinstance(y, torch.Tensor) or not y.requires_grad:
        record.note(
            "type",
            "y has no gradient: autograd lost it on the way (detach, .data, no_grad, or NumPy inside?)",
            "y",
        )
        return {}
    upstream = tensor(dy).to(y.dtype)
    found = torch.autograd.grad(y, list(leaves.values()), upstream, allow_unused=True)
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), found, strict=True)
    }


def take_absent(call: OpCall, record: Record) -> None:
    """Give None for the gradients of arguments that are None."""
    for name, value in zip(call.names, call.args, strict=True):
        if value is None and name in call.spec.arguments:
            record.absent(f"d{name}", None)
