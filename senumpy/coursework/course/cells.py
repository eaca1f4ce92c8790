"""The answer that a notebook's cells hold: the functions of an exercise, and all that these need."""

from __future__ import annotations

import ast
import builtins
import symtable
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

_ROUNDS = 20  # of leaving out what is replaced later
_SCOPES = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
_NO_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


@dataclass(frozen=True)
class Statement:
    """A statement at the top level of a cell.

    Attributes
    ----------
    source : str
    changes : frozenset of str
        Global names that it binds, augments, or changes by subscript or attribute.
    replaces : frozenset of str
        Those of which it leaves nothing as it was.
    assigns : frozenset of str
        Those that it binds, but for imports and definitions.
    calls : frozenset of str
        Global names whose methods it calls for their effect.
    reads : frozenset of str
        Global names that it uses, in the bodies of its functions, too.
    """

    source: str
    changes: frozenset[str]
    replaces: frozenset[str]
    reads: frozenset[str]
    assigns: frozenset[str] = frozenset()
    calls: frozenset[str] = frozenset()


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
    statements: list[Statement] = []
    futures: dict[str, None] = {}
    broken: dict[str, str] = {}
    for cell in cells:
        text = cell.replace("\r\n", "\n").replace("\r", "\n")
        try:
            found = list(_statements(text, futures))
        except _NO_PYTHON:
            broken |= {target: cell for target in targets if f"def {target}(" in cell}
            continue
        statements += found
        broken = {
            target: bad for target, bad in broken.items() if not any(target in s.replaces for s in found)
        }
    if broken:
        return next(iter(broken.values()))  # the checker says what is wrong with it
    assigned = {name for statement in statements for name in statement.assigns}
    statements = [replace(s, changes=s.changes | (s.calls & assigned)) for s in statements]
    defined = {name for statement in statements for name in statement.changes}
    if not defined.issuperset(targets):
        return None
    parts = [f"from __future__ import {', '.join(futures)}"] if futures else []
    return "\n\n".join([*parts, *(statement.source for statement in _kept(statements, targets))]) + "\n"


def _kept(statements: list[Statement], targets: tuple[str, ...]) -> list[Statement]:
    """Return the statements that the targets need, without those that later ones replace unread."""
    kept = _needed(statements, targets)
    for _ in range(_ROUNDS):
        fewer = _needed(_without_replaced(kept, {*targets, *_all_reads(kept), "*"}), targets)
        if len(fewer) == len(kept):
            break
        kept = fewer
    return kept


def _needed(statements: list[Statement], targets: tuple[str, ...]) -> list[Statement]:
    by_name: dict[str, list[int]] = defaultdict(list)
    for number, statement in enumerate(statements):
        for name in statement.changes:
            by_name[name].append(number)
    kept: set[int] = set()
    needed: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        unknown = name not in by_name and not hasattr(builtins, name)
        for number in by_name["*"] if unknown else by_name.get(name, ()):
            if number not in kept:
                kept.add(number)
                waiting += statements[number].reads
    return [statements[number] for number in sorted(kept)]


def _without_replaced(statements: list[Statement], needed: set[str]) -> list[Statement]:
    """Leave out what binds names that are bound anew before anything reads them."""
    readers: dict[str, list[int]] = defaultdict(list)
    for number, statement in enumerate(statements):
        for name in statement.reads:
            if len(readers[name]) < 2:
                readers[name].append(number)
    replaced_at: dict[str, int] = {}  # by the next statement that does
    found = []
    for number in range(len(statements) - 1, -1, -1):
        statement = statements[number]
        for name in statement.changes & needed:
            end = replaced_at.get(name, -1)
            if end < 0 or any(reader < end for reader in readers[name] if reader != number):
                found.append(statement)
                break
        replaced_at |= dict.fromkeys(statement.replaces, number)
    return found[::-1]


def _all_reads(statements: Iterable[Statement]) -> set[str]:
    return {name for statement in statements for name in statement.reads}


