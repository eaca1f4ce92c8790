"""Replacing a file so that a crash, a kill or a full disk leaves the old one or the new one, nothing else."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from senumpy.errors import InputError

_CHUNK = 1 << 20


def write_atomic(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`: temporary file beside it, sync, read back, rename, sync of the folder.

    The temporary file has a fixed name, ``.NAME.tmp``: kills while writing leave at most one behind, and the
    next write uses it again. One process at a time writes a given file.

    Raises
    ------
    InputError
        When the file cannot be written (no space, no permission, no such folder) or does not read back as
        written. The temporary file is removed and the previous file is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _check_equal(temporary, data)
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise  # Ctrl-C, for example: the previous file stands
        fate = f"the previous {path.name} is untouched" if path.is_file() else "nothing is left behind"
        raise InputError(f"cannot save {path}: {error.strerror or error}; {fate}") from error
    _sync_folder(path.parent)


def _check_equal(path: Path, data: bytes) -> None:
    """Raise OSError unless `path` holds exactly `data`."""
    view = memoryview(data)
    position = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if view[position : position + len(chunk)] != chunk:
                raise OSError(f"what was written differs when read back, after byte {position}")
            position += len(chunk)
    if position != len(data):
        raise OSError(f"{len(data)} bytes were written, {position} read back")


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable. Where a folder cannot be synced, the file stands all the same."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
