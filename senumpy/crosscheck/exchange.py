"""A call as a file that needs no Python to read, and the answer to it: safetensors, one file each.

**The question.** Tensors, by the names of the operation's arguments (an argument that is None has none):

| tensor | what |
|---|---|
| ``x``, ``w``, ``b``, ``gamma``, ... | the arguments, C order, float32 or float64 |
| ``xs[0]``, ``xs[1]``, ... | the arrays of a list (concat) |
| ``labels`` | int64 |
| ``dy`` | the upstream gradient, of the result's shape; 0-d for a loss |
| ``running_mean``, ``running_var`` | batchnorm2d: running statistics before the batch |
| ``kept`` | dropout: a byte for each number, 1 where it is kept (what the random generator drew) |

and metadata, all text: ``format`` ("senumpy call 1"), ``op``, ``dtype`` ("float32" or "float64"), and
``options``, a JSON object with every option of the operation spelt out, defaults too (pairs are lists of two;
the stride of a pool is never null; batchnorm2d has ``momentum``, the weight of the batch in running
statistics).

**The answer.** Tensors ``y``, ``dx``, ``dw``, ``dxs[0]``, ..., ``running_mean``, ``running_var``, of the
question's dtype; only those that the implementation has. Gradients of arguments that aren't there are left
out. Other tensors are an error, metadata is not read.
"""

from __future__ import annotations

import inspect
import json
import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from senumpy.errors import InputError, unknown_name
from senumpy.storage import load_tensors, save_tensors
from senumpy.verify.calls import OpCall, Results, result_names

Array = NDArray[Any]
FORMAT = "senumpy call 1"


def call_tensors(call: OpCall, dtype: DTypeLike) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the tensors and the metadata that a call is in a file.

    Parameters
    ----------
    call : OpCall
    dtype : dtype
        float32 or float64: of all arrays but labels and masks.

    Returns
    -------
    tensors : dict of arrays
        In C order; ``labels`` int64, ``kept`` uint8.
    metadata : dict of str
    """
    dtype = np.dtype(dtype)
    tensors: dict[str, Array] = {}
    for name, value in zip(call.names, call.arguments(dtype), strict=True):
        if isinstance(value, tuple | list):
            tensors |= {f"{name}[{i}]": np.ascontiguousarray(part) for i, part in enumerate(value)}
        elif value is not None:
            tensors[name] = _plain(value)
    y, _ = call.spec.forward(*call.arguments(np.float64), **call.keywords())
    tensors["dy"] = call.upstream(np.shape(y), dtype)
    options = all_options(call)
    running = call.running(dtype)
    if running is not None:
        tensors |= {"running_mean": running.mean, "running_var": running.var}
        options["momentum"] = running.momentum
    if isinstance(options.get("rng"), np.random.Generator):
        kept = options.pop("rng").random(call.args[0].shape) >= options["p"]
        tensors["kept"] = kept.astype(np.uint8)
    metadata = {
        "format": FORMAT,
        "op": call.op,
        "dtype": dtype.name,
        "options": json.dumps(options, default=_json, sort_keys=True),
    }
    return tensors, metadata


def all_options(call: OpCall) -> dict[str, Any]:
    """Return every option of a call by name, those at their defaults too (a pool's stride as a number)."""
    options = {
        name: default for name, default in defaults(call).items() if default is not inspect.Parameter.empty
    }
    options |= call.keywords()
    if "kernel" in options and options.get("stride") is None:
        options["stride"] = options["kernel"]
    return options


def defaults(call: OpCall) -> dict[str, Any]:
    """Return the operation's options with their defaults; `inspect.Parameter.empty` where there is none."""
    parameters = inspect.signature(call.spec.forward).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def write_call(path: str | os.PathLike[str], call: OpCall, dtype: DTypeLike) -> None:
    """Write a call to a safetensors file.

    Raises
    ------
    InputError
        The file can't be written.
    """
    save_tensors(path, *call_tensors(call, dtype))


def read_answer(path: str | os.PathLike[str], call: OpCall) -> Results:
    """Read the results of a call that somebody's program wrote.

    Returns
    -------
    dict
        Arrays by name, of whatever shape and dtype they are.

    Raises
    ------
    InputError
        No file, not a whole safetensors file, no tensor ``y``, or a tensor that is no result of the call.
    """
    tensors, _ = load_tensors(path)
    known = result_names(call)
    for name in tensors:
        if name not in known:
            raise InputError(f"{path}: {unknown_name('tensor', name, known)}")
    if "y" not in tensors:
        raise InputError(f"{path}: no tensor 'y'; found {', '.join(sorted(tensors)) or 'no tensors at all'}")
    return dict(tensors)


def _plain(array: Array) -> Array:
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    return np.asarray(array, order="C")


def _json(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"no JSON for {type(value).__name__}")
