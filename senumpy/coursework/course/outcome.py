"""Grades: who answered what, and what came of it."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from senumpy.coursework.course.settings import Course
from senumpy.coursework.verdict import Verdict


@dataclass(frozen=True)
class Graded:
    """One student's verdicts by exercise; an exercise that was not graded yet is missing.

    Attributes
    ----------
    student : str
    verdicts : dict of str to Verdict
        With the course's points.
    notes : dict of str to str
        What else is to be said of an exercise.
    """

    student: str
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Points."""
        return sum(verdict.points for verdict in self.verdicts.values())

    def note(self, exercise: str) -> str:
        """Return the note on an exercise, in lines of 79 columns."""
        return textwrap.fill(f"Note: {self.notes[exercise]}.", 79, break_on_hyphens=False)


@dataclass(frozen=True)
class Alike:
    """Students whose answers to an exercise are the same but for names, comments and layout."""

    exercise: str
    students: list[str]
    lines: int
    passed: bool


@dataclass(frozen=True)
class Grades:
    """What came of a folder of submissions.

    Attributes
    ----------
    course : Course
    students : list of Graded
    alike : list of Alike
    besides : list of str
        Files that lie beside the submissions.
    walls : str
        Which walls stood around the answers.
    seconds : float
    different : int
        How many different answers were checked.
    interrupted : bool
        Whether somebody stopped it before its end.
    """

    course: Course
    students: list[Graded]
    alike: list[Alike] = field(default_factory=list)
    besides: list[str] = field(default_factory=list)
    walls: str = ""
    seconds: float = 0.0
    different: int = 0
    interrupted: bool = False

    @property
    def complete(self) -> list[Graded]:
        """The students whose exercises are all graded."""
        return [graded for graded in self.students if len(graded.verdicts) == len(self.course.points)]

    def counts(self, exercise: str) -> Counter[str]:
        """Return how many answers to an exercise have each status."""
        return Counter(verdict.status for verdict in self._verdicts(exercise))

    def mistakes(self) -> list[tuple[str, str, int]]:
        """Return exercise, mistake and how many made it, the most common first."""
        counter = Counter(
            (name, mistake)
            for name in self.course.points
            for verdict in self._verdicts(name)
            for mistake in set(verdict.mistakes)
        )
        return sorted(
            ((name, mistake, count) for (name, mistake), count in counter.items()),
            key=lambda row: (-row[2], row[0], row[1]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it ready for JSON."""
        return {
            "title": self.course.title,
            "out_of": self.course.out_of,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "walls": self.walls,
            "students": [
                {
                    "student": graded.student,
                    "total": graded.total,
                    "exercises": {name: verdict.to_dict() for name, verdict in graded.verdicts.items()},
                }
                for graded in self.students
            ],
            "passed": {name: self.counts(name)["passed"] for name in self.course.points},
            "mistakes": [
                {"exercise": name, "mistake": mistake, "students": count}
                for name, mistake, count in self.mistakes()
            ],
            "alike": [vars(group) for group in self.alike],
        }

    def _verdicts(self, exercise: str) -> Iterable[Verdict]:
        return (graded.verdicts[exercise] for graded in self.students if exercise in graded.verdicts)
