"""A course written: a hand-out for students, and a folder that only the instructor may see."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterable
from pathlib import Path

from senumpy.coursework.catalogue import exercises
from senumpy.coursework.course.gradescope import autograder
from senumpy.coursework.course.notebooks import notebook_of
from senumpy.coursework.course.settings import FILE, Course, chosen, new_seed, read_course
from senumpy.coursework.exercise import Exercise, points_text
from senumpy.coursework.strip import solution_text, student_text
from senumpy.errors import InputError
from senumpy.storage import write_atomic

HANDOUT, INSTRUCTOR = "handout", "instructor"
ARCHIVE = "autograder.zip"


def build_course(
    names: Iterable[str],
    out: Path,
    *,
    notebooks: bool = False,
    seed: int | None = None,
    title: str | None = None,
    install: str | None = None,
) -> Course:
    """Write a course: ``out/handout`` and ``out/instructor``.

    Parameters
    ----------
    names : iterable of str
        Exercises; "all" for all of them, "lesson:13" for a lesson's.
    out : Path
        A new or empty folder, or one with a course, which is written anew and keeps its seed, title and words
        on installing where none are given.
    notebooks : bool
        Whether students get notebooks.
    seed : int, optional
        Draws the hidden cases; one that nobody guesses where not given.
    title : str, optional
    install : str, optional
        What the hand-out says of how to install the package.

    Raises
    ------
    InputError
        No such exercise; the folder holds something else; it can't be written.
    """
    points = chosen(names)
    before = _before(out)
    if seed is None:
        seed = new_seed() if before is None else before.seed
    elif seed < 0:
        raise InputError(f"--seed: got {seed}, wanted 0 or more")
    if title is None:
        title = "Exercises" if before is None else before.title
    if install is None:
        install = "" if before is None else before.install
    title, install = (" ".join(text.split()) for text in (title, install))
    course = Course(title or "Exercises", points, seed, notebooks, install)
    found = {name: exercises()[name] for name in points}
    # First the file that makes it a course: stopped by a full disk, the folder can be written anew.
    files = _instructor(course, found) | _handout(course, found)
    try:
        if before is not None:
            _remove(out, before)
        for name, data in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomic(out / name, data)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from None
    return course


def _before(out: Path) -> Course | None:
    """Return the course that is in a folder; refuse a folder with something else."""
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: {out} is a file, wanted a folder")
    if (out / INSTRUCTOR / FILE).is_file():
        return read_course(out / INSTRUCTOR)
    if out.is_dir() and any(not path.is_dir() for path in out.rglob("*")):
        raise InputError(f"--out: {out} holds something else than a course; wanted a new or empty folder")
    return None


def _remove(out: Path, course: Course) -> None:
    """Remove an earlier course's files, and nothing else: notes of the instructor stay."""
    for name in course.points:
        for file in (f"{HANDOUT}/{course.file(name)}", f"{INSTRUCTOR}/solutions/{name}.py"):
            with contextlib.suppress(FileNotFoundError):
                (out / file).unlink()


def _handout(course: Course, found: dict[str, Exercise]) -> dict[str, bytes]:
    files = {f"{HANDOUT}/README.md": _readme(course, found).encode()}
    for name, exercise in found.items():
        text = student_text(exercise)
        if course.notebooks:
            text = notebook_of(text, name, f"senumpy exercise check {name} --dir .")
        files[f"{HANDOUT}/{course.file(name)}"] = text.encode()
    return files


def _instructor(course: Course, found: dict[str, Exercise]) -> dict[str, bytes]:
    files = {
        f"{INSTRUCTOR}/{FILE}": course.to_toml().encode(),
        f"{INSTRUCTOR}/README.md": _instructions(course).encode(),
        f"{INSTRUCTOR}/{ARCHIVE}": autograder(course),
    }
    for name, exercise in found.items():
        files[f"{INSTRUCTOR}/solutions/{name}.py"] = solution_text(exercise).encode()
    return files


def _readme(course: Course, found: dict[str, Exercise]) -> str:
    rows = "\n".join(
        f"| `{course.file(name)}` | {exercise.title.rstrip('.')} | {course.points[name]:g} | "
        f"{exercise.lesson}, {exercise.section} |"
        for name, exercise in found.items()
    )
    first = next(iter(found))
    kind = "notebook" if course.notebooks else "file"
    return f"""\
# {course.title}

{points_text(course.out_of)} in all. Each {kind} says what is to be written, and where: in place of
`raise NotImplementedError`.

| {kind} | what | points | lesson |
|---|---|---:|---|
{rows}

## How to check your answers

{_install(course)}

    senumpy exercise check {first} --dir .

It runs on your own machine, without a network or an account, in seconds. An exercise needs no other to be
done: what is missing is the library's. It says for which input your answer is wrong, what was expected, and
which mistake it looks like. The cases that grade are other ones, drawn in the same way.

`senumpy exercise hint {first}` gives a hint, `senumpy lessons open {found[first].lesson}` the lesson to read.

## What to hand in

The {kind}s with their names as they are. You may write an answer in any way that gives the right numbers,
with NumPy and Python's own modules. Importing the library's solution is refused.
"""


def _instructions(course: Course) -> str:
    return f"""\
# {course.title}: for the instructor

This folder is not for students: `{FILE}` has the seed of the hidden cases, `solutions/` the solutions.

## Grading

Collect a folder (or .zip) for each student in one folder, each with files such as
`{course.file(next(iter(course.points)))}`, and run

    senumpy course grade SUBMISSIONS --course . --out grades.csv --feedback feedback

`grades.csv` has a row a student; `feedback/` a file for each, without solutions; `summary.md`, beside
`grades.csv`, says how many passed each exercise, which mistakes were common, and who handed in the same.
Every answer runs in a process of its own that has no network, writes nowhere else, and is stopped in time.

Points are in `{FILE}`. Ctrl-C stops grading; what is graded by then is written.

## Gradescope

Make a programming assignment worth {points_text(course.out_of)}, and upload `{ARCHIVE}` as its autograder. It
brings this version of senumpy along; its `setup.sh` installs NumPy and jupytext.
"""


def _install(course: Course) -> str:
    """Return how students get the package: no index is known to have it."""
    if course.install:
        text = course.install if course.install.endswith((".", ":", "!")) else f"{course.install}."
    else:
        what = "'.[coursework]'" if course.notebooks else "."
        text = (
            "Install senumpy once, with Python 3.11 or newer, as your teacher says: for example in a clone "
            f"of its repository, `pip install {what}`."
        )
    text = f"{text} Then, in this folder, as often as you like:"
    return textwrap.fill(text, 110, break_long_words=False, break_on_hyphens=False)
