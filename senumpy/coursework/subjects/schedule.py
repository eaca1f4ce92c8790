"""The cosine schedule.

pi t / T is off by 3 u of its size, which is at most pi; a cosine moves by no more than its argument; then it
is rounded, 1 is added, and two factors are multiplied: |error| <= lr/2 (3 pi + 1 + 3 * 2) u < 9 u lr, and as
much for an answer that is written in another way, as lr cos(pi t / 2T)^2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from senumpy.coursework.subjects.subject import (
    AnswerError,
    Case,
    Function,
    Functions,
    Results,
    Subject,
    SubjectMistake,
    U,
    numbers,
)
from senumpy.training.schedules import cosine
from senumpy.verify.slots import text_of


def _case(lr: float, steps: int, at: list[int]) -> Case:
    text = f"cosine({lr:g}, {steps}) at the steps {', '.join(map(str, at))}"
    return Case(text, {"lr": lr, "steps": steps, "at": tuple(at)})


def _runs(functions: Functions, case: Case) -> Results:
    schedule = functions["cosine"](case.data["lr"], case.data["steps"])
    if not callable(schedule):
        raise AnswerError(f"cosine: got {text_of(schedule)}, wanted a function of the step")
    rates = [numbers(schedule(step), "the schedule") for step in case.data["at"]]
    if any(rate.size != 1 for rate in rates):
        raise AnswerError(f"the schedule: got the shape {rates[0].shape}, wanted one number")
    return {"lr": np.array([rate.reshape(()) for rate in rates])}


def _fixed() -> list[Case]:
    return [_case(0.1, 10, [0, 1, 5, 9, 10]), _case(1.0, 4, [0, 1, 2, 3, 4, 5, 8])]


def _draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    for _ in range(3):
        steps, lr = int(rng.integers(7, 400)), float(rng.uniform(0.01, 2.0))
        inside = sorted(int(t) for t in rng.choice(np.arange(1, steps), 4, replace=False))
        beyond = steps + int(rng.integers(1, steps))
        cases.append(_case(lr, steps, [0, *inside, steps - 1, steps, beyond, 2 * steps]))
    return cases


def _wrong(name: str, explanation: str, rate: Callable[[float, int, int], float]) -> SubjectMistake:
    """Return a mistake by its formula for (lr, steps T, step t)."""

    def wrong(lr: float, steps: int) -> Function:
        return lambda step: rate(lr, steps, step)

    return SubjectMistake(name, explanation, {"cosine": wrong})


def _until(t: int, T: int) -> float:
    return math.pi * min(t, T) / T


COSINE = Subject(
    name="cosine",
    reference={"cosine": cosine},
    fixed=_fixed,
    draw=_draw,
    runs=_runs,
    bound=lambda case, want: {"lr": 2 * 9 * U * case.data["lr"]},
    mistakes=(
        _wrong(
            "half-missing",
            "1 + cos is 2 at the beginning: without the factor 1/2 the schedule begins at 2 lr.",
            lambda lr, T, t: lr * (1.0 + math.cos(_until(t, T))),
        ),
        _wrong(
            "one-missing",
            "Without the 1 + the learning rate is negative in the second half.",
            lambda lr, T, t: 0.5 * lr * math.cos(_until(t, T)),
        ),
        _wrong(
            "whole-period",
            "2 pi t / T is a whole period: the learning rate is back at lr at the end.",
            lambda lr, T, t: 0.5 * lr * (1.0 + math.cos(2.0 * _until(t, T))),
        ),
        _wrong(
            "quarter-period",
            "This is lr cos(pi t / 2T), a quarter of a period, which falls steeply at the end.",
            lambda lr, T, t: lr * math.cos(0.5 * _until(t, T)),
        ),
        _wrong(
            "rises-after-the-end",
            "Beyond the last step the cosine rises again: it is to stay 0.",
            lambda lr, T, t: 0.5 * lr * (1.0 + math.cos(math.pi * t / T)),
        ),
        _wrong(
            "starts-again",
            "Beyond the last step the schedule begins again (step % steps): it is to stay 0.",
            lambda lr, T, t: 0.5 * lr * (1.0 + math.cos(math.pi * (t % T) / T)),
        ),
        _wrong(
            "ends-early",
            "0 is reached at step T - 1 instead of T.",
            lambda lr, T, t: 0.5 * lr * (1.0 + math.cos(_until(t, T - 1))),
        ),
        _wrong(
            "one-step-ahead",
            "The steps count from 0: at step 0 the learning rate is lr itself.",
            lambda lr, T, t: 0.5 * lr * (1.0 + math.cos(_until(t + 1, T))),
        ),
        _wrong(
            "rising",
            "With 1 - cos the learning rate rises from 0 to lr.",
            lambda lr, T, t: 0.5 * lr * (1.0 - math.cos(_until(t, T))),
        ),
        _wrong(
            "whole-steps",
            "step // steps is 0 until the end: the learning rate jumps.",
            lambda lr, T, t: 0.5 * lr * (1.0 + math.cos(math.pi * (min(t, T) // T))),
        ),
        _wrong(
            "degrees",
            "180 t / T are degrees; math.cos takes radians.",
            lambda lr, T, t: 0.5 * lr * (1.0 + math.cos(180.0 * min(t, T) / T)),
        ),
        _wrong(
            "linear",
            "This is a straight line from lr to 0.",
            lambda lr, T, t: lr * (1.0 - min(t, T) / T),
        ),
    ),
)
