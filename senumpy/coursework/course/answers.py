"""Which of a student's files answers which exercise, and what is to be said where none does."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from senumpy.coursework.catalogue import exercises
from senumpy.coursework.course.cells import answer_in
from senumpy.coursework.course.notebooks import NotebookError, cells_of
from senumpy.coursework.course.settings import Course
from senumpy.coursework.course.submissions import ENDINGS, READ_OR_NAMED, Handed, Submission
from senumpy.coursework.exercise import Exercise

_LIKE = 0.75  # how near a wrong file name is to the right one


@dataclass(frozen=True)
class Answer:
    """What a student handed in for an exercise.

    Attributes
    ----------
    exercise : str
    label : str
        Name of the file, as messages give it.
    data : bytes or None
        Python source; None where nothing can be checked.
    problem : str
        Why, one line; empty where `data` is there.
    absent : bool
        Whether there is nothing at all.
    note : str
        What else the student should know, one line.
    """

    exercise: str
    label: str
    data: bytes | None = None
    problem: str = ""
    absent: bool = False
    note: str = ""


def find_answers(
    submission: Submission, course: Course, known: dict[str, Exercise], blank: dict[str, bytes]
) -> list[Answer]:
    """Return a student's answer to each exercise of a course.

    Parameters
    ----------
    submission : Submission
    course : Course
    known : dict
        The course's exercises by name.
    blank : dict
        The hand-out's file of each: not taken for an answer where there is another.
    """
    if submission.problem:
        return [Answer(name, course.file(name), problem=submission.problem) for name in course.points]
    notebooks = _Notebooks()
    found = {
        name: _exact(known[name], course.file(name), submission.files, notebooks, blank[name])
        for name in course.points
    }
    for name in course.points:
        found[name] = found[name] or _in_any_notebook(known[name], submission.files, notebooks)
    taken = {answer.label for answer in found.values() if answer is not None}
    spare = [file for file in submission.files if file.name not in taken]
    meant = _meant([name for name, answer in found.items() if answer is None], spare)
    return [answer or _missing(name, course, meant, spare) for name, answer in found.items()]


class _Notebooks:
    """Notebooks of one submission, each read once."""

    def __init__(self) -> None:
        self._read: dict[str, list[str] | str] = {}

    def cells(self, file: Handed) -> list[str] | str:
        """Return code cells, or why there are none."""
        if file.path not in self._read:
            try:
                self._read[file.path] = file.problem or cells_of(file.data)
            except NotebookError as error:
                self._read[file.path] = f"is not a notebook that can be read: {error}"
        return self._read[file.path]


def _exact(
    exercise: Exercise, own: str, files: list[Handed], notebooks: _Notebooks, blank: bytes
) -> Answer | None:
    """Return the answer in a file of the right name, of the course's own kind first; None without one."""
    right = [file for file in files if file.name in (f"{exercise.name}.py", f"{exercise.name}.ipynb")]
    right.sort(key=lambda file: (file.name != own, file.path.count("/"), file.path))
    answers = [_answer(exercise, file, notebooks) for file in right]
    if not answers:
        return None
    untouched = {blank.strip()}
    if any(answer.label.endswith(".ipynb") for answer in answers):
        untouched.add((answer_in([blank.decode()], exercise.targets) or "").encode().strip())
    begun = [answer for answer in answers if answer.data is not None and answer.data.strip() not in untouched]
    sound = begun or [answer for answer in answers if answer.data is not None] or answers
    answer = sound[0]
    if len({given.data for given in begun}) > 1:
        others = ", ".join(file.path for file in right if file.path != right[answers.index(answer)].path)
        note = f"there are several files for this exercise; {right[answers.index(answer)].path} was graded"
        return replace(answer, note=f"{note}, not {others}")
    return answer


def _answer(exercise: Exercise, file: Handed, notebooks: _Notebooks) -> Answer:
    if file.problem:
        return Answer(exercise.name, file.name, problem=_said(file.name, file.problem))
    if file.name.endswith(".py"):
        return Answer(exercise.name, file.name, file.data)
    cells = notebooks.cells(file)
    if isinstance(cells, str):
        return Answer(exercise.name, file.name, problem=_said(file.name, cells))
    text = answer_in(cells, exercise.targets)
    if text is None:
        wanted = " and ".join(exercise.targets)
        return Answer(exercise.name, file.name, problem=f"{file.name}: no cell defines {wanted}")
    return Answer(exercise.name, file.name, text.encode())


def _in_any_notebook(exercise: Exercise, files: list[Handed], notebooks: _Notebooks) -> Answer | None:
    """Return the answer in a notebook that holds several."""
    for file in files:
        if file.name.lower().endswith(".ipynb") and not file.problem:
            answer = _answer(exercise, file, notebooks)
            if answer.data is not None:
                return answer
    return None


def _missing(name: str, course: Course, meant: dict[str, Handed], spare: list[Handed]) -> Answer:
    """Return what is to be said of an exercise without a file of its name."""
    wanted = course.file(name)
    if name in meant:
        line = f"found {meant[name].name}, wanted {wanted}: give the file that name and hand it in again"
        return Answer(name, wanted, problem=line)
    there = [
        file.name for file in spare if file not in meant.values() and file.name.lower().endswith(ENDINGS)
    ][:5]
    line = f"no file {wanted} was handed in" + (f"; other files are {', '.join(there)}" if there else "")
    return Answer(name, wanted, problem=line, absent=True)


def _meant(names: list[str], files: list[Handed]) -> dict[str, Handed]:
    """Return the files whose names were meant to be exercises', each for one: the nearest pairs first."""
    pairs = []
    for file in files:
        stem = _stem(file.name)
        likeness = {name: _likeness(name, stem) for name in exercises()}
        best = max(likeness.values())
        pairs += [(-best, name, file) for name in names if likeness[name] == best >= _LIKE]
    found: dict[str, Handed] = {}
    for _, name, file in sorted(pairs, key=lambda pair: (pair[0], -len(pair[1]), pair[2].path)):
        if name not in found and file not in found.values():
            found[name] = file
    return found


def _likeness(name: str, stem: str) -> float:
    if name in stem:
        return 1 + len(name)  # the longest name that is in there
    return difflib.SequenceMatcher(None, name, stem).ratio()


def _stem(name: str) -> str:
    """Return a file's name without what browsers, systems and people add to it."""
    stem = PurePosixPath(name).name.lower()
    while stem.endswith(READ_OR_NAMED):
        stem = stem.rpartition(".")[0]
    stem = re.sub(r"\s*(\(\d+\)|-\s*(copy|kopie)(\s*\(\d+\))?|\bcopy( of)?\b)\s*", "", stem)
    return re.sub(r"[\s\-.]+", "_", stem).strip("_")


def _said(name: str, problem: str) -> str:
    return f"{name}: {problem}" if problem[:1].isdigit() else f"{name} {problem}"
