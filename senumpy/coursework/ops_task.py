"""Exercises that are an operation's forward or backward: calls made, results judged, the mistake named."""

from __future__ import annotations

import math
import threading
from collections.abc import Container
from typing import Any

import numpy as np

from senumpy.coursework.exercise import Exercise
from senumpy.coursework.extremes import extreme_calls
from senumpy.coursework.feedback import Fault, Feedback
from senumpy.coursework.notes import Note
from senumpy.coursework.verdict import example_arrays
from senumpy.verify.calls import OpCall, call_of, result_names
from senumpy.verify.cases import op_spec
from senumpy.verify.conduct import Answer, Conduct, Record
from senumpy.verify.evidence import diagnose_outcomes
from senumpy.verify.judgement import LEVELS, Judgement
from senumpy.verify.mistakes import MISTAKES
from senumpy.verify.outcome import Outcome, call_text, judged
from senumpy.verify.rounding import Expectation, expect

SEEDS = 3  # that draw the calls of a first look
TIMEOUT = 5.0  # seconds a call
FEW = 3  # kinds of calls that a student reads of
# What a student may do without losing points: it is said, and left.
_HARMLESS = ("alias", "printed", "overflow")
# Where the docstring asks for what is harmless elsewhere.
_ASKED = {"sigmoid": ("overflow",)}
# What NumPy can lose precision by; other formats need hardware that it doesn't use.
_LOSSES = ("float32", "float16", "Winograd")
NEAR = 1e-4  # relative; a number as near as that is probably meant to be the right one
# What shows in no number, and which mistake of the bank it is.
_BY_CONDUCT = {
    "alias": "aliased",
    "changes the upstream gradient": "overwrites-upstream",
    "backward changes": "overwrites-cache",
}

Call = tuple[OpCall, str]


class OpTask:
    """Judges answers to one exercise.

    Parameters
    ----------
    exercise : Exercise
    op : str
    seed : int
        Draws the calls.
    """

    def __init__(self, exercise: Exercise, op: str, seed: int) -> None:
        self.exercise, self._op, self._seed = exercise, op, seed
        self._gradients = exercise.name.endswith("_backward")
        self._bank = {mistake.name: mistake for mistake in MISTAKES if mistake.op == op}
        # Where results that share memory are a known mistake, they are one here.
        asked = _ASKED.get(op, ())
        self._harmless = tuple(
            kind for kind in _HARMLESS if _BY_CONDUCT.get(kind) not in self._bank and kind not in asked
        )
        self._expected: dict[int, list[Expectation]] = {}
        self._lock = threading.Lock()

    work = "senumpy.coursework.answering:answer_op"

    def job(self, text: str, label: str, round_: int = 0) -> dict[str, Any]:
        """Return what the student's process is asked; each round has calls of its own."""
        return {
            "op": self._op,
            "text": text,
            "label": label,
            "targets": self.exercise.targets,
            "backward": self._gradients,
            "calls": [(e.call, e.dtype.name) for e in self._expectations(round_)],
            "timeout": TIMEOUT,
        }

    def count(self, round_: int = 0) -> int:
        """Return how many calls a round has."""
        return len(self._expectations(round_))

    def outcomes(self, arrays: dict[str, Any], notes: list[Note], round_: int = 0) -> list[Outcome]:
        """Judge what came back from a process."""
        found = []
        for number, (expectation, note) in enumerate(zip(self._expectations(round_), notes, strict=False)):
            record = Record(expectation.call, expectation.dtype)
            shapes = {n: want.shape for n, want in expectation.want.items() if want is not None}
            results, misshapen = _of(arrays, f"{number}/", shapes), _of(arrays, f"{number}?", shapes)
            answer = Answer(
                {n: a for n, a in results.items() if a.shape == shapes[n]}
                | {name: None for name in note.absent if name in expectation.want},
                {n: a for n, a in misshapen.items() if a.shape != shapes[n]},
                list(note.conduct),
            )
            self._want_all(answer, expectation)
            record.answer = answer
            record.finish()
            found.append(judged(expectation, answer))
        return found

    def _want_all(self, answer: Answer, expectation: Expectation) -> None:
        """Note what is missing without a word: in an honest reply there is nothing."""
        if any(entry.kind not in self._harmless for entry in answer.conduct):
            return  # something is wrong anyway, and said
        for name in result_names(expectation.call) if self._gradients else ["y"]:
            if name not in answer.results and not name.startswith("running_"):
                answer.conduct.append(Conduct("type", f"{name} is missing", name))

    def feedback(self, outcomes: list[Outcome], more: Any) -> Feedback:
        """Return what is to be said of outcomes; `more(round)` gives others."""
        failing = [outcome for outcome in outcomes if self._faults(outcome)]
        if not failing:
            return Feedback(self.exercise, (), remarks=self._remarks(outcomes), tried=len(outcomes))
        names, said = self._diagnosis(outcomes, more)
        known = bool(names)
        example = min(failing, key=lambda outcome: (not _numbers_wrong(outcome), outcome.size))
        wrong = {name for outcome in failing for name in _wrong_results(outcome)}
        seen = {j.result for outcome in outcomes for j in outcome.judgements}
        if self._gradients:
            seen -= {"y"}  # the forward is not what was asked for
        return Feedback(
            self.exercise,
            (self._fault(example, known),),
            tried=len(outcomes),
            failed=len(failing),
            wrong=tuple(name for name in self._order() if name in wrong),
            right=tuple(name for name in self._order() if name in seen - wrong),
            mistakes=names,
            diagnosis=said,
            known=known,
            where=_where({o.call.note for o in failing}, [o.call.note for o in outcomes]),
            example=self._example(example),
        )

    def _diagnosis(self, outcomes: list[Outcome], more: Any) -> tuple[tuple[str, ...], str]:
        """Return the names of the mistakes made, and what is to be said of them."""
        failing: list[Outcome] = []
        passing: list[Outcome] = []

        def sort(found: list[Outcome]) -> None:
            for outcome in found:
                if (outcome.results or outcome.misshapen) and not outcome.expectation.near_kink:
                    (failing if _numbers_wrong(outcome) else passing).append(outcome)

        sort(outcomes)
        if failing:
            found = diagnose_outcomes(self._op, failing, passing, lambda attempt: sort(more(attempt)))
            return found.names, found.text
        seen = [entry for outcome in outcomes for entry in outcome.conduct]
        for sign, name in _BY_CONDUCT.items():
            if name in self._bank and any(c.kind == sign or sign in c.message for c in seen):
                return (name,), f"This is a known mistake, {name}: {self._bank[name].explanation}"
        return (), ""

    def _faults(self, outcome: Outcome) -> tuple[str, ...]:
        return tuple(fault for fault in outcome.faults() if not fault.startswith(self._harmless))

    def _remarks(self, outcomes: list[Outcome]) -> tuple[str, ...]:
        found: dict[str, str] = {}  # the first of each kind: what is printed differs from call to call
        for conduct in (c for outcome in outcomes for c in outcome.conduct if c.kind in self._harmless):
            found.setdefault(conduct.kind, conduct.message)
        return tuple(found.values())

    def _fault(self, outcome: Outcome, known: bool) -> Fault:
        """Return what is wrong with one call: what was asked, and what came."""
        # Wrong numbers have lines of their own.
        wrong = {j.result for j in outcome.judgements if j.level in LEVELS[2:]}
        lines = [
            f"raised {c.message}" if c.kind == "raised" else c.message
            for c in outcome.conduct
            if c.kind not in self._harmless and not (c.kind == "not finite" and c.result in wrong)
        ]
        lines += [_entry_text(j, known) for j in outcome.judgements if j.level in LEVELS[2:]]
        return Fault(f"{call_text(outcome.call)}; {outcome.dtype}", tuple(lines[:3]))

    def _expectations(self, round_: int) -> list[Expectation]:
        with self._lock:
            if round_ not in self._expected:
                self._expected[round_] = [expect(call, dtype) for call, dtype in self._calls(round_)]
            return self._expected[round_]

    def _calls(self, round_: int) -> list[Call]:
        spec = op_spec(self._op)
        first = [self._seed + k for k in range(SEEDS)]
        seeds = [self._seed + SEEDS + round_] if round_ else first
        calls = [
            (call_of(self._op, case, seed), "float64") for seed in seeds for case in spec.cases(seed=seed)
        ]
        if not round_:
            calls += [(call_of(self._op, case, seeds[0]), "float32") for case in spec.cases(seed=seeds[0])]
            calls += [(call, "float64") for call in extreme_calls(self._op, self._seed)]
        return calls

    def _order(self) -> list[str]:
        found = [name for outcome in self._expected[0] for name in outcome.want]
        return list(dict.fromkeys(found))

    def _example(self, outcome: Outcome) -> dict[str, Any]:
        arguments = dict(zip(outcome.call.names, outcome.call.args, strict=True))
        if self._gradients and outcome.expectation.want["y"] is not None:
            arguments["dy"] = outcome.call.upstream(np.shape(outcome.expectation.want["y"]))
        got = {**outcome.results, **outcome.misshapen}
        return example_arrays(arguments, got, {name: outcome.expectation.want[name] for name in got})


