"""A student's file looked at before it runs: whether it is Python, and uses only what it may.

An answer may import NumPy, what its exercise gives, and modules of the standard library that compute. The
reference itself, other libraries, and the ways around an import are refused by name. This is for honest
people: it says early what would not count. What keeps graders safe from the others is the sandbox.
"""

from __future__ import annotations

import ast
import builtins
import importlib.util
import io
import tokenize
from collections.abc import Iterator

from senumpy.coursework.exercise import Exercise
from senumpy.coursework.strip import imported_names, solution_text, student_text
from senumpy.ops import arrays, windows
from senumpy.verify.conduct import one_line

LIMIT = 1_000_000  # bytes; an answer has some thousand
ALLOWED = frozenset(
    (
        "__future__", "abc", "array", "bisect", "cmath", "collections", "contextlib", "copy", "dataclasses",
        "decimal", "enum", "fractions", "functools", "heapq", "itertools", "logging", "math", "numbers",
        "numpy", "operator", "pprint", "random", "re", "statistics", "string", "sys", "textwrap", "time",
        "types", "typing", "warnings",
    )
)  # fmt: skip
FORBIDDEN_NAMES = frozenset(
    ("__import__", "breakpoint", "compile", "eval", "exec", "globals", "input", "open", "vars")
)
# By these attributes an object leads to modules and to frames of the program that called it.
FORBIDDEN_ATTRIBUTES = frozenset(
    (
        "__subclasses__", "__globals__", "__builtins__", "__code__", "__loader__", "__spec__", "f_back",
        "f_globals", "f_locals", "gi_frame", "tb_frame", "_getframe",
    )
)  # fmt: skip
# Conditions under which nothing runs when an answer is checked.
_NEVER = ("__name__ == '__main__'", "'__main__' == __name__", "TYPE_CHECKING", "typing.TYPE_CHECKING")
_TRY_OUT = 'what tries it out may stand under `if __name__ == "__main__":`'


class RefusedError(Exception):
    """The file can't be an answer; the message is one line for the student."""


def examine(exercise: Exercise, data: bytes, label: str) -> str:
    """Return the text of an answer that may be run.

    Parameters
    ----------
    exercise : Exercise
    data : bytes
        The file.
    label : str
        Its name, for messages.

    Raises
    ------
    RefusedError
        Empty, too large, not UTF-8, not Python, without the exercise's functions, or with something in it
        that an answer must not use.
    """
    text = decoded(data, label)
    tree = _without_what_never_runs(parsed(text, label))
    _check_imports(exercise, tree, label)
    _check_names(tree, label)
    defined = _defined(tree.body)
    missing = [name for name in exercise.targets if name not in defined]
    if missing:
        there = ", ".join(sorted(defined)[:5]) or "none"
        raise RefusedError(f"{label}: wanted a function {missing[0]}; the functions found are: {there}")
    return text


def decoded(data: bytes, label: str) -> str:
    """Return the text of a Python file; refuse what is none."""
    if len(data) > LIMIT:
        raise RefusedError(
            f"{label}: {len(data) / 1e6:.1f} MB, wanted at most {LIMIT / 1e6:g} MB: is it the right file?"
        )
    if not data.strip():
        raise RefusedError(f"{label}: the file is empty")
    if b"\0" in data:
        raise RefusedError(f"{label}: binary data, wanted Python source as text")
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        return io.TextIOWrapper(io.BytesIO(data), encoding).read()
    except (SyntaxError, UnicodeDecodeError, LookupError):
        raise RefusedError(f"{label}: not UTF-8 text; save it in the encoding UTF-8") from None


def parsed(text: str, label: str) -> ast.Module:
    """Return the syntax tree; refuse what doesn't parse."""
    try:
        tree = ast.parse(text)
        compile(tree, label, "exec")  # `return` outside a function, and the like
        return tree
    except SyntaxError as error:
        where = f", line {error.lineno}" if error.lineno else ""
        line = f": {(error.text or '').strip()[:60]}" if (error.text or "").strip() else ""
        raise RefusedError(f"{label}{where}: not valid Python, {one_line(error.msg)}{line}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise RefusedError(f"{label}: not valid Python, {one_line(error) or 'nested too deeply'}") from None


def _without_what_never_runs(tree: ast.Module) -> ast.Module:
    """Leave out what stands under ``if __name__ == "__main__":``: a student may try things out there."""
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and _is_bound(node)}
    bound |= {node.asname or "" for node in ast.walk(tree) if isinstance(node, ast.alias)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if bound & {"__name__", "TYPE_CHECKING", "typing"}:
        return tree  # then it may run after all
    body: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.If) and ast.unparse(node.test) in _NEVER:
            body += node.orelse
        else:
            body.append(node)
    return ast.Module(body, tree.type_ignores)


