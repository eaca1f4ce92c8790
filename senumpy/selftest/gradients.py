"""Gradients against numerical derivatives of the engine's own forwards, by `senumpy.verify`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import is_array
from senumpy.selftest.outcome import Outcome, holds
from senumpy.selftest.samples import Sample
from senumpy.verify import check_gradients
from senumpy.verify.report import Report


def gradients(engine: Engine, sample: Sample) -> Iterator[Outcome]:
    """Check every gradient of one case in float64."""
    report = _report(engine, sample)
    for argument in report.arguments:
        # Vacuous is no failure: a ReLU may be off in one case, others show it. Every entry of a gradient has
        # a tolerance of its own, so there is no one ratio to tell.
        message = argument.explanation if argument.verdict == "failed" else ""
        yield Outcome(f"d{argument.name}", message)
    failed = [finding.message for finding in report.findings if finding.verdict == "failed"]
    yield holds("runs and is finite", not failed, "; ".join(failed))


def _report(engine: Engine, sample: Sample) -> Report:
    forward, backward = host_pair(engine, sample)
    # The engine numpy takes complex arrays: the complex step has no truncation error. Others would run
    # complex arrays by NumPy's code, not by their kernels.
    takes_complex = type(engine) is Engine
    return check_gradients(
        forward,
        backward,
        sample.args,
        sample.options,
        arguments=sample.spec.arguments,
        pattern=sample.spec.pattern,
        analytic=None if takes_complex else False,
        purity=False,
        seed=sample.seed,
        name=sample.op,
    )


def host_pair(engine: Engine, sample: Sample) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the engine's forward and backward as functions of NumPy arrays."""

    @functools.wraps(sample.spec.forward)  # the checker reads the names of the arguments
    def forward(*args: Any, **options: Any) -> tuple[Any, Any]:
        y, cache = getattr(engine, f"{sample.op}_forward")(*(_placed(engine, a) for a in args), **options)
        return engine.to_numpy(y), cache

    def backward(dy: Any, cache: Any) -> Any:
        upstream = engine.asarray(np.asarray(dy))
        found = getattr(engine, f"{sample.op}_backward")(upstream, cache)
        return type(found)(*(_host(engine, value) for value in found))

    return forward, backward


def _placed(engine: Engine, value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_placed(engine, item) for item in value)
    return engine.asarray(value) if is_array(value) else value


def _host(engine: Engine, value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple(_host(engine, item) for item in value)
    return None if value is None else engine.to_numpy(value)