def _where(wrong: set[str], every: list[str]) -> str:
    """Return which calls alone are wrong, or right, by their notes; empty where both are many."""
    notes = list(dict.fromkeys(every))
    bad, good = [n for n in notes if n in wrong], [n for n in notes if n not in wrong]
    word, fewer = ("Wrong only", bad) if len(bad) < len(good) else ("Right", good)
    return f"{word} in the calls [{'], ['.join(fewer)}]." if 0 < len(fewer) <= FEW and all(fewer) else ""


def _of(arrays: dict[str, Any], prefix: str, asked: Container[str]) -> dict[str, Any]:
    """Return the arrays of one call that are real numbers and answer to something that was asked."""
    found = {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}
    return {
        name: value
        for name, value in found.items()
        if name in asked and value.dtype.kind in "fiu" and value.size
    }


def _numbers_wrong(outcome: Outcome) -> bool:
    return outcome.level in LEVELS[2:] or bool(outcome.misshapen)


def _wrong_results(outcome: Outcome) -> list[str]:
    names = [j.result for j in outcome.judgements if j.level in LEVELS[2:]]
    return [*names, *outcome.misshapen, *(c.result for c in outcome.conduct if c.result)]


def _entry_text(j: Judgement, known: bool) -> str:
    """Return the entry of a result that is furthest off."""
    if math.isnan(j.got) and math.isnan(j.want):
        return f"{j.result}: {j.looks_like}"
    place = f"[{', '.join(map(str, j.index))}]" if j.index else ""
    got, want = j.got + 0.0, j.want + 0.0  # no -0
    digits = 7 if f"{got:.7g}" != f"{want:.7g}" else 17
    # A known mistake may look like lost precision: then it isn't.
    return f"{j.result}{place} is {got:.{digits}g}, wanted {want:.{digits}g}{'' if known else _nearness(j)}"


def _nearness(j: Judgement) -> str:
    """Return what is to be said where a number is nearly right; empty where it is not."""
    if j.level == "lossy" and j.looks_like.startswith(_LOSSES):
        return f" (it looks like {j.looks_like})"
    if 0 < abs(j.got - j.want) <= NEAR * abs(j.want):
        return " (near, but further off than rounding explains)"
    return ""