def _is_bound(node: ast.Name) -> bool:
    return not isinstance(node.ctx, ast.Load)


def _defined(body: list[ast.stmt]) -> set[str]:
    """Return the names that statements bind, outside functions, to something that may be a function."""
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and _is_bound(n)}
        elif isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try):
            parts = [getattr(node, part, []) for part in ("body", "orelse", "finalbody")]
            parts += [handler.body for handler in getattr(node, "handlers", [])]
            names |= {name for part in parts for name in _defined(part)}
    return names


def importable(exercise: Exercise) -> dict[str, set[str]]:
    """Return the names of the library that an answer may import, by module.

    What its file imports, what the solution does, and the helpers that are no exercise's concern.
    """
    found: dict[str, set[str]] = {}
    for text in (student_text(exercise), solution_text(exercise)):
        for module, names in imported_names(text).items():
            found.setdefault(module, set()).update(names)
    for helpers in (arrays, windows):
        names = {name for name in vars(helpers) if not name.startswith("_")}
        found.setdefault(helpers.__name__, set()).update(names - set(exercise.targets))
    return found


def _check_imports(exercise: Exercise, tree: ast.Module, label: str) -> None:
    given = importable(exercise)
    for node, module, names in _imports(tree):
        top = module.partition(".")[0]
        if top == "senumpy":
            allowed = given.get(module, set())
            unknown = [name for name in names if name not in allowed]
            if unknown or not names:
                asked = f"from {module} import {', '.join(unknown)}" if names else f"import {module}"
                raise RefusedError(
                    f"{label}, line {node.lineno}: `{asked}` reads the reference, which an answer may not; "
                    f"{_given_text(exercise)}; {_TRY_OUT}"
                )
        elif top not in ALLOWED:
            raise RefusedError(f"{label}, line {node.lineno}: {_other_import(module, top)}")


def _given_text(exercise: Exercise) -> str:
    given = imported_names(student_text(exercise))
    names = sorted(name for module in given if module.startswith("senumpy") for name in given[module])
    return f"given are: {', '.join(names)}" if names else "nothing of it is given in this exercise"


def _other_import(module: str, top: str) -> str:
    if not top:
        return "a relative import, wanted everything in this one file"
    try:
        there = importlib.util.find_spec(top) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        return f"imports {module}, which is not installed; write it with NumPy"
    return f"imports {module}, which an answer may not use; write it with NumPy; {_TRY_OUT}"


def _imports(tree: ast.Module) -> Iterator[tuple[ast.stmt, str, list[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, []
        elif isinstance(node, ast.ImportFrom):
            yield node, "" if node.level else (node.module or ""), [alias.name for alias in node.names]


def _check_names(tree: ast.Module, label: str) -> None:
    own = {
        node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    own |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    modules = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    for node in ast.walk(tree):
        name = None
        if isinstance(node, ast.Name) and node.id in FORBIDDEN_NAMES - own and hasattr(builtins, node.id):
            name = node.id
        elif isinstance(node, ast.Attribute) and _leads_out(node, modules):
            name = f".{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "sys":
            name = next(
                (a.name for a in node.names if a.name in {"modules", "*", *FORBIDDEN_ATTRIBUTES}), None
            )
        if name is not None:
            raise RefusedError(
                f"{label}, line {node.lineno}: uses {name}, which an answer has no use for"  # type: ignore[attr-defined]
            )


def _leads_out(node: ast.Attribute, modules: set[str]) -> bool:
    """Whether an attribute leads to other modules or frames; a student's own object may have `modules`."""
    of_module = isinstance(node.value, ast.Name) and node.value.id in modules
    private = node.attr.startswith("_") and not node.attr.startswith("__")
    inner = node.attr in ("modules", "sys", "os", "builtins", "importlib")
    return node.attr in FORBIDDEN_ATTRIBUTES or (of_module and (private or inner))
