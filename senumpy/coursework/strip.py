"""A student's file: the reference's own text, its solution taken out and all else that is not needed.

What stays: the docstring of the source (formula, shapes), the functions to be written, with signature,
docstring and all up to the solution, and what these or the exercise's given names need: imports, classes,
helpers. What goes: the solution, the derivation in comments above a function, and everything else. A helper
that is another exercise's solution is imported, not shown.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Iterator

from senumpy.coursework.catalogue import PACKAGE
from senumpy.coursework.exercise import LEVELS, Exercise
from senumpy.markers import Block, blocks, marked_functions, without_markers
from senumpy.verify.cases import op_spec

NOT_BEGUN = "your code goes here"
_ASSIGNMENTS = ast.Assign | ast.AnnAssign


def student_text(exercise: Exercise) -> str:
    """Return the file that a student begins with."""
    text = exercise.source.read_text(encoding="utf-8")
    task = textwrap.fill(f"Write {_listed(exercise.targets)}.{_contract(exercise)} Then see:", 100)
    check = f"    senumpy exercise check {exercise.name}"
    return _assemble(exercise, _stripped(text, exercise), f"\n{task}\n\n{check}\n")


def solution_text(exercise: Exercise) -> str:
    """Return the same file with the solution in it."""
    text = without_markers(exercise.source.read_text(encoding="utf-8"))
    return _assemble(exercise, text, "\nThe solution: the library's own code.\n")


def solution_lines(exercise: Exercise) -> list[str]:
    """Return the lines between an exercise's markers, stripped of blanks at both ends."""
    text = exercise.source.read_text(encoding="utf-8")
    lines = text.splitlines()
    return [
        line.strip()
        for block in blocks(text)
        if block.name == exercise.name
        for line in lines[block.first : block.last + 1]
        if line.strip()
    ]


def imported_names(text: str) -> dict[str, set[str]]:
    """Return the names that a source imports by ``from module import name``, by module."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.setdefault(node.module, set()).update(alias.name for alias in node.names)
    return found


def _stripped(text: str, exercise: Exercise) -> str:
    """Return the source without the exercise's solution, and without other exercises' markers."""
    lines = text.splitlines()
    # From the last to the first, so that line numbers before stay what they are.
    for block in reversed(blocks(text)):
        if block.name == exercise.name:
            lines[block.start : block.end + 1] = _in_place_of(block, lines, exercise)
    return without_markers("\n".join(lines) + "\n")


def _in_place_of(block: Block, lines: list[str], exercise: Exercise) -> list[str]:
    indent = lines[block.start][: len(lines[block.start]) - len(lines[block.start].lstrip())]
    if not indent:
        return []  # whole definitions at the top level
    return [f'{indent}raise NotImplementedError("{exercise.name}: {NOT_BEGUN}")']


def _assemble(exercise: Exercise, text: str, task: str) -> str:
    tree = ast.parse(text)
    marked = marked_functions(exercise.source.read_text(encoding="utf-8"), besides=exercise.name)
    others = set(marked) - set(exercise.targets)  # they are, or hold, the solution of another exercise
    parts = {name: node for name, node in _definitions(tree).items() if name not in others}
    needed = _reachable(parts, (*exercise.targets, *exercise.given))
    body = [node for node in tree.body if any(parts.get(name) is node for name in needed)]
    plain = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
             if (alias.asname or alias.name) in needed}  # fmt: skip
    imports = {
        (node.module or "", alias.name)
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module != "__future__"
        for alias in node.names
        if (alias.asname or alias.name) in needed
    }
    imports |= {(_module(exercise), name) for name in others & needed}
    chunks = [_docstring(exercise, tree, task), "from __future__ import annotations"]
    chunks += list(_import_lines(sorted(imports), plain))
    previous: ast.stmt | None = None
    for node in body:
        tight = isinstance(node, _ASSIGNMENTS) and isinstance(previous, _ASSIGNMENTS)
        chunks.append(("" if tight else "\n") + _segment(text, node))
        previous = node
    return "\n\n".join(chunks).replace("\n\n\n\n", "\n\n\n") + "\n"


def _docstring(exercise: Exercise, tree: ast.Module, task: str) -> str:
    about = f"Exercise {exercise.name}: {exercise.worth}, level {exercise.level} ({LEVELS[exercise.level]})."
    read = f"Read {exercise.reading}: senumpy lessons open {exercise.lesson}"
    whole = f"{about}\n{read}\n\n{ast.get_docstring(tree) or ''}\n{task}"
    raw = "r" if "\\" in whole else ""
    return f'{raw}"""{whole}"""'


def _import_lines(names: list[tuple[str, str]], plain: set[str]) -> Iterator[str]:
    """Yield the import lines in blocks: standard library, NumPy, the library."""
    standard = [f"import {name}" for name in sorted(plain - {"numpy"})]
    ours: list[str] = []
    for module in sorted({module for module, _ in names}):
        wanted = [name for of, name in names if of == module]
        line = f"from {module} import {', '.join(wanted)}"
        if len(line) > 100:
            inner = textwrap.fill(
                ", ".join(wanted) + ",", 96, initial_indent="    ", subsequent_indent="    "
            )
            line = f"from {module} import (\n{inner}\n)"
        (ours if module.startswith("senumpy") else standard).append(line)
    for block in (standard, ["import numpy as np"], ours):
        if block:
            yield "\n".join(block)


def _contract(exercise: Exercise) -> str:
    """Return what an operation's functions have to keep to, and where a backward's cache is from."""
    if not exercise.op:
        return ""
    text = " Results have the arguments' dtype (float32 or float64); nothing that is passed in is changed."
    if exercise.name.endswith("_backward"):
        parameters = inspect.signature(op_spec(exercise.op).forward).parameters.values()
        plain = [str(p.replace(annotation=inspect.Parameter.empty)) for p in parameters]
        if any(p.kind is p.KEYWORD_ONLY for p in parameters):
            plain.insert(next(i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), "*")
        text += (
            f" The cache is the library's. If you want another one, write {exercise.op}_forward"
            f"({', '.join(plain)}), which returns (y, cache), in this file, too."
        )
    return text


def _module(exercise: Exercise) -> str:
    """Return the dotted name of an exercise's source."""
    return ".".join(("senumpy", *exercise.source.relative_to(PACKAGE).with_suffix("").parts))


def _definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """Return the statements of a module that define a name, by name."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                for name in ast.walk(target):
                    if isinstance(name, ast.Name):
                        found[name.id] = node
    return found


def _reachable(parts: dict[str, ast.stmt], start: tuple[str, ...]) -> set[str]:
    """Return all names that definitions use, and those that these use, and so on."""
    seen: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name in seen or (hasattr(builtins, name) and name not in parts):
            continue
        seen.add(name)
        if name in parts:
            waiting += _names_in(parts[name])
    return seen


def _names_in(node: ast.AST) -> Iterator[str]:
    """Yield the names that a definition uses, those in quoted annotations too."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Constant) and isinstance(inner.value, str) and len(inner.value) < 200:
            try:
                quoted = ast.parse(inner.value, mode="eval")
            except (SyntaxError, ValueError):
                continue
            if not isinstance(quoted.body, ast.Name):
                yield from (name.id for name in ast.walk(quoted) if isinstance(name, ast.Name))


def _segment(text: str, node: ast.stmt) -> str:
    lines = text.splitlines()
    first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])
    return "\n".join(lines[first - 1 : node.end_lineno])


def _listed(names: tuple[str, ...]) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"
