"""Engines: who executes the operations. `engine(name)` returns one; a model takes it as an argument."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, NamedTuple

from senumpy.engines.base import Engine
from senumpy.errors import InputError, unknown_name

__all__ = ["Engine", "default_engine", "engine", "engine_names"]


class _Entry(NamedTuple):
    module: str
    attribute: str
    requires: str = "numpy"  # package that has to be installed
    install: str = ""
    options: tuple[str, ...] = ()


# Adding an engine: a folder here, a line below, its name in tests/engines.
_REGISTRY = {
    "naive": _Entry("senumpy.engines.naive", "NaiveEngine"),
    "numpy": _Entry("senumpy.engines.base", "Engine"),
    "numba": _Entry(
        "senumpy.engines.numba", "NumbaEngine", "numba", "pip install 'senumpy[fast]'", ("threads", "exact")
    ),
    "cupy": _Entry(
        "senumpy.engines.cupy",
        "CupyEngine",
        "cupy",
        "pip install 'senumpy[gpu-cuda12]' (or gpu-cuda13, to match the driver)",
        ("device", "precision", "deterministic", "exact"),
    ),
}


def engine_names() -> list[str]:
    """Return the names of the engines that can be had here and now."""
    return [name for name in _REGISTRY if _problem(name) is None]


def default_engine() -> str:
    """Return the fastest engine for processors that is installed."""
    return "numba" if "numba" in engine_names() else "numpy"


def engine(name: str | Engine, **options: Any) -> Engine:
    """Return the engine called `name`; an engine is returned as it is.

    Parameters
    ----------
    name : str or Engine
    options
        Of this engine: `threads` and `exact` of `numba`; `device`, `precision`, `deterministic` and `exact`
        of `cupy`.

    Raises
    ------
    InputError
        No such engine or option, or one whose package is not installed; the message says what to do.
    """
    if isinstance(name, Engine):
        return name
    if name not in _REGISTRY:
        raise unknown_name("engine", name, _REGISTRY)
    entry = _REGISTRY[name]
    for option in options:
        if option not in entry.options:
            owners = [repr(other) for other, its in _REGISTRY.items() if option in its.options]
            raise InputError(
                f"engine {name!r} has no option {option!r}"
                + (f": that is for the engine {' or '.join(owners)}" if owners else "")
            )
    problem = _problem(name)
    if problem:
        raise InputError(problem)
    try:
        module = importlib.import_module(entry.module)
    except ImportError as error:  # half installed, or without a library that it loads
        reason = " ".join(str(error).split())
        raise InputError(
            f"engine {name!r} can't be loaded ({reason}); install {entry.requires} anew: {entry.install}"
        ) from error
    result: Engine = getattr(module, entry.attribute)(**options)
    return result


def _problem(name: str) -> str | None:
    entry = _REGISTRY[name]
    if importlib.util.find_spec(entry.module) is None:
        return (
            f"engine {name!r} is not part of this version of senumpy: use 'numpy' "
            f"(a version that has it installs it by {entry.install})"
        )
    if importlib.util.find_spec(entry.requires) is None:
        return f"engine {name!r} needs the package {entry.requires}, which is not installed: {entry.install}"
    return None
