"""From the text of a command line to the object it names: ``module:name`` or ``file.py:name``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from senumpy.errors import InputError, unknown_name
from senumpy.verify.conduct import one_line

COMMAND, ONNX = "cmd:", ".onnx"


def is_text(target: Any) -> bool:
    """Whether a target is named by text (or a path), and not given as an object."""
    return isinstance(target, str | Path)


def load(target: str) -> Any:
    """Import what ``module:name`` or ``path/to/file.py:name`` names; names may have dots.

    The current folder is on the path, as with ``python -m``, and so is a file's own.

    Raises
    ------
    InputError
        The text has another form, there is no such file, module or name, or importing it raises, exits or is
        no Python.
    """
    place, _, name = target.rpartition(":")
    if not place or not all(part.isidentifier() for part in name.split(".")):
        raise InputError(f"{target!r}: wanted module:name, file.py:name, model.onnx or 'cmd:PROGRAM ARG...'")
    module = _file(Path(place)) if place.endswith(".py") else _module(place)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
            raise InputError(f"{place}: {unknown_name('name', part, known)}")
        found = getattr(found, part)
    return found


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    name = f"senumpy_candidate_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path}: not a Python file; its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    _on_path(path.resolve().parent)
    sys.modules[name] = module  # dataclasses and pickles in the file look their module up
    with _messages(str(path)):
        spec.loader.exec_module(module)
    return module


def _module(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise InputError(f"{name!r} is no name of a module; a file's ends in .py")
    _on_path(Path.cwd())
    importlib.invalidate_caches()
    with _messages(name):
        return importlib.import_module(name)
    raise AssertionError


def _on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@contextlib.contextmanager
def _messages(what: str) -> Iterator[None]:
    """Turn all that importing raises into one line, and leave no compiled files behind."""
    write, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    except InputError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or "?"
        if what == missing or what.startswith(missing + "."):
            raise InputError(f"no module {missing!r} in {Path.cwd()} or among what is installed") from None
        raise InputError(f"{what}: importing it asks for {missing!r}, which is not installed") from None
    except SyntaxError as error:
        place = Path(error.filename).name if error.filename else what
        raise InputError(f"{place}, line {error.lineno}: syntax error: {error.msg}") from None
    except SystemExit as error:
        raise InputError(f"{what}: importing it calls sys.exit({error.code!r})") from None
    except Exception as error:
        # Late: guard imports nothing of ours that imports this file, but the message is rare.
        from senumpy.verify.guard import where

        text = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"{what}: importing it raised {text}{where(error)}") from None
    finally:
        sys.dont_write_bytecode = write
