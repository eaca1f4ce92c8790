"""What a student is told: which input, what was expected, which known mistake it looks like, what to read."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any

from senumpy.coursework.exercise import Exercise, points_text

WIDTH = 79


@dataclass(frozen=True)
class Fault:
    """One call that went wrong.

    Attributes
    ----------
    asked : str
        Shapes and options.
    came : tuple of str
        What was got and wanted, a line each.
    """

    asked: str
    came: tuple[str, ...]


@dataclass(frozen=True)
class Feedback:
    """What is known of an answer that ran.

    Attributes
    ----------
    exercise : Exercise
    faults : tuple of Fault
        Empty where all is right.
    tried, failed : int
        Calls.
    wrong, right : tuple of str
        Results, such as ``"dx"``.
    mistakes : tuple of str
        From the bank.
    diagnosis : str
        What the bank says.
    known : bool
        Whether a known mistake explains it.
    where : str
        Which kinds of calls alone are wrong, or right; empty where that says little.
    remarks : tuple of str
        What cost no points.
    example : dict of arrays
        The input of the first fault.
    """

    exercise: Exercise
    faults: tuple[Fault, ...]
    tried: int = 0
    failed: int = 0
    wrong: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    mistakes: tuple[str, ...] = ()
    diagnosis: str = ""
    known: bool = False
    where: str = ""
    remarks: tuple[str, ...] = ()
    example: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    @property
    def line(self) -> str:
        """One line that says why."""
        if self.ok:
            return f"passed: right in all {self.tried} calls"
        if self.known:
            return f"{_listed(self.wrong) or 'results'} wrong: {', '.join(self.mistakes)}"
        return f"wrong in {self.failed} of {self.tried} calls: {self.faults[0].came[0]}"

    def text(self) -> str:
        """Return the lines for the student."""
        exercise = self.exercise
        if self.ok:
            won = f"{exercise.points} of {points_text(exercise.points)}"
            lines = [f"{exercise.name}: passed, {won}; right in all {self.tried} calls."]
            said = [remark.removesuffix("; wanted silence") for remark in self.remarks]
            lines += [_filled(f"Not counted: {remark}.") for remark in said]
            return "\n".join(lines)
        lines = [f"{exercise.name}: not right yet, 0 of {points_text(exercise.points)}.", ""]
        if self.wrong:
            right = f" Right: {_listed(self.right)}." if self.right else ""
            lines.append(
                _filled(f"Wrong in {self.failed} of {self.tried} calls: {_listed(self.wrong)}.{right}")
            )
        else:
            lines.append(f"Wrong in {self.failed} of {self.tried} calls.")
        if self.where:
            lines.append(_filled(self.where))
        for fault in self.faults:
            lines.append(_filled(f"For example: {fault.asked}"))
            lines += [_filled(came, "    ") for came in fault.came]
        if self.diagnosis and self.known:
            lines += ["", _filled(self.diagnosis)]
        lines += ["", reading_text(exercise)]
        return "\n".join(lines)


def reading_text(exercise: Exercise) -> str:
    """Return what to read again."""
    return _filled(f"Read again: {exercise.reading} (senumpy lessons open {exercise.lesson}).")


def plain_text(exercise: Exercise, headline: str, line: str, *, reading: bool = True) -> str:
    """Return the lines for an answer that did not run, or came to nothing."""
    lines = [f"{exercise.name}: {headline}, 0 of {points_text(exercise.points)}.", "", _filled(line)]
    return "\n".join([*lines, "", reading_text(exercise)] if reading else lines)


def _filled(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=indent, subsequent_indent=indent + "  ", break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _listed(names: tuple[str, ...]) -> str:
    *front, last = names or ("",)
    return f"{', '.join(front)} and {last}" if front else last
