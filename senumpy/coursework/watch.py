"""Answers checked again whenever their files are saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from senumpy.coursework.catalogue import exercise_named, exercises
from senumpy.coursework.check import Checker
from senumpy.coursework.exercise import Exercise
from senumpy.coursework.sandbox import Sandbox
from senumpy.coursework.verdict import Verdict
from senumpy.coursework.workspace import Workspace
from senumpy.errors import InputError


def watch_files(folder: Path, names: list[str]) -> Iterator[Verdict]:
    """Return verdicts on each answer that is there, then on each that is saved, until interrupted.

    Parameters
    ----------
    folder : Path
    names : list of str
        Exercises; all where it is empty, those too that are begun later.

    Raises
    ------
    InputError
        No such exercise or folder, or the library that watches isn't installed.
    """
    try:
        import watchfiles  # noqa: F401
    except ImportError:
        raise InputError('watching files needs watchfiles: pip install "senumpy[coursework]"') from None
    workspace = Workspace(folder)
    chosen = {exercise_named(name).name for name in names} or set(exercises())
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: senumpy exercise start NAME makes it")
    return _verdicts(workspace, chosen)


def _verdicts(workspace: Workspace, chosen: set[str]) -> Iterator[Verdict]:
    import watchfiles

    with Sandbox() as sandbox:
        checker = Checker(chosen, sandbox=sandbox)

        seen: dict[str, bytes] = {}

        def verdict(exercise: Exercise) -> Verdict | None:
            """Check a file; None where it can't be read just now, or is the same as before."""
            try:
                data = workspace.read(exercise)
            except InputError:
                return None  # half saved, or gone again: the next change comes
            if data == seen.get(exercise.name):
                return None  # editors write a file several times
            seen[exercise.name] = data
            found = checker.check(exercise.name, data, label=str(workspace.path(exercise)))
            workspace.remember(exercise, data, found)
            return found

        first = [exercise for exercise in workspace.begun() if exercise.name in chosen]
        yield from filter(None, map(verdict, first))
        for changes in watchfiles.watch(workspace.folder, raise_interrupt=False, recursive=False):
            saved = {Path(path).stem for _, path in changes if path.endswith((".py", ".ipynb"))}
            yield from filter(None, map(verdict, map(exercise_named, sorted(saved & chosen))))
