"""What `senumpy course` does: arguments in, a report printed, an exit status out."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from senumpy.commands import DONE, print_json, status_line
from senumpy.errors import InputError


def build(arguments: argparse.Namespace) -> int:
    """Write a hand-out and an instructor's folder."""
    from senumpy.coursework.course import build_course

    course = build_course(
        arguments.exercises,
        arguments.out,
        notebooks=arguments.notebooks,
        seed=arguments.seed,
        title=arguments.title,
    )
    if arguments.json:
        print_json({"title": course.title, "points": course.points, "out": str(arguments.out)})
        return DONE
    kind = "notebooks" if course.notebooks else "scripts"
    count = len(course.points)
    exercises = f"{count} exercise{'' if count == 1 else 's'}"
    print(f"{course.title}: {exercises} as {kind}, {course.out_of:g} points")
    print(f"  {arguments.out / 'handout'}: for students")
    print(f"  {arguments.out / 'instructor'}: not for students: seed, solutions, autograder.zip")
    return DONE


def grade(arguments: argparse.Namespace) -> int:
    """Grade a folder of submissions."""
    from senumpy.coursework import course as c
    from senumpy.coursework.course.gradescope import write_results
    from senumpy.coursework.course.junit import check_junit, write_junit
    from senumpy.coursework.course.reports import grades_csv, summary, summary_markdown, write_feedback
    from senumpy.storage import write_atomic

    out: Path = arguments.out.resolve()
    _check_places(arguments, out)
    if arguments.junit is not None:
        check_junit(arguments.junit)
    submissions, besides = c.read_submissions(arguments.submissions, one=arguments.one)
    course = c.course_of(submissions) if arguments.course is None else c.read_course(arguments.course)
    with status_line() as progress:
        grades = c.grade(submissions, course, workers=arguments.workers, progress=progress)
    grades = replace(grades, besides=besides)
    write_atomic(out, grades_csv(grades))
    if not arguments.one:
        write_atomic(out.with_name("summary.md"), summary_markdown(grades).encode())
    if arguments.feedback is not None:
        write_feedback(arguments.feedback, grades)
    if arguments.gradescope is not None:
        write_results(arguments.gradescope, grades, one=arguments.one)
    if arguments.junit is not None:
        write_junit(arguments.junit, grades)
    if arguments.json:
        print_json(grades.to_dict())
    else:
        print(summary(grades))
    if grades.interrupted:
        raise KeyboardInterrupt(f"stopped; what was graded by then is in {arguments.out}")
    return DONE


def _check_places(arguments: argparse.Namespace, out: Path) -> None:
    """Refuse, before the work, places where nothing can be written."""
    if out.is_dir():
        raise InputError(f"--out: {arguments.out} is a folder, wanted a file such as grades.csv")
    if not out.parent.is_dir():
        raise InputError(f"--out: no folder {arguments.out.parent}")
    for name in ("feedback", "gradescope"):
        place: Path | None = getattr(arguments, name)
        if place is not None and place.exists() and not place.is_dir():
            raise InputError(f"--{name}: {place} is a file, wanted a folder")
    if arguments.workers is not None and not 1 <= arguments.workers <= 256:
        raise InputError(f"--workers: got {arguments.workers}, wanted 1 to 256")
