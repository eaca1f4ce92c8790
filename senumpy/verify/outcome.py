"""One call of an operation, made by an implementation and judged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from senumpy.verify.calls import OpCall, Results, floats_in
from senumpy.verify.conduct import Answer, Conduct
from senumpy.verify.judgement import Judgement, Level, judge, verdict_of
from senumpy.verify.rounding import Expectation


@dataclass(frozen=True)
class Outcome:
    """What a candidate gave for one call, and how that compares.

    Attributes
    ----------
    expectation : Expectation
        The call and what is right for it.
    results : dict
        The candidate's arrays by name; those that were no arrays of numbers are missing.
    judgements : tuple of Judgement
    conduct : tuple of Conduct
        What the candidate did besides, or instead.
    misshapen : dict
        Arrays of wrong shapes.
    """

    expectation: Expectation
    results: Results
    judgements: tuple[Judgement, ...]
    conduct: tuple[Conduct, ...]
    misshapen: Results = field(default_factory=dict)

    @property
    def call(self) -> OpCall:
        """The call."""
        return self.expectation.call

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the arguments."""
        return self.expectation.dtype

    @property
    def level(self) -> Level:
        """The worst level of all results."""
        return verdict_of(self.judgements)

    @property
    def size(self) -> int:
        """How many numbers the call has: what is small is easy to look at."""
        return sum(array.size for array in self.call.floats())

    def faults(self, accept: str = "accurate") -> tuple[str, ...]:
        """Return what is wrong, as short keys: ``"wrong dx"``, ``"lossy y"``, ``"printed"``.

        Parameters
        ----------
        accept : {"accurate", "lossy"}
            The worst level that is no fault.
        """
        bad = ("wrong",) if accept == "lossy" else ("wrong", "lossy")
        levels = [f"{j.level} {j.result}" for j in self.judgements if j.level in bad]
        return (*dict.fromkeys(f"{c.kind} {c.result}".strip() for c in self.conduct), *levels)

    def __str__(self) -> str:
        lines = [f"{self.call.op}, {self.dtype}: {call_text(self.call)}"]
        for j in self.judgements:
            lines.append(f"  {judgement_text(j)}")
        lines += [f"  {c.kind}: {c.message}" for c in self.conduct]
        return "\n".join(lines)


def judged(expectation: Expectation, answer: Answer) -> Outcome:
    """Judge what an implementation gave for a call."""
    return Outcome(
        expectation,
        answer.results,
        tuple(judge(expectation, answer.results)),
        tuple(answer.conduct),
        answer.misshapen,
    )


def call_text(call: OpCall) -> str:
    """Return shapes and options of a call in one line."""
    parts = []
    for name, value in zip(call.names, call.args, strict=True):
        if isinstance(value, tuple | list):
            parts.append(f"{name} {', '.join(_shape(part) for part in value)}")
        elif value is not None:
            parts.append(f"{name} {_shape(value)}")
    parts += [f"{name}={value!r}" for name, value in call.options.items()]
    memory = f"; {memory_text(call)}" if set(call.layouts) - {"C"} else ""
    return ", ".join(parts) + memory + (f" [{call.note}]" if call.note else "")


def memory_text(call: OpCall) -> str:
    """Return the memory orders that are not C: ``x channels last, gamma strided``."""
    names = [name for name, value in zip(call.names, call.args, strict=True) for _ in floats_in(value)]
    orders = zip(names, call.layouts, strict=False)
    return ", ".join(f"{name} {order}" for name, order in orders if order != "C")


def judgement_text(j: Judgement) -> str:
    """Return one judgement in one line."""
    text = f"{j.result} is {j.level}"
    if j.level != "exact" and not math.isnan(j.got):
        where = f" at {j.index}" if j.index else ""
        digits = 9 if f"{j.got:.9g}" != f"{j.want:.9g}" else 17
        text += f": got {j.got:.{digits}g}, wanted {j.want:.{digits}g}{where}, {error_text(j)}"
    return text + (f" ({j.looks_like})" if j.looks_like else "")


def error_text(j: Judgement) -> str:
    """Return the size of the largest error against its bound, in words."""
    if math.isinf(j.max_error):
        return "off by infinity"
    return f"off by {j.max_error:.2g}, rounding explains {j.bound:.2g}"


def _shape(array: Any) -> str:
    return "(" + ",".join(map(str, np.shape(array))) + ")"
