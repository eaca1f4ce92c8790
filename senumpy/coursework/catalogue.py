"""All exercises, found by their markers in the library's own source."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import senumpy
from senumpy.coursework.exercise import Exercise, parse_marker
from senumpy.errors import InputError, unknown_name
from senumpy.markers import Block, blocks

PACKAGE = Path(senumpy.__file__).parent
FOLDERS = ("ops", "engines/naive", "training", "verify")


@cache
def exercises() -> dict[str, Exercise]:
    """Return all exercises by name, in the order of lessons, sources and lines."""
    found = [
        exercise
        for folder in FOLDERS
        for path in sorted((PACKAGE / folder).glob("*.py"))
        for exercise in _exercises_of(path)
    ]
    ordered = sorted(found, key=lambda exercise: exercise.lesson)  # stable: the rest stays as found
    return {exercise.name: exercise for exercise in ordered}


def exercise_named(name: str) -> Exercise:
    """Return an exercise; ``relu_backward.py`` is taken for ``relu_backward``.

    Raises
    ------
    InputError
        There is none of that name; the message suggests the nearest.
    """
    known = exercises()
    plain = Path(name).stem if name.endswith((".py", ".ipynb")) else name
    if plain not in known:
        error = unknown_name("exercise", name, known)
        text = str(error).partition("known are")[0].rstrip(" ")
        raise InputError(f"{text} senumpy exercise list shows all")
    return known[plain]


def named_exercises(names: Iterable[str]) -> list[str]:
    """Return names of exercises; ``lesson:13`` stands for all of a lesson. Other names are left as they are.

    Raises
    ------
    InputError
        There is no such lesson, or it has no exercises.
    """
    found = []
    for name in names:
        kind, colon, number = name.partition(":")
        if not colon:
            found.append(name)
            continue
        of = [e.name for e in exercises().values() if kind == "lesson" and str(e.lesson) == number]
        if not of:
            raise InputError(f"got {name}, wanted an exercise, or lesson:N for a lesson that has some")
        found += of
    return found


def _exercises_of(path: Path) -> list[Exercise]:
    text = path.read_text(encoding="utf-8")
    if "# exercise " not in text:
        return []
    by_name: dict[str, list[Block]] = {}
    for block in blocks(text):
        by_name.setdefault(block.name, []).append(block)
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return [_exercise(name, parts, path, functions) for name, parts in by_name.items()]


def _exercise(name: str, parts: list[Block], path: Path, functions: list[ast.FunctionDef]) -> Exercise:
    points, level, lesson, section, given = parse_marker(parts[0].text)
    targets = [
        function
        for function in functions
        if any(function.lineno <= part.start < (function.end_lineno or 0) for part in parts)
        and not function.name.startswith("_")
    ]
    if not targets:
        raise ValueError(f"{path}: the exercise {name} has no part within a public function")
    title = (ast.get_docstring(targets[0]) or name).splitlines()[0]
    names = tuple(function.name for function in targets)
    return Exercise(name, title, points, level, lesson, section, path, names, given)
