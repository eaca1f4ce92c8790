"""Answers checked: looked at, run in a sandbox, judged here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

from senumpy.coursework.catalogue import exercise_named
from senumpy.coursework.examine import RefusedError, examine
from senumpy.coursework.exercise import Exercise
from senumpy.coursework.feedback import Feedback, plain_text
from senumpy.coursework.notes import ENDINGS, ForgedError, Note, read_notes
from senumpy.coursework.ops_task import OpTask
from senumpy.coursework.sandbox import Sandbox
from senumpy.coursework.strip import NOT_BEGUN, student_text
from senumpy.coursework.subject_task import SubjectTask
from senumpy.coursework.verdict import Status, Verdict


class Task(Protocol):
    """How answers to one exercise are run and judged."""

    work: str

    def job(self, text: str, label: str, round_: int = 0) -> dict[str, Any]:
        """Return what the student's process is asked."""

    def count(self, round_: int = 0) -> int:
        """Return how many calls a round has."""

    def outcomes(self, arrays: dict[str, Any], notes: list[Note], round_: int = 0) -> list[Any]:
        """Judge what came back."""

    def feedback(self, outcomes: list[Any], more: Any) -> Feedback:
        """Return what is to be said."""


class Checker:
    """Checks answers to exercises; what is right is computed once for all of them.

    Parameters
    ----------
    names : iterable of str
        Exercises.
    seed : int
        Draws the calls; a teacher's own makes them unknown to students.
    sandbox : Sandbox
        Runs the answers.

    Raises
    ------
    InputError
        There is no such exercise.
    """

    def __init__(self, names: Iterable[str], *, seed: int = 0, sandbox: Sandbox) -> None:
        self.exercises = {exercise.name: exercise for exercise in map(exercise_named, names)}
        self.seed, self._sandbox = seed, sandbox
        self._tasks: dict[str, Task] = {}
        self._lock = threading.Lock()

    def check(self, name: str, text: bytes | None, *, label: str) -> Verdict:
        """Check one answer; may be called from several threads.

        Parameters
        ----------
        name : str
            Exercise.
        text : bytes or None
            The file; None where there is none.
        label : str
            Name of the file, for messages.
        """
        exercise = self.exercises[name]
        start = time.perf_counter()
        verdict = self._verdict(exercise, text, label)
        return replace(verdict, seconds=time.perf_counter() - start)

    def _verdict(self, exercise: Exercise, data: bytes | None, label: str) -> Verdict:
        if data is None:
            return _without(exercise, "not begun", f"{label}: no such file")
        try:
            text = examine(exercise, data, label)
        except RefusedError as error:
            return _without(exercise, "refused", str(error))
        task = self._task(exercise)
        reply = self._sandbox.run(task.work, task.job(text, label))
        if reply.status != "done":
            return _without(exercise, "error", f"{label}: {reply.message}")
        try:
            notes = read_notes(reply.notes, task.count())
        except ForgedError:
            return _without(exercise, "error", f"{label}: its process ended without answering all calls")
        stopped = _stopped(exercise, notes, text, label)
        if stopped is not None:
            return stopped

        def more(round_: int) -> list[Any]:
            again = self._sandbox.run(task.work, task.job(text, label, round_))
            try:
                return task.outcomes(again.arrays, read_notes(again.notes, task.count(round_)), round_)
            except ForgedError:
                return []

        feedback = task.feedback(task.outcomes(reply.arrays, notes), more)
        return Verdict(
            exercise.name,
            "passed" if feedback.ok else "failed",
            exercise.points if feedback.ok else 0,
            feedback.line,
            feedback.text(),
            feedback.mistakes,
            example=feedback.example,
        )

    def _task(self, exercise: Exercise) -> Task:
        with self._lock:
            if exercise.name not in self._tasks:
                op = exercise.op
                self._tasks[exercise.name] = (
                    SubjectTask(exercise, self.seed) if op is None else OpTask(exercise, op, self.seed)
                )
            return self._tasks[exercise.name]


def _stopped(exercise: Exercise, notes: list[Note], text: str, label: str) -> Verdict | None:
    """Return the verdict on an answer that gave nothing to judge; None on one that did."""
    raised = [[entry.message for entry in note.conduct if entry.kind == "raised"] for note in notes]
    if all(raised):
        message = raised[0][0]
        if NOT_BEGUN not in message:
            # A forward that gave no cache explains what its backward then ran into.
            found = [entry.message for entry in notes[0].conduct if entry.kind == "type"]
            return _without(exercise, "error", f"{label}: {found[0] if found else f'raised {message}'}")
        if text.strip() == student_text(exercise).strip():
            return _without(exercise, "not begun", f"{exercise.name}: nothing is written yet")
        line = f"{label}: it still raises NotImplementedError{_where(message)}"
        return _without(exercise, "not begun", line)
    for entry in (entry for note in notes for entry in note.conduct):
        if entry.kind in ENDINGS and entry.kind != "raised":
            return _without(exercise, "error", f"{label}: {entry.message}")
    return None


def _where(message: str) -> str:
    """Return `` (file.py, line 12, ...)`` from the end of a message; empty where there is none."""
    return message[message.rindex(" (") :] if message.endswith(")") and " (" in message else ""


_HEADLINES: dict[Status, str] = {
    "not begun": "not begun",
    "refused": "not accepted",
    "error": "it breaks off",
}


def _without(exercise: Exercise, status: Status, line: str) -> Verdict:
    """Return the verdict on an answer without results."""
    text = plain_text(exercise, _HEADLINES[status], line, reading=status != "refused")
    return Verdict(exercise.name, status, 0, line, text)
