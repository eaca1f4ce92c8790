"""Arguments of `senumpy exercise`; what it does is in `commands_coursework.py`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from senumpy import commands_coursework as commands

Command = Callable[..., argparse.ArgumentParser]


def add_commands(parsers: Any, command: Command) -> None:
    """Add `exercise` to the command line."""
    parser = parsers.add_parser(
        "exercise",
        help="write parts of the library yourself, and have them checked",
        description="Exercises: functions of this library with their bodies taken out. An answer is checked "
        "here, offline, in a process of its own; what is not written yet is the library's.",
    )
    actions = parser.add_subparsers(prog="senumpy exercise", title="actions", metavar="ACTION", required=True)
    listing = command(actions, "list", commands.list_, "show all exercises, and how far you are")
    listing.add_argument("--lesson", type=int, metavar="N", help="those of one lesson")
    start = command(actions, "start", commands.start, "write the file of an exercise")
    start.add_argument("names", nargs="+", metavar="NAME", help="exercise, or lesson:N for all of a lesson")
    check = command(actions, "check", commands.check, "check answers, and say what is wrong")
    check.add_argument("names", nargs="*", metavar="NAME", help="exercise (all that are begun)")
    check.add_argument("--seed", type=int, default=0, metavar="N", help="draws the inputs (%(default)s)")
    check.add_argument(
        "--save", type=Path, metavar="FILE.npz", help="write the input of the example, got and wanted"
    )
    watch = command(actions, "watch", commands.watch, "check again whenever a file is saved")
    watch.add_argument("names", nargs="*", metavar="NAME", help="exercise (all that are begun)")
    hint = command(actions, "hint", commands.hint, "give a hint, and a further one next time")
    hint.add_argument("name", metavar="NAME", help="exercise")
    reset = command(actions, "reset", commands.reset, "begin an exercise anew; the old file is kept aside")
    reset.add_argument("name", metavar="NAME", help="exercise")
    solution = command(actions, "solution", commands.solution, "show the library's own code")
    solution.add_argument("name", metavar="NAME", help="exercise")
    for parser in (listing, start, check, watch, hint, reset):
        parser.add_argument(
            "--dir",
            type=Path,
            default=Path("exercises"),
            metavar="DIR",
            help="folder with your files (%(default)s)",
        )
