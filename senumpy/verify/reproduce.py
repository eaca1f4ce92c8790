"""Python code that repeats a check, for the end of a report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from senumpy.verify.candidate import Arguments

INLINE = 600  # calls of up to this many numbers are written out


def reproduction(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    call: Arguments,
    arguments: Sequence[str] | None,
    seed: int,
    upstream: ArrayLike | None,
) -> str:
    """Return one line of Python that repeats a call of `check_gradients`.

    Functions of an importable module are imported, others are left by name, for the session that has them.
    So are calls of many numbers or with objects that have no literal form: ``args`` and ``kwargs`` stand
    for them.
    """
    names, imports = names_and_imports(forward, backward)
    imports.insert(0, "from senumpy.verify import check_gradients")
    try:
        positional = "(" + "".join(f"{_literal(value)}, " for value in call.args).rstrip() + ")"
        keywords = "{" + ", ".join(f"{key!r}: {_literal(value)}" for key, value in call.kwargs.items()) + "}"
        if sum(array.size for array in call.values.values()) > INLINE:
            raise TypeError("too many numbers for a line")
        given = "" if upstream is None else f", upstream={_literal(np.asarray(upstream))}"
    except TypeError:
        positional, keywords, given = "args", "kwargs", "" if upstream is None else ", upstream=upstream"
    if "np." in positional + keywords + given:
        imports.insert(0, "import numpy as np")
    options = ("" if arguments is None else f", arguments={list(arguments)!r}") + given + f", seed={seed}"
    check = f"print(check_gradients({names[0]}, {names[1]}, {positional}, {keywords}{options}))"
    return "; ".join([*dict.fromkeys(imports), check])


def names_and_imports(*functions: Callable[..., Any] | None) -> tuple[list[str], list[str]]:
    """Return how to call functions by name, and the lines that import those that can be imported."""
    names, imports = [], []
    for function in functions:
        name, line = ("None", "") if function is None else _importable(function)
        names.append(name)
        imports += [line] if line else []
    return names, imports


def _importable(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the name of a function and the line that imports it, empty if it can't be imported."""
    name = str(getattr(function, "__qualname__", "function"))
    module = getattr(function, "__module__", None)
    found = getattr(sys.modules.get(str(module)), name, None) is function
    if module == "__main__" or not found:
        return getattr(function, "__name__", "function"), ""
    return name, f"from {module} import {name}"


def _literal(value: Any) -> str:
    """Return an expression for `value`; TypeError where it has none."""
    if isinstance(value, np.ndarray):
        return f"np.array({value.tolist()!r}, dtype='{value.dtype}')"
    if isinstance(value, list | tuple):
        inner = ", ".join(_literal(item) for item in value)
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' if len(value) == 1 else ''})"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    raise TypeError(f"{type(value).__name__} has no literal form")
