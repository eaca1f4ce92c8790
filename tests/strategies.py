"""Hypothesis strategies: how to draw arguments for every operation, in every shape and memory order.

A `Case` is one call: operation, arguments, options, upstream gradient. `cases(op)` draws them; `results` runs
one on an engine. What is drawn is what `senumpy crosscheck` draws (`senumpy/crosscheck/draws.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from senumpy.crosscheck.draws import DRAW, Draw
from senumpy.verify.layouts import LAYOUTS, laid_out

OPS = DRAW


def map_arrays(function: Callable[[np.ndarray], Any], value: Any) -> Any:
    """Apply `function` to the float arrays in a tuple of arguments; leave None, labels and the like alone."""
    if isinstance(value, tuple):
        return tuple(map_arrays(function, item) for item in value)
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return function(value) if is_float else value


def arrays_in(value: Any) -> list[np.ndarray]:
    """Return all arrays in nested tuples, lists, dicts and objects: arguments, gradients, caches."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, tuple | list):
        return [array for item in value for array in arrays_in(item)]
    return arrays_in(
        list(value.values() if isinstance(value, dict) else getattr(value, "__dict__", {}).values())
    )


@dataclass(frozen=True)
class Case:
    """One call of an operation. The option `rng` holds a seed, so that every run draws alike."""

    op: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    seed: int

    def map(self, function: Callable[[np.ndarray], Any]) -> Case:
        """Return the case with `function` applied to every float array."""
        return replace(self, args=map_arrays(function, self.args))

    def astype(self, dtype: Any) -> Case:
        """Return the case in another precision."""
        return self.map(lambda array: array.astype(dtype))

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the float arguments."""
        return next(array.dtype for array in arrays_in(self.args) if array.dtype.kind == "f")

    def forward(self, engine: Any) -> tuple[Any, Any]:
        """Return result and cache."""
        options = dict(self.options)
        if "rng" in options:
            options["rng"] = np.random.default_rng(options["rng"])
        return getattr(engine, f"{self.op}_forward")(*map_arrays(engine.asarray, self.args), **options)

    def upstream(self, y: Any) -> np.ndarray:
        """Return a random, signed gradient for the result `y`."""
        dy = np.random.default_rng(self.seed).normal(size=np.shape(y)) + 0.1
        return np.asarray(dy, y.dtype)

    def backward(self, engine: Any, dy: Any, cache: Any) -> Any:
        """Return the gradients."""
        return getattr(engine, f"{self.op}_backward")(dy, cache)


class Run(NamedTuple):
    """What one run gave."""

    y: Any
    cache: Any
    dy: Any
    gradients: Any


def run(engine: Any, case: Case, alter: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Run:
    """Run forward and backward on an engine; `alter` changes the upstream gradient."""
    y, cache = case.forward(engine)
    dy = engine.asarray(alter(case.upstream(y)))
    return Run(y, cache, dy, case.backward(engine, dy, cache))


def results(
    engine: Any, case: Case, alter: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> dict[str, np.ndarray | None]:
    """Return all that a run gives as NumPy arrays by name: result, gradients, statistics, gradient paths."""
    y, cache, dy, gradients = run(engine, case, alter)
    found = gradients._asdict()
    parts = {f"dxs[{k}]": part for k, part in enumerate(found.pop("dxs", ()))}  # the first argument's
    found = {"y": y, **parts, **found}
    if case.op in ("batchnorm2d", "conv_bn_relu", "residual_tail", "bn_relu_se"):
        found |= {"mean": cache.mean, "var": cache.var}
    if case.op == "squeeze_excite":
        found |= engine.squeeze_excite_backward_paths(dy, cache)._asdict()
    return {name: None if value is None else engine.to_numpy(value) for name, value in found.items()}


@st.composite
def cases(draw: st.DrawFn, op: str) -> Case:
    """Draw one call of `op` in float64; each array in a memory order of its own, some of them read-only."""
    d = Draw(draw)
    args, options = DRAW[op](d)

    def arranged(array: np.ndarray) -> np.ndarray:
        array = laid_out(array, d.one_of(*LAYOUTS))
        array.flags.writeable = d.one_of(True, False)
        return array

    return Case(op, args, options, d.seed).map(arranged)
