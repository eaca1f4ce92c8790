"""Calls of operations to try: the checker's small cases, and larger ones for kernels that work in tiles.

Every number is one that float32 holds: a call has one exact result, whatever precision it is made in.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import Array, is_array
from senumpy.selftest.large import large_cases
from senumpy.selftest.layouts import LAYOUTS, laid_out
from senumpy.verify import OPS, Case, OpSpec


@dataclass(frozen=True)
class Sample:
    """One call of an operation, in NumPy arrays of float64.

    Attributes
    ----------
    spec : OpSpec
    name : str
        What is special about it.
    args, options : tuple, dict
    seed : int
        Drew it, and draws upstream gradient and memory orders.
    layouts : tuple of str
        Memory order of each array, in the order of the arguments; C order where there are no more.
    """

    spec: OpSpec
    name: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    seed: int
    layouts: tuple[str, ...] = field(default=())

    @property
    def op(self) -> str:
        """Name of the operation."""
        return self.spec.name

    def map(self, function: Callable[[Array], Array]) -> Sample:
        """Return the sample with `function` applied to every float array."""
        return replace(self, args=map_floats(function, self.args))

    def shuffled(self) -> Sample:
        """Return the sample with arrays in memory orders drawn by its seed."""
        rng = np.random.default_rng([self.seed, 7])
        return replace(self, layouts=tuple(rng.choice(LAYOUTS, len(arrays_in(self.args)) + 1).tolist()))

    def on(self, engine: Engine, dtype: Any) -> tuple[Any, ...]:
        """Return the arguments as arrays of `engine`, new ones at each call."""
        layouts = iter(self.layouts)

        def place(array: Array) -> Array:
            kept = array.astype(dtype) if array.dtype.kind == "f" else array.copy()
            return laid_out(engine, kept, next(layouts, "C"))

        return tuple(_map(place, value) for value in self.args)

    def forward(self, engine: Engine, args: tuple[Any, ...]) -> tuple[Any, Any]:
        """Return result and cache; random generators are copied, so that every call draws the same."""
        return getattr(engine, f"{self.op}_forward")(*args, **copy.deepcopy(self.options))

    def upstream(self, shape: tuple[int, ...]) -> Array:
        """Return a random, signed gradient of the result."""
        draws = np.random.default_rng([self.seed, 3]).normal(size=shape) + 0.1
        return np.asarray(draws, np.float32).astype(np.float64)

    def backward(self, engine: Engine, dy: Any, cache: Any) -> Any:
        """Return the gradients, a named tuple."""
        return getattr(engine, f"{self.op}_backward")(dy, cache)


def small_samples(op: str, seed: int) -> list[Sample]:
    """Return the checker's cases of an operation: odd shapes, every option, ties and zeros."""
    spec = OPS[op]
    return [_sample(spec, case, seed) for case in spec.cases(seed=seed, dtype=np.float32)]


def large_samples(op: str, seed: int) -> list[Sample]:
    """Return cases of sizes that fill several tiles of a kernel, and the last one in part."""
    return [_sample(OPS[op], case, seed) for case in large_cases(op, seed)]


def arrays_in(value: Any) -> list[Array]:
    """Return the arrays in nested tuples and lists: of arguments, or of gradients."""
    if isinstance(value, tuple | list):
        return [array for item in value for array in arrays_in(item)]
    return [value] if is_array(value) else []


def map_floats(function: Callable[[Array], Array], value: Any) -> Any:
    """Apply `function` to the float arrays in nested tuples and lists; leave labels and None alone."""
    return _map(lambda array: function(array) if array.dtype.kind == "f" else array, value)


def named_arguments(sample: Sample, args: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of all positional arguments, in the order of the forward's signature."""
    yield from zip((*sample.spec.arguments, *sample.spec.others), args, strict=False)


def _sample(spec: OpSpec, case: Case, seed: int) -> Sample:
    # Cases may leave out trailing arguments that are None, such as a convolution's bias.
    wanted = len(spec.arguments) + len(spec.others)
    args = (*case.args, *(None,) * (wanted - len(case.args)))
    return Sample(spec, case.name, args, case.kwargs, seed).map(lambda array: array.astype(np.float64))


def _map(function: Callable[[Array], Array], value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_map(function, item) for item in value)
    return function(value) if is_array(value) else value
