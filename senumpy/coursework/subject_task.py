"""Exercises that are no operation: their cases asked, judged by their subject, the mistake named."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from senumpy.coursework.exercise import Exercise
from senumpy.coursework.feedback import Fault, Feedback
from senumpy.coursework.notes import Note
from senumpy.coursework.subjects import SUBJECTS, Case, Judged
from senumpy.coursework.verdict import example_arrays

ROUNDS = 2  # of further cases, while several mistakes have the same numbers
TIMEOUT = 5.0  # seconds a case


@dataclass(frozen=True)
class CaseOutcome:
    """One case answered: results (None where it broke off), what is said of them, and what else it did."""

    case: Case
    got: dict[str, Any] | None
    judged: Judged | None
    conduct: tuple[tuple[str, str], ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong, a line each; empty where nothing is."""
        raised = tuple(
            f"raised {message}" if kind == "raised" else message
            for kind, message in self.conduct
            if kind != "printed"
        )
        if raised:
            return raised
        if self.judged is None:
            return ("there is no result",)
        return () if self.judged.ok else (self.judged.text,)


class SubjectTask:
    """Judges answers to one exercise.

    Parameters
    ----------
    exercise : Exercise
    seed : int
        Draws the cases.
    """

    work = "senumpy.coursework.answering:answer_subject"

    def __init__(self, exercise: Exercise, seed: int) -> None:
        self.exercise, self._seed, self._subject = exercise, seed, SUBJECTS[exercise.name]
        self._known: dict[int, list[tuple[Case, dict[str, Any], dict[str, Any]]]] = {}
        self._lock = threading.Lock()

    def job(self, text: str, label: str, round_: int = 0) -> dict[str, Any]:
        """Return what the student's process is asked; each round has cases of its own."""
        return {
            "subject": self.exercise.name,
            "text": text,
            "label": label,
            "targets": self.exercise.targets,
            "seed": self._seed + round_,
            "timeout": TIMEOUT,
        }

    def count(self, round_: int = 0) -> int:
        """Return how many cases a round has."""
        return len(self._cases(round_))

    def outcomes(self, arrays: dict[str, Any], notes: list[Note], round_: int = 0) -> list[CaseOutcome]:
        """Judge what came back from a process."""
        found = []
        for number, ((case, want, bounds), note) in enumerate(zip(self._cases(round_), notes, strict=False)):
            start = f"{number}/"
            got = {name[len(start) :]: value for name, value in arrays.items() if name.startswith(start)}
            judged = self._subject.judge(got, want, case, bounds) if got else None
            conduct = tuple((entry.kind, entry.message) for entry in note.conduct)
            found.append(CaseOutcome(case, got or None, judged, conduct))
        return found

    def feedback(self, outcomes: list[CaseOutcome], more: Callable[[int], list[CaseOutcome]]) -> Feedback:
        """Return what is to be said of outcomes; `more(round)` gives others."""
        failing = [outcome for outcome in outcomes if outcome.faults]
        printed = [m for outcome in outcomes for kind, m in outcome.conduct if kind == "printed"]
        if not failing:
            remarks = tuple(printed[:1])
            return Feedback(self.exercise, (), tried=len(outcomes), remarks=remarks)
        mistakes = self._mistakes(outcomes, more)
        first = min(failing, key=lambda outcome: outcome.judged is None)
        wrong = _names(outcomes, lambda judged: judged.wrong)
        return Feedback(
            self.exercise,
            (Fault(first.case.text, first.faults[:2]),),
            tried=len(outcomes),
            failed=len(failing),
            wrong=wrong,
            right=tuple(n for n in _names(outcomes, lambda judged: judged.right) if n not in wrong),
            mistakes=tuple(mistake.name for mistake in mistakes),
            diagnosis=_said(mistakes),
            known=bool(mistakes),
            example=self._example(first),
        )

    def _mistakes(self, outcomes: list[CaseOutcome], more: Callable[[int], list[CaseOutcome]]) -> list[Any]:
        found: list[Any] = []
        for round_ in range(ROUNDS + 1):
            if round_:
                outcomes = [*outcomes, *more(round_)]
            found = list(self._subject.diagnose([o.case for o in outcomes], [o.got for o in outcomes]))
            if len(found) < 2:
                break
        return found

    def _cases(self, round_: int) -> list[tuple[Case, dict[str, Any], dict[str, Any]]]:
        with self._lock:
            if round_ not in self._known:
                known = []
                for case in self._subject.cases(self._seed + round_):
                    want = self._subject.want(case)
                    known.append((case, want, self._subject.bounds(case, want)))
                self._known[round_] = known
            return self._known[round_]

    def _example(self, outcome: CaseOutcome) -> dict[str, Any]:
        if outcome.got is None:
            return {}
        return example_arrays(outcome.case.data, outcome.got, self._subject.want(outcome.case))


def _names(outcomes: list[CaseOutcome], of: Callable[[Judged], tuple[str, ...]]) -> tuple[str, ...]:
    names = [name for outcome in outcomes if outcome.judged is not None for name in of(outcome.judged)]
    return tuple(dict.fromkeys(names))


def _said(mistakes: list[Any]) -> str:
    if not mistakes:
        return ""
    said = " Or ".join(f"{mistake.name}: {mistake.explanation}" for mistake in mistakes)
    if len(mistakes) == 1:
        return f"Your results follow a known mistake, {said}"
    return f"Your results follow one of {len(mistakes)} known mistakes: {said}"
