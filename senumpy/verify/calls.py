"""One call of an operation, and all that it gives: what implementations are compared on.

A call's numbers are such that float32 holds them, so it has one exact result, whatever precision it is made
in. `results` runs any forward/backward pair on it and names what comes out: ``y``, then a gradient for each
argument (``dx``, ``dw``; of a list ``dxs[0]``), and for batch norm in training the running statistics.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from senumpy.verify.cases import Case, OpSpec, op_spec
from senumpy.verify.layouts import laid_out

Array = NDArray[Any]
Results = dict[str, Array | None]
MOMENTUM = 0.1  # of running statistics: the weight of the new value


class Running(NamedTuple):
    """Running statistics of batch norm, (C,) each, and the weight that a batch gets in them."""

    mean: Array
    var: Array
    momentum: float


@dataclass(frozen=True)
class OpCall:
    """One call of an operation.

    Attributes
    ----------
    op : str
        A name of `senumpy.verify.OPS`.
    args : tuple
        All positional arguments: float64 arrays of numbers that float32 holds, integer labels, None, tuples
        of arrays.
    options : dict
        Keyword options. For ``rng`` a seed is enough; a `numpy.random.Generator` is copied at each call.
    seed : int
        Draws the upstream gradient and the running statistics.
    note : str
        What is special about it.
    layouts : tuple of str
        Memory order of each float array, in order; C order where there are no more.
    digits : int or None
        Binary digits that the upstream gradient is rounded to; None: those of float32.
    """

    op: str
    args: tuple[Any, ...]
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    note: str = ""
    layouts: tuple[str, ...] = ()
    digits: int | None = None

    @property
    def spec(self) -> OpSpec:
        """The entry of the operation in the table."""
        return op_spec(self.op)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the positional arguments, in order."""
        return (*self.spec.arguments, *self.spec.others)

    def arguments(self, dtype: DTypeLike) -> tuple[Any, ...]:
        """Return fresh positional arguments of a dtype, in the memory orders asked for."""
        layouts = iter(self.layouts)

        def place(array: Array) -> Array:
            if array.dtype.kind != "f":
                return array.copy()
            return laid_out(array.astype(dtype), next(layouts, "C"))

        return tuple(map_arrays(place, value) for value in self.args)

    def keywords(self) -> dict[str, Any]:
        """Return fresh options: generators copied, or made of their seed."""
        options = copy.deepcopy(self.options)
        if isinstance(options.get("rng"), int):
            options["rng"] = np.random.default_rng(options["rng"])
        return options

    def upstream(self, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        """Return a random, signed gradient of a result of this shape; a 0-d array for a loss."""
        draws = np.random.default_rng([self.seed, 3]).normal(size=shape) + 0.1
        draws = np.asarray(draws, np.float32).astype(np.float64)
        return (draws if self.digits is None else rounded_to(draws, self.digits)).astype(dtype)

    def running(self, dtype: DTypeLike = np.float64) -> Running | None:
        """Return running statistics to start from, for batch norm in training; None for all others."""
        if self.op != "batchnorm2d":
            return None
        rng = np.random.default_rng([self.seed, 4])
        channels = self.args[0].shape[1]
        mean, var = rng.normal(size=channels), rng.uniform(0.5, 2.0, channels)
        return Running(mean.astype(np.float32).astype(dtype), var.astype(np.float32).astype(dtype), MOMENTUM)

    def floats(self) -> list[Array]:
        """Return the float arrays among the arguments."""
        return floats_in(self.args)


def call_of(op: str, case: Case, seed: int = 0) -> OpCall:
    """Return the call that one of the checker's cases is, its numbers rounded to float32."""
    spec = op_spec(op)
    wanted = len(spec.arguments) + len(spec.others)

    def rounded(array: Array) -> Array:
        return array.astype(np.float32).astype(np.float64) if array.dtype.kind == "f" else array

    args = tuple(map_arrays(rounded, value) for value in case.args)
    options = dict(case.kwargs)
    if "rng" in options:  # a seed can be written down
        options["rng"] = int(copy.deepcopy(options["rng"]).integers(2**32))
    return OpCall(op, (*args, *(None,) * (wanted - len(args))), options, seed, case.name)


def results(
    call: OpCall,
    dtype: DTypeLike,
    forward: Callable[..., Any] | None = None,
    backward: Callable[..., Any] | None = None,
) -> Results:
    """Run a forward/backward pair on a call and return all results by name.

    Parameters
    ----------
    call : OpCall
    dtype : dtype
        Of arguments and upstream gradient: float32, float64, or longdouble.
    forward, backward : callable, optional
        With the library's signatures; the library's own where None. Running statistics are always the
        library's, from the batch.

    Returns
    -------
    dict
        ``y``, then ``d`` + argument (None for one that was None), then ``running_mean``, ``running_var``.
    """
    spec = call.spec
    args = call.arguments(dtype)
    y, cache = (forward or spec.forward)(*args, **call.keywords())
    y = np.asarray(y)
    dy = call.upstream(y.shape, dtype)
    gradients = (backward or spec.backward)(dy if dy.ndim else dy[()], cache)
    return {"y": y, **named_gradients(spec, gradients), **running_statistics(call, dtype)}


def named_gradients(spec: OpSpec, gradients: Any) -> Results:
    """Return the gradients of a named tuple or tuple in the arguments' order, by name."""
    found: Results = {}
    for name, gradient in zip(spec.arguments, gradients, strict=True):
        if isinstance(gradient, tuple | list):
            found |= {f"d{name}[{i}]": np.asarray(part) for i, part in enumerate(gradient)}
        else:
            found[f"d{name}"] = None if gradient is None else np.asarray(gradient)
    return found


def result_names(call: OpCall, *, gradients: bool = True) -> list[str]:
    """Return the names of all results of a call: ``y``, gradients of what isn't None, running statistics."""
    names = ["y"]
    for argument, value in zip(call.spec.arguments, call.args, strict=False):
        if not gradients or value is None:
            continue
        parts = len(value) if isinstance(value, tuple | list) else None
        names += [f"d{argument}"] if parts is None else [f"d{argument}[{i}]" for i in range(parts)]
    return [*names, "running_mean", "running_var"] if call.op == "batchnorm2d" else names


def running_statistics(call: OpCall, dtype: DTypeLike) -> Results:
    """Return running mean and variance after the call's batch; nothing for other operations.

    running = (1 - momentum) running + momentum statistic; the variance is the unbiased one, over M - 1.
    """
    start = call.running(dtype)
    if start is None:
        return {}
    x = np.asarray(call.args[0], dtype)
    count = x[:, 0].size
    mean = x.mean((0, 2, 3))
    centred = x - mean[:, None, None]
    unbiased = (centred * centred).sum((0, 2, 3)) / max(1, count - 1)
    m = np.asarray(start.momentum, dtype)
    return {
        "running_mean": (1 - m) * start.mean + m * mean,
        "running_var": (1 - m) * start.var + m * unbiased,
    }


def rounded_to(array: Array, digits: int) -> Array:
    """Return the numbers rounded to a significand of so many binary digits, ties to even."""
    significand, exponent = np.frexp(array)
    return np.ldexp(np.round(np.ldexp(significand, digits)), exponent - digits)


def map_arrays(function: Callable[[Array], Any], value: Any) -> Any:
    """Apply `function` to the arrays in nested tuples and lists (which become tuples); leave all else."""
    if isinstance(value, tuple | list):
        return tuple(map_arrays(function, item) for item in value)
    return function(value) if isinstance(value, np.ndarray) else value


def floats_in(value: Any) -> list[Array]:
    """Return the float arrays in nested tuples and lists."""
    return [array for array in walk(value) if array.dtype.kind == "f"]


def walk(value: Any) -> Iterator[Array]:
    """Yield the arrays in nested tuples and lists."""
    if isinstance(value, tuple | list):
        for item in value:
            yield from walk(item)
    elif isinstance(value, np.ndarray):
        yield value
