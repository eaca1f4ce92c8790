"""`course.toml`: which exercises a course has, what they are worth, and the seed of its hidden cases."""

from __future__ import annotations

import json
import secrets
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senumpy.coursework.catalogue import exercise_named, exercises, named_exercises
from senumpy.coursework.course.submissions import Submission
from senumpy.errors import InputError

FILE = "course.toml"
_FORMAT = 1
ALL = "all"


@dataclass(frozen=True)
class Course:
    """A course.

    Attributes
    ----------
    title : str
    points : dict of str to float
        Points by exercise, in the order of the exercises.
    seed : int
        Draws the hidden cases; only the instructor knows it.
    notebooks : bool
        Whether the hand-out's files are notebooks.
    install : str
        What the hand-out says of how to install the package; empty for the usual words.
    """

    title: str
    points: dict[str, float]
    seed: int
    notebooks: bool = False
    install: str = ""

    @property
    def out_of(self) -> float:
        """All points together."""
        return sum(self.points.values())

    def file(self, name: str) -> str:
        """Return the name of an exercise's file in the hand-out."""
        return f"{name}.ipynb" if self.notebooks else f"{name}.py"

    def to_toml(self) -> str:
        """Return the text of `course.toml`."""
        install = f"install = {_quoted(self.install)}\n" if self.install else ""
        lines = "\n".join(f"{name} = {points:g}" for name, points in self.points.items())
        return f"""\
# A course of senumpy. Students must not see this file: who knows the seed knows the hidden cases.
format = {_FORMAT}
title = {_quoted(self.title)}
notebooks = {str(self.notebooks).lower()}
seed = {self.seed}
{install}
# Points of each exercise; change them as you like.
[exercises]
{lines}
"""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def chosen(names: Iterable[str]) -> dict[str, float]:
    """Return points by exercise for names as given, in the order of lessons.

    "all" stands for all exercises, "lesson:13" for a lesson's.

    Raises
    ------
    InputError
        No such exercise, or none at all.
    """
    wanted = named_exercises(names)
    known = exercises()
    found = set(known) if ALL in wanted else {exercise_named(name).name for name in wanted}
    if not found:
        raise InputError("--exercises: wanted at least one exercise; senumpy exercise list shows all")
    return {name: exercise.points for name, exercise in known.items() if name in found}


def course_of(submissions: Iterable[Submission]) -> Course:
    """Return a course of the exercises that were handed in, for grading without a course's folder.

    Raises
    ------
    InputError
        None of the files has the name of an exercise.
    """
    names = {file.name for submission in submissions for file in submission.files}
    points = {
        name: float(exercise.points)
        for name, exercise in exercises().items()
        if names & {f"{name}.py", f"{name}.ipynb"}
    }
    if not points:
        raise InputError(
            "no file has the name of an exercise, such as relu_backward.py; wanted those, or --course DIR"
        )
    return Course("Exercises", points, 0)


def new_seed() -> int:
    """Return a seed that nobody guesses."""
    return secrets.randbelow(2**62) + 1


def read_course(folder: Path) -> Course:
    """Read the course in an instructor's folder, or in the folder that it lies in.

    Raises
    ------
    InputError
        There is none, or its file isn't as it should be; the message names the line or the entry.
    """
    places = (folder, folder / FILE, folder / "instructor" / FILE, folder / "instructor", folder / FILE)
    path = next((place for place in places if place.is_file()), folder / FILE)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder}: no {FILE} there; wanted the folder that senumpy course build wrote, DIR/instructor"
        ) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}") from None
    return _course(data, path)


def _course(data: dict[str, Any], path: Path) -> Course:
    if data.get("format") != _FORMAT:
        raise InputError(f"{path}: got format {data.get('format')!r}, wanted format {_FORMAT}")
    title = _entry(data, "title", str, path)
    seed, notebooks = _entry(data, "seed", int, path), _entry(data, "notebooks", bool, path)
    install = _entry({"install": "", **data}, "install", str, path)
    if seed < 0:
        raise InputError(f"{path}: got seed {seed}, wanted 0 or more")
    points = {}
    for name, worth in _entry(data, "exercises", dict, path).items():
        exercise = exercise_named(name)
        if isinstance(worth, bool) or not isinstance(worth, int | float) or not 0 <= worth < 1e6:
            raise InputError(f"{path}: got {worth!r} points for {name}, wanted a number of 0 or more")
        points[exercise.name] = worth
    if not points:
        raise InputError(f"{path}: no exercises; wanted lines NAME = POINTS under [exercises]")
    return Course(title, points, seed, notebooks, install)


def _entry(data: dict[str, Any], name: str, kind: type, path: Path) -> Any:
    value = data.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        wanted = {str: "text", int: "a whole number", bool: "true or false", dict: "a table"}[kind]
        raise InputError(f"{path}: got {name} = {value!r}, wanted {wanted}")
    return value
