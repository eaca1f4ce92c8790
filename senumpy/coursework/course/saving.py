"""What grading writes: every place tried before the work, and no file lost because of another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from senumpy.errors import InputError
from senumpy.storage import write_atomic

Files = Iterable[tuple[Path, bytes]]
_MOST = 5  # places that an error names


def try_file(option: str, path: Path) -> str:
    """Return why a file can't be written, one line; empty where it can."""
    if path.is_dir():
        return f"{option}: {path} is a folder, wanted a file"
    if not path.resolve().parent.is_dir():
        return f"{option}: no folder {path.parent}"
    return _tried(option, path.resolve())


def try_folder(option: str, path: Path) -> str:
    """Make a folder; return why nothing can be written there, one line."""
    if path.exists() and not path.is_dir():
        return f"{option}: {path} is a file, wanted a folder"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"{option}: cannot make the folder {path}: {error.strerror}"
    return _tried(option, path / "senumpy")


def save(outputs: Iterable[Callable[[], Files]]) -> None:
    """Write all files that can be written.

    Parameters
    ----------
    outputs : iterable of callables
        Each returns some files, and their contents.

    Raises
    ------
    InputError
        Some could not be written, named by the message; all others are.
    """
    problems: list[str] = []
    for output in outputs:
        try:
            files = list(output())
        except Exception as error:  # the grading's work is not to be lost because of one report
            problems.append(f"{type(error).__name__}: {error}")
            continue
        for path, data in files:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, data)
            except OSError as error:
                problems.append(f"cannot save {path}: {error.strerror or error}")
            except InputError as error:
                problems.append(str(error))
    if problems:
        more = f"; and {len(problems) - _MOST} more" if len(problems) > _MOST else ""
        raise InputError(f"{'; '.join(problems[:_MOST])}{more}; all else is written")


def _tried(option: str, path: Path) -> str:
    """Write a file beside the one that is meant, and remove it."""
    trial = path.with_name(f".{path.name}.tmp")  # the name that writing it uses, too
    try:
        trial.write_bytes(b"senumpy")
    except OSError as error:
        return f"{option}: cannot write in {path.parent}: {error.strerror}"
    finally:
        with contextlib.suppress(OSError):
            trial.unlink()
    return ""
