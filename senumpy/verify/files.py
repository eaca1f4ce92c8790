"""Checking functions that stand in somebody's file: ``my_file.py:my_forward,my_backward``."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from senumpy.errors import InputError, unknown_name
from senumpy.verify.cases import op_spec
from senumpy.verify.library import check_like
from senumpy.verify.report import Report


def check_file(target: str, like: str, *, seed: int = 0, case: int | None = None) -> Report:
    """Check a forward/backward pair from a Python file against an operation of the library.

    Parameters
    ----------
    target : str
        ``"path/to/file.py:forward_name,backward_name"``. The file is run, as any import does.
    like : str
        The operation of `senumpy.ops` that they are meant to do.
    seed : int
    case : int, optional
        Number of a single case.

    Raises
    ------
    InputError
        The target has another form, there is no such file or function, or the file can't be run.
    """
    op_spec(like)
    path, names = _split(target)
    module = _load(path)
    forward, backward = (_function(module, path, name) for name in names)
    report = check_like(like, forward, backward, seed=seed, case=case)
    number = report.reproduce.rpartition("case=")[2] if "case=" in report.reproduce else "None))"
    line = (
        f"from senumpy.verify import check_file; "
        f"print(check_file({target!r}, {like!r}, seed={seed}, case={number}"
    )
    return replace(report, reproduce=line)


def _split(target: str) -> tuple[Path, list[str]]:
    file, _, functions = target.rpartition(":")
    names = [name.strip() for name in functions.split(",")]
    if not file or len(names) != 2 or not all(name.isidentifier() for name in names):
        raise InputError(f"{target!r}: wanted FILE.py:FORWARD,BACKWARD, such as my_conv.py:forward,backward")
    path = Path(file)
    if not path.is_file():
        raise InputError(f"{file}: no such file")
    return path, names


def _load(path: Path) -> ModuleType:
    """Run a file as a module of its own; whatever goes wrong in it becomes one line."""
    name = f"senumpy_checked_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file; its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    with _import_from(path.resolve().parent):
        sys.modules[name] = module  # dataclasses in the file look their module up
        try:
            spec.loader.exec_module(module)
        except SyntaxError as error:
            raise InputError(f"{path}, line {error.lineno}: syntax error: {error.msg}") from error
        except (Exception, SystemExit) as error:
            raise InputError(f"{path}: running it raised {type(error).__name__}: {error}") from error
        finally:
            del sys.modules[name]
    return module


@contextmanager
def _import_from(folder: Path) -> Iterator[None]:
    """Let a file import its neighbours, and leave no compiled files beside them."""
    path, write = list(sys.path), sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, write


def _function(module: ModuleType, path: Path, name: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not callable(function):
        functions = [
            key for key, value in vars(module).items() if callable(value) and not key.startswith("_")
        ]
        raise InputError(f"{path}: {unknown_name('function', name, functions)}")
    return function
