"""A student's folder: files begun, verdicts remembered, hints given."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from senumpy.coursework.catalogue import exercise_named, exercises
from senumpy.coursework.exercise import Exercise
from senumpy.coursework.hints import hints
from senumpy.coursework.strip import student_text
from senumpy.coursework.verdict import Verdict
from senumpy.errors import InputError
from senumpy.storage.atomic import write_atomic

PROGRESS = ".senumpy-progress.json"
FOLDER = Path("exercises")


class Workspace:
    """The folder in which a student works.

    Parameters
    ----------
    folder : Path
        Made when the first exercise is begun.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder

    def path(self, exercise: Exercise) -> Path:
        """Return where the answer to an exercise is, or will be: a script; a notebook where there is one."""
        script, notebook = (self.folder / f"{exercise.name}{ending}" for ending in (".py", ".ipynb"))
        return notebook if notebook.exists() and not script.exists() else script

    def begun(self) -> list[Exercise]:
        """Return the exercises that have a file here."""
        return [exercise for exercise in exercises().values() if self.path(exercise).exists()]

    def start(self, name: str) -> Path:
        """Write the file of an exercise, and return its path.

        Raises
        ------
        InputError
            No such exercise, the file is there already, or the folder can't be written.
        """
        exercise = exercise_named(name)
        path = self.path(exercise)
        if path.exists():
            raise InputError(
                f"{path} is there already, and was left as it is; senumpy exercise reset {exercise.name} "
                "begins anew"
            )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the folder {self.folder}: {error.strerror}") from None
        write_atomic(path, student_text(exercise).encode())
        return path

    def reset(self, name: str) -> tuple[Path, Path | None]:
        """Begin an exercise anew; return its path, and where the old file is now (None: there was none)."""
        exercise = exercise_named(name)
        path, kept = self.path(exercise), None
        if path.exists():
            kept = next(spare for spare in _spare_names(path) if not spare.exists())
            try:
                path.rename(kept)
            except OSError as error:
                raise InputError(f"cannot rename {path}: {error.strerror}") from None
        return self.start(name), kept

    def read(self, exercise: Exercise) -> bytes:
        """Return the answer to an exercise: its file, or what a notebook has of it.

        Raises
        ------
        InputError
            There is none, or it can't be read.
        """
        path = self.path(exercise)
        if not path.exists():
            raise InputError(f"no {path}: senumpy exercise start {exercise.name} writes it")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None
        return _of_notebook(data, exercise, path) if path.suffix == ".ipynb" else data

    def remember(self, exercise: Exercise, data: bytes, verdict: Verdict) -> None:
        """Note what came of a file, where the folder can be written."""
        with contextlib.suppress(InputError):
            self._change(exercise.name, lambda entry: entry | {"status": verdict.status, "of": _mark(data)})

    def status(self, exercise: Exercise) -> str:
        """Return "passed", "failed", ... of the file as it is now; "begun" unless checked; "" without one."""
        if not self.path(exercise).is_file():
            return ""
        entry = self._progress().get(exercise.name, {})
        try:
            same = entry.get("of") == _mark(self.read(exercise))
        except InputError:
            same = False
        return str(entry["status"]) if same else "begun"

    def hint(self, name: str) -> tuple[int, int, str]:
        """Return the next hint of an exercise: its number, how many there are, and its text."""
        exercise = exercise_named(name)
        texts = hints()[exercise.name]
        given = int(self._progress().get(exercise.name, {}).get("hints", 0))
        number = given % len(texts)
        if self.folder.is_dir():
            with contextlib.suppress(InputError):
                self._change(exercise.name, lambda entry: entry | {"hints": given + 1})
        return number + 1, len(texts), texts[number]

    def _progress(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads((self.folder / PROGRESS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # lost notes cost nothing: all is checked anew
        if not isinstance(found, dict):
            return {}
        return {key: value for key, value in found.items() if isinstance(value, dict)}

    def _change(self, name: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        progress = self._progress()
        progress[name] = change(progress.get(name, {}))
        write_atomic(self.folder / PROGRESS, (json.dumps(progress, indent=1) + "\n").encode())


def _of_notebook(data: bytes, exercise: Exercise, path: Path) -> bytes:
    """Return the functions of an exercise out of a notebook, with what they need."""
    from senumpy.coursework.course.cells import answer_in
    from senumpy.coursework.course.notebooks import NotebookError, cells_of

    try:
        text = answer_in(cells_of(data), exercise.targets)
    except NotebookError as error:
        raise InputError(f"{path}: {error}") from None
    if text is None:
        raise InputError(f"{path}: no cell defines a function {exercise.targets[0]}")
    return text.encode()


def _spare_names(path: Path) -> Iterator[Path]:
    number = 1
    while True:
        yield path.with_name(f"{path.name}.old{number}")
        number += 1


def _mark(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
