"""What `senumpy course` does: arguments in, a report printed, an exit status out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from senumpy.commands import DONE, print_json, status_line
from senumpy.errors import InputError

if TYPE_CHECKING:
    from senumpy.coursework.course.outcome import Grades
    from senumpy.coursework.course.saving import Files

SUMMARY = "summary.md"


def build(arguments: argparse.Namespace) -> int:
    """Write a hand-out and an instructor's folder."""
    from senumpy.coursework.course import build_course
    from senumpy.coursework.exercise import points_text

    course = build_course(
        arguments.exercises,
        arguments.out,
        notebooks=arguments.notebooks,
        seed=arguments.seed,
        title=arguments.title,
        install=arguments.install,
    )
    if arguments.json:
        print_json({"title": course.title, "points": course.points, "out": str(arguments.out)})
        return DONE
    kind = "notebooks" if course.notebooks else "scripts"
    count = len(course.points)
    exercises = f"{count} exercise{'' if count == 1 else 's'}"
    print(f"{course.title}: {exercises} as {kind}, {points_text(course.out_of)}")
    print(f"  {arguments.out / 'handout'}: for students")
    print(f"  {arguments.out / 'instructor'}: not for students: seed, solutions, autograder.zip")
    return DONE


def grade(arguments: argparse.Namespace) -> int:
    """Grade a folder of submissions."""
    from senumpy.coursework import course as c
    from senumpy.coursework.course.junit import check_junit
    from senumpy.coursework.course.reports import summary
    from senumpy.coursework.course.saving import save

    if arguments.workers is not None and not 1 <= arguments.workers <= 256:
        raise InputError(f"--workers: got {arguments.workers}, wanted 1 to 256")
    if arguments.junit is not None:
        check_junit()
    _check_places(arguments)
    submissions, besides = c.read_submissions(arguments.submissions, one=arguments.one)
    course = c.course_of(submissions) if arguments.course is None else c.read_course(arguments.course)
    with status_line() as progress:
        grades = c.grade(submissions, course, workers=arguments.workers, progress=progress)
    grades = replace(grades, besides=besides)
    try:
        if arguments.json:
            print_json(grades.to_dict())
        else:
            print(summary(grades), flush=True)
    finally:  # nobody may be reading what is printed
        save(_outputs(arguments, grades))
    if grades.interrupted:
        raise KeyboardInterrupt(f"stopped; what was graded by then is in {arguments.out}")
    return DONE


def _check_places(arguments: argparse.Namespace) -> None:
    """Refuse, before the work, places where nothing can be written."""
    from senumpy.coursework.course.saving import try_file, try_folder

    files = {"--out": arguments.out}
    if not arguments.one and arguments.out.resolve().parent.is_dir():
        files["--out (summary.md beside it)"] = arguments.out.resolve().with_name(SUMMARY)
    if arguments.junit is not None:
        files["--junit"] = arguments.junit
    problems = [try_file(option, path) for option, path in files.items()]
    for option in ("feedback", "gradescope"):
        folder: Path | None = getattr(arguments, option)
        if folder is not None:
            problems.append(try_folder(f"--{option}", folder))
    if len({path.resolve() for path in files.values()}) < len(files):
        problems.append(f"--out, --junit and {SUMMARY}: wanted files of different names")
    found = [problem for problem in problems if problem]
    for problem in found[:-1]:
        print(f"senumpy: {problem}", file=sys.stderr)
    if found:
        raise InputError(found[-1])


def _outputs(arguments: argparse.Namespace, grades: Grades) -> list[Callable[[], Files]]:
    """Return what makes the files that are asked for."""
    from senumpy.coursework.course.gradescope import results_files
    from senumpy.coursework.course.junit import junit_file
    from senumpy.coursework.course.reports import feedback_files, grades_csv, summary_markdown

    out: Path = arguments.out.resolve()
    outputs: list[Callable[[], Files]] = [lambda: [(out, grades_csv(grades))]]
    if not arguments.one:
        outputs.append(lambda: [(out.with_name(SUMMARY), summary_markdown(grades).encode())])
    if arguments.feedback is not None:
        outputs.append(lambda: feedback_files(arguments.feedback, grades))
    if arguments.gradescope is not None:
        outputs.append(lambda: results_files(arguments.gradescope, grades, one=arguments.one))
    if arguments.junit is not None:
        outputs.append(lambda: [(arguments.junit.resolve(), junit_file(grades))])
    return outputs