def _statements(text: str, futures: dict[str, None]) -> Iterator[Statement]:
    """Yield the statements of a cell; names imported from `__future__` go to `futures`."""
    lines = text.split("\n")
    for node in ast.parse(text).body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            futures.update(dict.fromkeys(alias.name for alias in node.names))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imports(node)
        else:
            yield _statement(node, _source(lines, node))


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[Statement]:
    """Yield a statement for each name imported: others on the line may be for drawing."""
    for alias in node.names:
        if isinstance(node, ast.Import):
            one: ast.stmt = ast.Import([alias])
        else:
            one = ast.ImportFrom(node.module, [alias], node.level)
        names = frozenset([(alias.asname or alias.name).partition(".")[0]])
        plain = alias.asname is not None or not {".", "*"} & set(alias.name)  # `import a.b` adds to `a`
        yield Statement(ast.unparse(one), names, names if plain else frozenset(), frozenset())


def _statement(node: ast.stmt, source: str) -> Statement:
    bound, at_once, later = _names(node, source)
    if isinstance(node, ast.Delete):
        bound = set()  # `del x` after a trial takes nothing from the answer
    definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    set_, called = _mutated(node)
    replaces: set[str] = set()
    if definition and not isinstance(node, ast.ClassDef):
        replaces = bound - at_once  # its body runs later
    elif isinstance(node, ast.ClassDef | ast.Assign) or (isinstance(node, ast.AnnAssign) and node.value):
        replaces = bound - at_once - later
    return Statement(
        source,
        changes=frozenset(bound | set_),
        replaces=frozenset(replaces),
        reads=frozenset(at_once | later),
        assigns=frozenset() if definition else frozenset(bound),
        calls=frozenset(called),
    )


def _names(node: ast.stmt, source: str) -> tuple[set[str], set[str], set[str]]:
    """Return the global names that a statement binds, reads itself, and reads in scopes within it."""
    try:
        table = symtable.symtable(source, "cell", "exec")
    except _NO_PYTHON:  # parses, but can't be compiled: the checker says why
        names = [inner for inner in ast.walk(node) if isinstance(inner, ast.Name)]
        bound = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            bound = {node.name}
        return bound, {name.id for name in names}, set()
    symbols = table.get_symbols()
    bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    later: set[str] = set()
    stack = list(table.get_children())
    while stack:
        inner = stack.pop()
        stack += inner.get_children()
        outer = [symbol for symbol in inner.get_symbols() if symbol.is_global()]
        later |= {symbol.get_name() for symbol in outer}
        bound |= {symbol.get_name() for symbol in outer if symbol.is_assigned()}
    return bound, {symbol.get_name() for symbol in symbols if symbol.is_referenced()}, later


def _mutated(node: ast.stmt) -> tuple[set[str], set[str]]:
    """Return names whose items or attributes a statement sets, and whose methods it calls for an effect."""
    found: tuple[set[str], set[str]] = (set(), set())
    stack: list[ast.AST] = [node]
    while stack:
        inner = stack.pop()
        if isinstance(inner, _SCOPES):
            continue
        stack += ast.iter_child_nodes(inner)
        if isinstance(inner, ast.Subscript | ast.Attribute) and not isinstance(inner.ctx, ast.Load):
            _add_root(inner, found[0])
        elif isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Call):
            _add_root(inner.value.func, found[1])
    return found


def _add_root(part: ast.expr, names: set[str]) -> None:
    """Add ``a`` for ``a.b[0].c``; nothing for ``a`` itself."""
    deep = False
    while isinstance(part, ast.Subscript | ast.Attribute):
        part, deep = part.value, True
    if deep and isinstance(part, ast.Name):
        names.add(part.id)


def _source(lines: list[str], node: ast.stmt) -> str:
    """Return a statement's text, without others on its lines."""
    first = min([node.lineno, *(mark.lineno for mark in getattr(node, "decorator_list", ()))])
    part = lines[first - 1 : node.end_lineno]
    part[-1] = part[-1].encode()[: node.end_col_offset].decode()
    if first == node.lineno:
        part[0] = part[0].encode()[node.col_offset :].decode()
    return "\n".join(part)
