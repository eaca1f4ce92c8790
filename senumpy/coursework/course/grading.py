"""A folder of submissions graded: equal answers once, in parallel, and stopped without loss."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

from senumpy.coursework.catalogue import exercises
from senumpy.coursework.course.alike import groups
from senumpy.coursework.course.answers import Answer, find_answers
from senumpy.coursework.course.outcome import Alike, Graded, Grades
from senumpy.coursework.course.settings import Course
from senumpy.coursework.course.submissions import Submission
from senumpy.coursework.course.workers import CHECKER, Setting, Task, Workers
from senumpy.coursework.exercise import Exercise, points_text
from senumpy.coursework.feedback import plain_text
from senumpy.coursework.sandbox import Limits, Sandbox
from senumpy.coursework.strip import solution_text, student_text
from senumpy.coursework.verdict import Status, Verdict
from senumpy.errors import InputError

LIMITS = Limits(seconds=20.0, cpu=20.0)
Verdicts = dict[tuple[str, bytes], Verdict]  # by exercise and file


def grade(
    submissions: list[Submission],
    course: Course,
    *,
    workers: int | None = None,
    limits: Limits = LIMITS,
    checker: str = CHECKER,
    progress: Callable[[str], None] = lambda text: None,
) -> Grades:
    """Grade submissions.

    Ctrl-C stops it: what is graded by then is returned, with ``interrupted`` set.

    Parameters
    ----------
    submissions : list of Submission
    course : Course
    workers : int, optional
        Processes; as many as there are processors where not given.
    limits : Limits
        Of one run of an answer.
    checker : str
        ``module:class`` of what judges.
    progress : callable
        Called with a line of text now and then.
    """
    start = time.monotonic()
    known = {name: exercises()[name] for name in course.points}
    blank = {name: student_text(exercise).encode() for name, exercise in known.items()}
    answers = {given.student: _answers(given, course, known, blank) for given in submissions}
    tasks = {
        _key(answer): Task(answer.exercise, answer.data, answer.label)
        for name in course.points  # one exercise after the other
        for given in answers.values()
        for answer in given
        if answer.exercise == name and answer.data is not None
    }
    walls = _walls(limits)
    setting = Setting(tuple(course.points), course.seed, limits, checker)
    count = max(1, min(workers or _processors(), len(tasks)))
    verdicts, interrupted = _checked(list(tasks.values()), count, setting, progress)
    students = [_graded(student, given, verdicts, course) for student, given in answers.items()]
    return Grades(
        course,
        students,
        _alike(known, answers, verdicts),
        walls=walls,
        seconds=time.monotonic() - start,
        different=len(verdicts),
        interrupted=interrupted,
    )


def _checked(
    tasks: list[Task], count: int, setting: Setting, progress: Callable[[str], None]
) -> tuple[Verdicts, bool]:
    """Return the verdicts on tasks, and whether somebody stopped it."""
    start = time.monotonic()
    verdicts: Verdicts = {}
    interrupted = False
    pool = None
    try:
        if tasks:
            pool = Workers(count, setting)
            for task, verdict in pool.check(tasks):
                verdicts[task.exercise, task.data] = verdict
                progress(_progress(len(verdicts), len(tasks), time.monotonic() - start))
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if pool is not None:
            pool.close()
    return verdicts, interrupted


def _alike(known: dict[str, Exercise], answers: dict[str, list[Answer]], verdicts: Verdicts) -> list[Alike]:
    """Return groups of students with the same answer, exercise by exercise."""
    alike = []
    for name, exercise in known.items():
        texts = [
            (student, answer.data, verdicts[_key(answer)].ok)
            for student, given in answers.items()
            for answer in given
            if answer.exercise == name and answer.data is not None and _key(answer) in verdicts
        ]
        common = (solution_text(exercise), student_text(exercise))
        alike += groups(name, texts, exercise.targets, common)
    return alike


def _answers(
    given: Submission, course: Course, known: dict[str, Exercise], blank: dict[str, bytes]
) -> list[Answer]:
    """Find a student's answers; whatever is in the files, the other students' are graded."""
    try:
        return find_answers(given, course, known, blank)
    except InputError:
        raise  # a library is missing
    except Exception as error:
        problem = f"what was handed in can't be read ({type(error).__name__}): a teacher has to look at it"
        return find_answers(Submission(given.student, problem=problem), course, known, blank)


def _graded(student: str, answers: list[Answer], verdicts: Verdicts, course: Course) -> Graded:
    graded = Graded(student)
    for answer in answers:
        name = answer.exercise
        if answer.data is None:
            graded.verdicts[name] = _without(answer)
        elif _key(answer) in verdicts:
            verdict = verdicts[_key(answer)]
            graded.verdicts[name] = _worth(verdict, course.points[name])
            if answer.note:
                graded.notes[name] = answer.note
    return graded


def _without(answer: Answer) -> Verdict:
    """Return the verdict where there is nothing to check."""
    exercise = exercises()[answer.exercise]
    status: Status = "not begun" if answer.absent else "refused"
    text = plain_text(exercise, "not handed in" if answer.absent else "not accepted", answer.problem)
    return Verdict(exercise.name, status, 0, answer.problem, text)


def _worth(verdict: Verdict, points: float) -> Verdict:
    """Return a verdict with the course's points, in its words, too."""
    exercise = exercises()[verdict.exercise]
    won = points if verdict.ok else 0
    first, line, rest = verdict.feedback.partition("\n")
    own = f"{verdict.points:g} of {points_text(exercise.points)}"
    text = first.replace(own, f"{won:g} of {points_text(points)}") + line + rest
    return replace(verdict, points=won, feedback=text)


def _key(answer: Answer) -> tuple[str, bytes]:
    assert answer.data is not None
    return answer.exercise, answer.data


def _walls(limits: Limits) -> str:
    with Sandbox(limits) as sandbox:
        return sandbox.describe()


def _processors() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _progress(done: int, of: int, seconds: float) -> str:
    left = seconds / done * (of - done)
    return f"{done} of {of} different answers checked, about {left / 60:.0f} min {left % 60:02.0f} s left"
