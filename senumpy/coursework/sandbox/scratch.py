"""The folder that a run may write in: measured while it runs, removed whatever is in it."""

from __future__ import annotations

import contextlib
import itertools
import os
from pathlib import Path

from senumpy.coursework.sandbox.outcome import ENTRIES, SCRATCH


def errors_of(folder: str | Path) -> Path:
    """Return where the process that owns a folder writes what went wrong with itself."""
    return Path(f"{folder}.errors")


def too_much(folder: str | Path) -> bool:
    """Return whether more is in the folder than a run may leave there.

    A folder that can't be looked into is too much, too: one made without the right to list it, or nested
    deeper than a path can name.
    """
    waiting, size, count = [str(folder)], 0, 0
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    count += 1
                    size += _blocks(entry) * 512
                    if count > ENTRIES or size > SCRATCH:
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue  # removed meanwhile, where there is no Landlock
        except OSError:
            return True
    return False


def _blocks(entry: os.DirEntry[str]) -> int:
    try:
        found = entry.stat(follow_symlinks=False)
        return getattr(found, "st_blocks", -(-found.st_size // 512))  # Windows counts no blocks
    except FileNotFoundError:
        return 0


def remove(folder: str | Path) -> None:
    """Remove a folder, also one nested deeper than a path can name, or with folders that were closed.

    Folders are lifted to the top before they are emptied: no path gets longer than three names.
    """
    top = Path(folder)
    if not top.is_dir():
        return
    names = itertools.count()
    for _ in range(1_000_000):  # rather than for ever, where something can't be removed
        entries = list(top.iterdir())
        if not entries:
            break
        stuck = True
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                stuck &= not _empty(entry, top, names)
            else:
                with contextlib.suppress(OSError):
                    entry.unlink()
                    stuck = False
        if stuck:
            break
    with contextlib.suppress(OSError):
        top.rmdir()


def _empty(folder: Path, top: Path, names: itertools.count[int]) -> bool:
    with contextlib.suppress(OSError):
        folder.chmod(0o700)
        for entry in list(folder.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                entry.chmod(0o700)  # a folder is moved only by those who may write in it
                entry.rename(top / f".{next(names)}-{os.getpid()}")
            else:
                entry.unlink()
        folder.rmdir()
        return True
    return False
