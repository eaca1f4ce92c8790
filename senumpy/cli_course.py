"""Arguments of `senumpy course`; what it does is in `commands_course.py`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from senumpy import commands_course as commands

Command = Callable[..., argparse.ArgumentParser]

_BUILD = """\
Write a course: DIR/handout for students, with one file an exercise and a README, and DIR/instructor, with
solutions, the seed of the hidden cases and an autograder for Gradescope. A folder with a course is written
anew and keeps its seed, title and words on installing."""
_GRADE = """\
Grade a folder that holds a folder or .zip for each student. Every answer runs in a process of its own,
without network, writing nowhere else, with limits of time and memory. Prints a summary; Ctrl-C stops, and
what is graded by then is written."""


def add_commands(parsers: Any, command: Command) -> None:
    """Add the command."""
    parser = parsers.add_parser(
        "course",
        help="build a course from exercises, grade what was handed in",
        description="Build a course from exercises, or grade a folder of submissions.",
    )
    actions = parser.add_subparsers(prog="senumpy course", title="actions", metavar="ACTION", required=True)
    _add_build(actions, command)
    _add_grade(actions, command)


def _add_build(actions: Any, command: Command) -> None:
    parser = command(actions, "build", commands.build, "write a hand-out and an instructor's folder", _BUILD)
    add = parser.add_argument
    add("--exercises", nargs="+", required=True, metavar="NAME", help="exercises, lesson:N, or: all")
    add("--out", type=Path, required=True, metavar="DIR", help="folder, new or with a course")
    add("--notebooks", action="store_true", help="hand out notebooks instead of scripts")
    add("--seed", type=int, metavar="N", help="of the hidden cases (one that nobody guesses)")
    add("--title", metavar="TEXT", help="of the course (Exercises)")
    add("--install", metavar="TEXT", help="what the hand-out says of installing senumpy")


def _add_grade(actions: Any, command: Command) -> None:
    parser = command(actions, "grade", commands.grade, "grade a folder of submissions", _GRADE)
    add = parser.add_argument
    add("submissions", type=Path, metavar="SUBMISSIONS", help="with a folder or .zip for each student")
    add("--out", type=Path, required=True, metavar="FILE", help="table of points, such as grades.csv")
    add("--course", type=Path, metavar="DIR", help="the instructor's folder (exercises as found, seed 0)")
    add("--feedback", type=Path, metavar="DIR", help="write a file for each student there")
    add("--gradescope", type=Path, metavar="DIR", help="write results.json for each student there")
    add("--junit", type=Path, metavar="FILE", help="write the verdicts as JUnit XML there")
    add("--one", action="store_true", help="SUBMISSIONS is one student's folder or .zip")
    add("--workers", type=int, metavar="N", help="processes that check (one a processor)")
