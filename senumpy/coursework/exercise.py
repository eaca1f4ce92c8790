"""An exercise: what its markers in the reference say of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from senumpy.verify.cases import OPS

_TEXT = re.compile(
    r'^(?P<points>\d+) points?, level (?P<level>[123]), lesson (?P<lesson>\d+) "(?P<section>[^"]+)"'
    r"(?:; given: (?P<given>[\w, ]+))?$"
)
LEVELS = {1: "a few lines", 2: "some thought", 3: "a derivation"}


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    Attributes
    ----------
    name : str
        Of the exercise, and of the student's file.
    title : str
        What is to be written, one line: the beginning of the docstring of its first function.
    points : int
    level : int
        1: a few lines, 2: some thought, 3: a derivation.
    lesson : int
        The lesson that it belongs to.
    section : str
        Heading of the section to read.
    source : Path
        The file of the library that holds the solution.
    targets : tuple of str
        The functions that a student writes.
    given : tuple of str
        Names of the source that stay at hand though only the solution uses them.
    """

    name: str
    title: str
    points: int
    level: int
    lesson: int
    section: str
    source: Path
    targets: tuple[str, ...]
    given: tuple[str, ...]

    @property
    def file(self) -> str:
        """Name of the student's file."""
        return f"{self.name}.py"

    @property
    def op(self) -> str | None:
        """The operation whose forward or backward it is; None for other exercises."""
        op, _, side = self.name.rpartition("_")
        return op if op in OPS and side in ("forward", "backward") else None

    @property
    def worth(self) -> str:
        """The points, in words."""
        return points_text(self.points)

    @property
    def reading(self) -> str:
        """Where to read, in words."""
        return f'lesson {self.lesson}, "{self.section}"'


def points_text(points: float) -> str:
    """Return "1 point", "3 points"."""
    return f"{points:g} point{'' if points == 1 else 's'}"


def parse_marker(text: str) -> tuple[int, int, int, str, tuple[str, ...]]:
    """Return points, level, lesson, section and given names of a marker's text.

    Raises
    ------
    ValueError
        It has another form.
    """
    found = _TEXT.match(text)
    if found is None:
        raise ValueError(
            f'got the marker text {text!r}, wanted: N points, level N, lesson N "Section"; given: name, name'
        )
    given = tuple(name.strip() for name in (found["given"] or "").split(",") if name.strip())
    return int(found["points"]), int(found["level"]), int(found["lesson"]), found["section"], given
