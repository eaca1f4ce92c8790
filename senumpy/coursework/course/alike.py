"""Answers that are the same but for names, comments and layout."""

from __future__ import annotations

import ast
import hashlib
from collections import defaultdict
from collections.abc import Iterable

from senumpy.coursework.course.outcome import Alike

_LEAST = 60  # nodes of the syntax tree: shorter answers agree without anybody's help


def fingerprint(text: str, targets: tuple[str, ...]) -> tuple[str, int, int] | None:
    """Return a hash of what an answer says, the size of its syntax tree, and its lines of code.

    Left out are comments, docstrings, layout, annotations, and how its own names are spelt: those of
    functions other than the exercise's, of arguments and of variables.

    Parameters
    ----------
    text : str
    targets : tuple of str
        Functions of the exercise, which keep their names.

    Returns
    -------
    tuple or None
        None where it doesn't parse.
    """
    try:
        tree = ast.parse(text)
        names = _own_names(tree, targets) | _modules(tree)
        _without_words(tree)
        _Renamed(names).visit(tree)
        dump = ast.dump(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes = [node for node in ast.walk(tree) if not isinstance(node, ast.expr_context)]
    lines = {node.lineno for node in nodes if isinstance(node, ast.stmt)}
    return hashlib.sha256(dump.encode()).hexdigest(), len(nodes), len(lines)


def groups(
    exercise: str,
    answers: Iterable[tuple[str, bytes, bool]],
    targets: tuple[str, ...],
    known: Iterable[str],
) -> list[Alike]:
    """Return groups of students with the same answer to an exercise.

    Parameters
    ----------
    exercise : str
    answers : iterable of (student, file, passed)
    targets : tuple of str
    known : iterable of str
        Texts that everybody has, the hand-out's and the reference: equal to them is no copying.
    """
    common = [found for found in (fingerprint(text, targets) for text in known) if found is not None]
    hashes = {found[0] for found in common}
    given = min((found[1] for found in common), default=0)  # the hand-out's own size
    by_hash: dict[str, list[tuple[str, bool, int]]] = defaultdict(list)
    seen: dict[bytes, tuple[str, int, int] | None] = {}
    for student, data, passed in answers:
        if data not in seen:
            seen[data] = fingerprint(data.decode(errors="replace"), targets)
        found = seen[data]
        if found is not None and found[0] not in hashes and found[1] - given >= _LEAST:
            by_hash[found[0]].append((student, passed, found[2]))
    return [
        Alike(exercise, sorted(student for student, _, _ in group), group[0][2], group[0][1])
        for group in by_hash.values()
        if len(group) > 1
    ]


def _without_words(tree: ast.Module) -> None:
    """Take docstrings, other bare strings and annotations out of a tree."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [inner for inner in body if not _is_text(inner)]
            node.body = kept or [ast.Pass(lineno=1, col_offset=0)]  # type: ignore[attr-defined]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
    tree.body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]


def _is_text(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _own_names(tree: ast.Module, targets: tuple[str, ...]) -> dict[str, str]:
    """Return new names for those that an answer binds, in the order in which they appear."""
    bound: dict[str, None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name not in targets:
            bound[node.name] = None
        elif isinstance(node, ast.arg):
            bound[node.arg] = None
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound[node.id] = None
    order: dict[str, None] = {}
    for node in _in_order(tree):
        for name in (getattr(node, "id", None), getattr(node, "arg", None), getattr(node, "name", None)):
            if isinstance(name, str) and name in bound:
                order[name] = None
    return {name: f"v{number}" for number, name in enumerate(order)}


def _modules(tree: ast.Module) -> dict[str, str]:
    """Return what imported names stand for: ``np`` for ``numpy``."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
                found[alias.asname or alias.name] = f"{module}{alias.name}"
    return found


def _in_order(tree: ast.AST) -> Iterable[ast.AST]:
    """Yield the nodes in the order in which they are written, roughly: depth first."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack += reversed(list(ast.iter_child_nodes(node)))


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, str]) -> None:
        self._names = names

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Rename whatever in a node is a name of the answer's own."""
        for field in ("id", "arg", "name"):
            value = getattr(node, field, None)
            if isinstance(value, str) and value in self._names:
                setattr(node, field, self._names[value])
        return super().generic_visit(node)
