"""One sample run on one engine: arguments, result, cache and gradients, and all of it as NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import Array
from senumpy.selftest.layouts import laid_out
from senumpy.selftest.samples import Sample

WITH_STATISTICS = ("batchnorm2d", "conv_bn_relu", "residual_tail", "bn_relu_se")

Results = dict[str, Array | None]


class Run(NamedTuple):
    """What one run took and gave, in the engine's own arrays."""

    args: tuple[Any, ...]
    y: Any
    cache: Any
    dy: Any
    gradients: Any


def run(engine: Engine, sample: Sample, dtype: Any, alter: Callable[[Array], Array] = lambda dy: dy) -> Run:
    """Run forward and backward; `alter` changes the upstream gradient, in float64."""
    args = sample.on(engine, dtype)
    y, cache = sample.forward(engine, args)
    dy = upstream(engine, sample, y, dtype, alter)
    return Run(args, y, cache, dy, sample.backward(engine, dy, cache))


def upstream(
    engine: Engine, sample: Sample, y: Any, dtype: Any, alter: Callable[[Array], Array] = lambda dy: dy
) -> Any:
    """Return the upstream gradient of the result `y`, in the last of the sample's memory orders."""
    layout = sample.layouts[-1] if sample.layouts else "C"
    return laid_out(engine, np.asarray(alter(sample.upstream(y.shape)), dtype), layout)


def results(
    engine: Engine, sample: Sample, dtype: Any, alter: Callable[[Array], Array] = lambda dy: dy
) -> Results:
    """Return all that a run gives by name: result, gradients, batch statistics, paths of SE's gradient."""
    made = run(engine, sample, dtype, alter)
    found: dict[str, Any] = {"y": made.y, **named_gradients(made.gradients)}
    if sample.op in WITH_STATISTICS:
        found |= {"mean": made.cache.mean, "var": made.cache.var}
    if sample.op == "squeeze_excite":
        found |= engine.squeeze_excite_backward_paths(made.dy, made.cache)._asdict()
    return {name: None if value is None else to_host(engine, value) for name, value in found.items()}


def named_gradients(gradients: Any) -> dict[str, Any]:
    """Return gradients by name; those of a list of arrays as ``dxs[0]``, ``dxs[1]``."""
    named: dict[str, Any] = {}
    for name, value in gradients._asdict().items():
        if isinstance(value, tuple | list):
            named |= {f"{name}[{k}]": part for k, part in enumerate(value)}
        else:
            named[name] = value
    return named


def to_host(engine: Engine, array: Any) -> Array:
    """Return a NumPy copy of an array of `engine`."""
    return np.array(engine.to_numpy(array))
