"""What `senumpy lessons` does: arguments in, a list or a site out, an exit status."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from senumpy.commands import DONE, FAILED, print_json
from senumpy.errors import InputError

if TYPE_CHECKING:
    from senumpy.lessons.build import Built, Execution


def list_(arguments: argparse.Namespace) -> int:
    """Print numbers, titles and questions."""
    from senumpy.lessons.catalogue import lessons, plain

    found = lessons()
    if arguments.json:
        print_json({"lessons": [lesson.to_dict() for lesson in found]})
        return DONE
    for lesson in found:
        print(f"{lesson.number:>2}. {plain(lesson.title)} ({lesson.minutes} minutes)")
        print(textwrap.fill(plain(lesson.question), 96, initial_indent=" " * 4, subsequent_indent=" " * 4))
    return DONE


def build(arguments: argparse.Namespace) -> int:
    """Execute the lessons and build the site."""
    quiet = arguments.quiet or arguments.json
    built = _build(arguments.out, arguments.execute, quiet=quiet)
    if built is None:
        return FAILED
    if arguments.json:
        print_json(built.to_dict())
    else:
        print(f"{built.folder / 'index.html'} ({built.seconds:.0f} s)")
    return DONE


def serve(arguments: argparse.Namespace) -> int:
    """Serve the site until Ctrl-C."""
    from senumpy.lessons.serve import server

    with server(Path(), arguments.port):
        pass  # a port in use is said before a site is built
    site = _site(arguments.site)
    if site is None:
        return FAILED
    with server(site, arguments.port) as running:
        address = f"http://127.0.0.1:{running.server_address[1]}/"
        if arguments.json:
            print_json({"address": address, "folder": str(site)})
        else:
            print(f"{address} (Ctrl-C ends)")
        sys.stdout.flush()
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print(file=sys.stderr)
    return DONE


def open_(arguments: argparse.Namespace) -> int:
    """Open a lesson's page, or its notebook."""
    from senumpy.lessons.catalogue import find
    from senumpy.lessons.serve import open_page

    lesson = find(arguments.number)
    if arguments.notebook:
        return _open_notebook(arguments)
    if arguments.out is not None:
        raise InputError("--out goes with --notebook: it is the notebook's folder")
    site = _site(None)
    if site is None:
        return FAILED
    page = site / f"{lesson.name}.html"
    if arguments.json:
        print_json({"page": str(page), "shown": open_page(page)})
        return DONE
    print(page, flush=True)
    if not open_page(page):
        print("no browser found: open this page in one yourself, or run: senumpy lessons serve")
    return DONE


def _open_notebook(arguments: argparse.Namespace) -> int:
    from senumpy.lessons.build import require_extra
    from senumpy.lessons.catalogue import find
    from senumpy.lessons.notebook import write_notebook
    from senumpy.lessons.serve import has_jupyterlab, start_jupyterlab

    require_extra()
    lesson = find(arguments.number)
    folder = arguments.out or Path()
    was_there = (folder / f"{lesson.name}.ipynb").exists()
    notebook = write_notebook(lesson, folder)
    if arguments.json:
        print_json({"notebook": str(notebook), "new": not was_there})
        return DONE
    print(f"{notebook} was there and is left as it is" if was_there else f"{notebook} written")
    if has_jupyterlab():
        return start_jupyterlab(notebook)
    print(f"JupyterLab is not installed: pip install jupyterlab && jupyter lab {notebook}")
    return DONE


def _site(given: Path | None) -> Path | None:
    """Return a site that can be shown, built where that is needed; None when a lesson failed."""
    from senumpy.lessons.build import default_site, is_current, is_site

    if given is not None:
        if not is_site(given):
            raise InputError(f"--site: {given} is no site; wanted a folder that senumpy lessons build made")
        return given
    site = default_site()
    if is_current(site):
        return site
    built = _build(None, "cached", quiet=False)
    return None if built is None else built.folder


def _build(out: Path | None, execution: Execution, *, quiet: bool) -> Built | None:
    """Return what was built; None, with the reason on stderr, when lessons failed."""
    from senumpy.lessons.build import SiteError, build_site
    from senumpy.lessons.execute import LessonFailedError

    def show(text: str) -> None:
        if not quiet:
            print(text, file=sys.stderr, flush=True)

    try:
        return build_site(out, execution=execution, progress=show)
    except (LessonFailedError, SiteError) as error:
        for line in str(error).splitlines():
            print(f"senumpy: {line}", file=sys.stderr)
        return None
