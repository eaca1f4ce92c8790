"""Notebooks: an exercise's file as one, and the code that one holds, by jupytext."""

from __future__ import annotations

import ast
import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import Any

from senumpy.errors import InputError

_CODE = 1_000_000  # characters


class NotebookError(ValueError):
    """It is no notebook; the message is what was found."""


def notebook_of(text: str, name: str, command: str) -> str:
    """Return a student's file as a notebook: its docstring as text, one cell a definition.

    Parameters
    ----------
    text : str
        The file (`senumpy.coursework.strip.student_text`).
    name : str
        The exercise.
    command : str
        What checks an answer, for the last cell.
    """
    jupytext, nbformat = _libraries()
    tree = ast.parse(text)
    about = ast.get_docstring(tree) or ""
    cells = [_percent("markdown", f"# {name}\n\n```text\n{about}\n```")]
    cells += [_percent("", part) for part in _parts(tree, text)]
    cells.append(_percent("markdown", f"Save, and check your answer in a terminal:\n\n    {command}"))
    notebook = jupytext.reads("\n".join(cells), fmt="py:percent")
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{name[:50]}-{number}".replace("_", "-")  # the same at every build
    written: str = nbformat.writes(notebook)
    return written + "\n"


def cells_of(data: bytes) -> list[str]:
    """Return the code cells of a notebook, with magics commented out.

    Raises
    ------
    NotebookError
        It can't be read as a notebook.
    """
    jupytext, _ = _libraries()
    from jupytext.magics import comment_magic

    try:
        text = data.decode("utf-8")
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # nbformat's, of cells without an id
            notebook = jupytext.reads(text, fmt="ipynb")
        sources = [str(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
        if sum(map(len, sources)) > _CODE:
            raise ValueError(f"more than {_CODE:,} characters of code")
        return ["\n".join(comment_magic(source.split("\n"))) for source in sources]
    except UnicodeDecodeError:
        raise NotebookError("not UTF-8 text") from None
    except Exception as error:  # whatever the library meets in a file of a stranger
        raise NotebookError(" ".join(f"{type(error).__name__}: {error}".split())[:100]) from None


def _parts(tree: ast.Module, text: str) -> Iterator[str]:
    """Yield the code of a file without its docstring: what comes before the first definition, and each."""
    head: list[str] = []
    for node in tree.body[1:] if ast.get_docstring(tree) is not None else tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if head:
                yield "\n".join(head)
                head = []
            yield _source(text, node)
        else:
            head.append(_source(text, node))
    if head:
        yield "\n".join(head)


def _source(text: str, node: ast.stmt) -> str:
    first = min([node.lineno, *(mark.lineno for mark in getattr(node, "decorator_list", ()))])
    return "\n".join(text.split("\n")[first - 1 : node.end_lineno])


def _percent(kind: str, text: str) -> str:
    if not kind:
        return f"# %%\n{text}\n"
    commented = "\n".join(f"# {line}".rstrip() for line in text.splitlines())
    return f"# %% [{kind}]\n{commented}\n"


def _libraries() -> tuple[Any, Any]:
    try:
        import jupytext
        import nbformat
    except ImportError:
        raise InputError('notebooks need jupytext: pip install "senumpy[coursework]"') from None
    return jupytext, nbformat
