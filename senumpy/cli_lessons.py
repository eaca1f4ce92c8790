"""Arguments of `senumpy lessons`; what it does is in `commands_lessons.py`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from senumpy import commands_lessons as commands

Command = Callable[..., argparse.ArgumentParser]


def add_commands(parsers: Any, command: Command) -> None:
    """Add `lessons` with its actions."""
    parser = parsers.add_parser(
        "lessons",
        help="list, build and open the lessons",
        description="Twenty lessons, from the shape of an array to the ablations of the paper, as scripts, "
        "as notebooks and as a site. Building it needs: pip install 'senumpy[lessons]'.",
    )
    actions = parser.add_subparsers(prog="senumpy lessons", title="actions", metavar="ACTION", required=True)
    command(actions, "list", commands.list_, "list the lessons with their questions")
    _add_build(actions, command)
    _add_serve(actions, command)
    _add_open(actions, command)


def _add_build(actions: Any, command: Command) -> None:
    build = command(
        actions,
        "build",
        commands.build,
        "execute the lessons and build the site",
        "Execute the lessons and build the site. Outputs are kept; a lesson is executed again when it or the "
        "library has changed. Exit status 1 when a lesson fails.",
    )
    build.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the site (in the cache folder, for serve and open)"
    )
    build.add_argument(
        "--execute",
        choices=("cached", "always", "never"),
        default="cached",
        help="lessons without kept outputs, all, or none (%(default)s)",
    )
    build.add_argument("--quiet", action="store_true", help="show no progress")


def _add_serve(actions: Any, command: Command) -> None:
    serve = command(
        actions,
        "serve",
        commands.serve,
        "serve the site to this machine's browsers",
        "Serve the site on the loopback interface until Ctrl-C, built first where that was not done.",
    )
    serve.add_argument(
        "--port", type=int, default=8000, metavar="N", help="0 takes any free one (%(default)s)"
    )
    serve.add_argument("--site", type=Path, metavar="DIR", help="a site built with --out")


def _add_open(actions: Any, command: Command) -> None:
    open_ = command(
        actions,
        "open",
        commands.open_,
        "open a lesson in the browser, or as a notebook",
        "Open a lesson's page, built first where that was not done; or, with --notebook, write the lesson as "
        "a notebook and start JupyterLab where it is installed.",
    )
    open_.add_argument("number", type=int, metavar="N", help="number of the lesson")
    open_.add_argument("--notebook", action="store_true", help="as a notebook")
    open_.add_argument("--out", type=Path, metavar="DIR", help="folder of the notebook (this one)")
