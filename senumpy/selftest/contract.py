"""What an engine promises, whatever it computes: no side effects, no aliases, equal results twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import Array, is_array
from senumpy.selftest.calls import named_gradients, run, to_host, upstream
from senumpy.selftest.outcome import Outcome, holds
from senumpy.selftest.samples import Sample, arrays_in, named_arguments

Named = dict[str, Any]


def contract(engine: Engine, sample: Sample) -> Iterator[Outcome]:
    """Look at everything that doesn't depend on numbers; every second sample is float32."""
    dtype = np.float32 if sample.seed % 2 == len(sample.args) % 2 else np.float64
    yield from _unchanged(engine, sample, dtype)
    yield from _names_and_shapes(engine, sample, dtype)
    yield from _repeatable(engine, sample, dtype)
    yield from _linear(engine, sample, dtype)
    yield from _apart(engine, sample, dtype)
    if sample.op in ("conv2d", "conv_bn_relu", "conv_bn_relu_inference"):
        yield from _without_dx(engine, sample, dtype)


def _unchanged(engine: Engine, sample: Sample, dtype: Any) -> Iterator[Outcome]:
    """Yield whether forward and backward leave alone what they are given."""
    args = sample.on(engine, dtype)
    given = _flat(sample, args)
    before = _copies(engine, given)
    y, cache = sample.forward(engine, args)
    changed = _changes(engine, before, given)
    yield holds("forward changes no argument", not changed, f"forward changed {changed}")
    dy = upstream(engine, sample, y, dtype)
    given |= {"the upstream gradient": dy, "y": y}
    before = _copies(engine, given)
    sample.backward(engine, dy, cache)
    changed = _changes(engine, before, given)
    yield holds("backward changes nothing given", not changed, f"backward changed {changed}")


def _names_and_shapes(engine: Engine, sample: Sample, dtype: Any) -> Iterator[Outcome]:
    """Yield whether gradients are named and ordered like the arguments, and have their shapes."""
    gradients = run(engine, sample, dtype).gradients
    wanted = tuple(f"d{name}" for name in sample.spec.arguments)
    found = getattr(gradients, "_fields", None)
    yield holds("names of gradients", found == wanted, f"found {found}, wanted {wanted}")
    shapes = {
        f"d{name}": _shapes(value)
        for name, value in named_arguments(sample, sample.args)
        if name in sample.spec.arguments
    }
    found_shapes = {name: _shapes(value) for name, value in gradients._asdict().items()}
    yield holds(
        "shapes of gradients", found_shapes == shapes, f"found {found_shapes}, wanted those of the arguments"
    )


def _repeatable(engine: Engine, sample: Sample, dtype: Any) -> Iterator[Outcome]:
    """Yield whether a second backward, and a second run, give the same bits."""
    first = run(engine, sample, dtype)
    gradients = named_gradients(first.gradients)
    before = _copies(engine, {**gradients, "y": first.y})
    twice = named_gradients(sample.backward(engine, first.dy, first.cache))
    changed = _changes(engine, before, {**twice, "y": first.y})
    yield holds("a second backward gives the same bits", not changed, f"it gave another {changed}")
    again = run(engine, sample, dtype)
    changed = _changes(engine, before, {**named_gradients(again.gradients), "y": again.y})
    yield holds("a second run gives the same bits", not changed, f"it gave another {changed}")


def _linear(engine: Engine, sample: Sample, dtype: Any) -> Iterator[Outcome]:
    """Yield whether -2 dy gives -2 times the gradients: exactly, for a power of two."""
    once = _copies(engine, named_gradients(run(engine, sample, dtype).gradients))
    times = named_gradients(run(engine, sample, dtype, lambda dy: -2.0 * dy).gradients)
    changed = _changes(engine, {name: -2.0 * a for name, a in once.items()}, times)
    yield holds("linear in the upstream gradient", not changed, f"-2 dy doesn't give -2 times {changed}")


def _apart(engine: Engine, sample: Sample, dtype: Any) -> Iterator[Outcome]:
    """Yield whether results can be written to, and writing to one changes nothing else."""
    made = run(engine, sample, dtype)
    everything = _flat(sample, made.args) | {"the upstream gradient": made.dy, "y": made.y}
    everything |= named_gradients(made.gradients)
    for name in ("y", *named_gradients(made.gradients)):
        result = everything[name]
        if not is_array(result) or not result.ndim:  # None, or a loss
            continue
        others = {other: value for other, value in everything.items() if other != name}
        before = _copies(engine, others)
        result[...] = 77.0
        changed = _changes(engine, before, others)
        yield holds(f"{name} has memory of its own", not changed, f"writing to {name} changed {changed}")


def _without_dx(engine: Engine, sample: Sample, dtype: Any) -> Iterator[Outcome]:
    """Yield whether the images' gradient can be left out, as the first layer of a network does."""
    made = run(engine, sample, dtype)
    backward: Callable[..., Any] = getattr(engine, f"{sample.op}_backward")
    without = backward(made.dy, made.cache, need_dx=False)._asdict()
    left_out = without.pop("dx") is None
    changed = _changes(engine, _copies(engine, made.gradients._asdict()), without)
    yield holds("need_dx=False", left_out and not changed, f"found dx None: {left_out}; another {changed}")


def _flat(sample: Sample, args: tuple[Any, ...]) -> Named:
    """Return all arrays among the arguments by name."""
    named: Named = {}
    for name, value in named_arguments(sample, args):
        parts = arrays_in(value)
        one = not isinstance(value, tuple | list)
        named |= {name if one else f"{name}[{k}]": array for k, array in enumerate(parts)}
    return named


def _copies(engine: Engine, named: Named) -> dict[str, Array]:
    return {name: to_host(engine, value) for name, value in named.items() if value is not None}


def _changes(engine: Engine, before: dict[str, Array], named: Named) -> str:
    """Return the names of those that are no longer what they were; empty if all are."""
    names = [
        name
        for name, value in named.items()
        if value is not None and not _same(before[name], to_host(engine, value))
    ]
    return ", ".join(names)


def _same(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _shapes(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_shapes(item) for item in value]
    return None if value is None else tuple(value.shape)
