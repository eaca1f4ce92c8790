"""Notebooks: an exercise's file as one, and the answers that one holds, by jupytext."""

from __future__ import annotations

import ast
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
        notebook = jupytext.reads(data.decode("utf-8"), fmt="ipynb")
        sources = [str(cell.source) for cell in notebook.cells if cell.cell_type == "code"]
        if sum(map(len, sources)) > _CODE:
            raise ValueError(f"more than {_CODE:,} characters of code")
        return ["\n".join(comment_magic(source.split("\n"))) for source in sources]
    except UnicodeDecodeError:
        raise NotebookError("not UTF-8 text") from None
    except Exception as error:  # whatever the library meets in a file of a stranger
        raise NotebookError(" ".join(f"{type(error).__name__}: {error}".split())[:100]) from None


def answer_in(cells: list[str], targets: tuple[str, ...]) -> str | None:
    """Return what a notebook's cells say of an exercise: its functions and all that these need.

    Other cells, which draw, try and test, are left out. A cell that doesn't parse spoils only the answers
    that it would define.

    Parameters
    ----------
    cells : list of str
        Code cells.
    targets : tuple of str
        Functions of the exercise.

    Returns
    -------
    str or None
        None where the notebook doesn't define them.
    """
    definitions: dict[str, tuple[int, str]] = {}  # the last one counts
    names: dict[str, set[str]] = {}
    number = 0
    for cell in cells:
        try:
            tree = ast.parse(cell)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            if any(f"def {target}(" in cell for target in targets):
                return cell  # the checker says what is wrong with it
            continue
        for node in tree.body:
            source = _source(cell, node)
            number += 1
            for name in _bound(node):
                definitions[name] = number, source
                names[name] = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    if not all(target in definitions for target in targets):
        return None
    needed, waiting = set(), list(targets)
    while waiting:
        name = waiting.pop()
        if name in definitions and name not in needed:
            needed.add(name)
            waiting += names[name]
    if "annotations" in definitions:
        needed.add("annotations")  # from __future__
    parts = sorted({definitions[name] for name in needed})
    return "\n\n".join(source for _, source in parts) + "\n"


def _bound(node: ast.stmt) -> Iterator[str]:
    """Yield the names that a statement at the top level binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield (alias.asname or alias.name).partition(".")[0]
    elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            for inner in ast.walk(target):
                if isinstance(inner, ast.Name):
                    yield inner.id


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
