"""Batch norm's running statistics. Sums of two terms (L = 2 and a factor): the bound is measured."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.coursework.subjects.subject import (
    AnswerError,
    Array,
    Case,
    Function,
    Functions,
    Results,
    Subject,
    SubjectMistake,
    numbers,
)
from senumpy.ops.running import running_statistics
from senumpy.verify.mistakes.running import RUNNING_MISTAKES, RunningMistake, right_terms
from senumpy.verify.slots import text_of

_ARRAYS = ("running_mean", "running_var", "mean", "var")


def _case(arrays: list[Array], count: int, momentum: float | None) -> Case:
    weight = "momentum left to its default" if momentum is None else f"momentum {momentum:g}"
    shown = ", ".join(
        f"{name} {np.array2string(array[:3], precision=3, separator=', ')}"
        for name, array in zip(_ARRAYS, arrays, strict=True)
    )
    text = f"{len(arrays[0])} channels, count {count}, {weight}; {shown}"
    return Case(text, {**dict(zip(_ARRAYS, arrays, strict=True)), "count": count, "momentum": momentum})


def _runs(functions: Functions, case: Case) -> Results:
    arrays = [case.data[name].copy() for name in _ARRAYS]
    momentum = {} if case.data["momentum"] is None else {"momentum": case.data["momentum"]}
    got = functions["running_statistics"](*arrays, count=case.data["count"], **momentum)
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise AnswerError(
            f"running_statistics: got {text_of(got)}, wanted a pair (running mean, running variance)"
        )
    results = {name: numbers(value, name) for name, value in zip(_ARRAYS[:2], got, strict=True)}
    return results | {"the arguments afterwards": np.stack(arrays)}


def _statistics(rng: np.random.Generator, channels: int) -> list[Array]:
    mean, batch_mean = rng.normal(size=(2, channels))
    var, batch_var = rng.uniform(0.5, 3.0, (2, channels))
    return [mean, var, batch_mean + 0.5, batch_var]


def _fixed() -> list[Case]:
    arrays = [np.array(v) for v in ([0.0, 1.0], [1.0, 1.0], [2.0, -1.0], [0.5, 4.0])]
    return [_case(arrays, 4, None), _case(arrays, 2, 0.25)]


def _draw(rng: np.random.Generator) -> list[Case]:
    return [
        _case(_statistics(rng, 3), int(rng.integers(2, 6)), None),
        _case(_statistics(rng, 5), int(rng.integers(3, 9)), float(rng.choice([0.2, 0.3, 0.01]))),
        _case(_statistics(rng, 1), int(rng.integers(50, 200)), 0.9),
    ]


def _of_bank(entry: RunningMistake) -> SubjectMistake:
    """Return a mistake of the checker's bank as one of this subject."""

    def wrong(
        running_mean: Array, running_var: Array, mean: Array, var: Array, *, count: int, momentum: float = 0.1
    ) -> Any:
        terms = right_terms(running_mean, running_var, mean, var, count, momentum)
        return entry.change(terms).updated()

    return SubjectMistake(entry.name, entry.explanation, {"running_statistics": wrong})


def _wrong(name: str, explanation: str, function: Function) -> SubjectMistake:
    return SubjectMistake(name, explanation, {"running_statistics": function})


def _inverted(*arrays: Array, count: int, momentum: float = 0.1) -> Any:
    mean, var, batch_mean, batch_var = arrays
    factor = (count - 1) / count
    return running_statistics(
        mean, var, batch_mean, batch_var * factor * factor, count=count, momentum=momentum
    )


def _in_place(*arrays: Array, count: int, momentum: float = 0.1) -> Any:
    mean, var, *batch = arrays
    mean[...], var[...] = running_statistics(mean, var, batch[0], batch[1], count=count, momentum=momentum)
    return mean, var


def _factor_outside(*arrays: Array, count: int, momentum: float = 0.1) -> Any:
    mean, var, batch_mean, batch_var = arrays
    new = (1.0 - momentum) * var + momentum * batch_var
    return (1.0 - momentum) * mean + momentum * batch_mean, new * count / (count - 1)


def _mean_too(*arrays: Array, count: int, momentum: float = 0.1) -> Any:
    mean, var, batch_mean, batch_var = arrays
    return running_statistics(
        mean, var, batch_mean * count / (count - 1), batch_var, count=count, momentum=momentum
    )


def _momentum_ignored(*arrays: Array, count: int, momentum: float = 0.1) -> Any:
    mean, var, batch_mean, batch_var = arrays
    return running_statistics(mean, var, batch_mean, batch_var, count=count, momentum=0.1)


RUNNING_STATISTICS = Subject(
    name="running_statistics",
    reference={"running_statistics": running_statistics},
    fixed=_fixed,
    draw=_draw,
    runs=_runs,
    terms=4,
    mistakes=(
        *map(_of_bank, RUNNING_MISTAKES),
        _wrong(
            "factor-inverted",
            "The biased variance is multiplied by (M - 1) / M instead of M / (M - 1).",
            _inverted,
        ),
        _wrong(
            "factor-on-all",
            "M / (M - 1) multiplies the old running variance, too; it belongs to the batch's alone.",
            _factor_outside,
        ),
        _wrong("factor-on-mean", "The mean is multiplied by M / (M - 1), too.", _mean_too),
        _wrong(
            "momentum-ignored",
            "The argument momentum is not used: the weight is always 0.1.",
            _momentum_ignored,
        ),
        _wrong(
            "swapped",
            "The pair is returned as (variance, mean).",
            lambda *a, **o: running_statistics(*a, **o)[::-1],
        ),
        _wrong(
            "in-place",
            "The arguments are changed: new arrays are wanted.",
            _in_place,
        ),
    ),
)
