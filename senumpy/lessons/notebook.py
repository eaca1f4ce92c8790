"""Lessons as notebooks: what the site executes, and what a reader opens in JupyterLab."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import senumpy
from senumpy.errors import InputError
from senumpy.lessons.catalogue import Lesson
from senumpy.markers import marked_functions

# What the site's Markdown (MyST) says in its own way, and how JupyterLab shows it.
_ANSWER = re.compile(
    r"^(?P<indent> *)(?P<colons>:{3,})\{\w+\}[ \t]*(?P<title>[^\n]*)\n"
    r"(?P<options>(?: *:\w+:[^\n]*\n)*)(?P<body>.*?)^ *(?P=colons)[ \t]*$",
    re.M | re.S,
)
_SHOWN = re.compile(r"^show\((?:[a-z_]\w*\.)*(\w+)\)", re.M)
_ROLE = re.compile(r"\{[\w:]+\}`~?(?P<name>[^`<]+?)(?: <[^`]*>)?`")
_OTHER_LESSON = re.compile(r"\]\((?P<name>\d\d_\w+)\.py(?P<anchor>#[\w-]*)?\)")


def read_notebook(path: Path) -> Any:
    """Return a script of percent cells as a notebook."""
    return as_notebook(path.read_text(encoding="utf-8"))


def as_notebook(text: str) -> Any:
    """Return the text of a lesson as a notebook, in which solutions of exercises are folded.

    What a cell shows of the library (`senumpy.lessons.show`) opens on a click where it is an exercise, so
    that a reader may try first.
    """
    import jupytext

    notebook = jupytext.reads(text, fmt="py:percent")
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        shown = set(_SHOWN.findall(cell.source)) if cell.cell_type == "code" else set()
        if shown & _solved() and "hide-cell" not in tags and "hide-output" not in tags:
            cell.metadata["tags"] = [*tags, "hide-output"]
    return notebook


@cache
def _solved() -> frozenset[str]:
    """Return the functions of the library that are exercises."""
    package = Path(senumpy.__file__).parent
    texts = (path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    return frozenset(name for text in texts if "# exercise " in text for name in marked_functions(text))


def write_notebook(lesson: Lesson, folder: Path) -> Path:
    """Write a lesson as a notebook into `folder`; return the file.

    A file that is there is left as it is: it may hold a reader's work.

    Raises
    ------
    InputError
        When the folder or the file cannot be written.
    """
    import jupytext

    target = folder / f"{lesson.name}.ipynb"
    if target.exists():
        return target
    notebook = read_notebook(lesson.path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = for_jupyter(cell.source)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        target.write_text(jupytext.writes(notebook, fmt="ipynb"), encoding="utf-8")
    except OSError as error:
        raise InputError(f"--out: cannot write {target}: {error.strerror}") from None
    return target


def for_jupyter(markdown: str) -> str:
    """Return MyST Markdown as plain Markdown: names instead of roles, details instead of admonitions."""
    text = _ROLE.sub(r"`\g<name>`", markdown)
    text = _OTHER_LESSON.sub(r"](\g<name>.ipynb\g<anchor>)", text)
    return _ANSWER.sub(_details, text)


def _details(found: re.Match[str]) -> str:
    indent, body, title = found["indent"], found["body"].strip(), found["title"].strip()
    if "dropdown" in found["options"]:
        lines = [f"<details><summary>{title}</summary>", "", body, "", "</details>"]
    else:
        lines = [f"**{title or 'Note'}.** {body}"]
    return "\n".join(indent + line if line else line for line in lines)
