"""A log of JSON objects, one a line (``metrics.jsonl``), that survives a kill in the middle of a line."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from senumpy.errors import InputError


class Lines(NamedTuple):
    """What a log holds: its complete lines, and whether a torn last line was left out."""

    rows: list[dict[str, Any]]
    torn: bool


def append_line(path: str | os.PathLike[str], row: Mapping[str, Any]) -> None:
    """Append one JSON line, in one unbuffered write.

    Numbers that are not finite have no JSON form and become ``null``. A torn line at the end of the file,
    left by a kill, is cut off first; when the disk is full, the file is left as it was.

    Raises
    ------
    InputError
        When the file cannot be written.
    """
    path = Path(path)
    finite = {key: _finite(value) for key, value in row.items()}
    line = json.dumps(finite, allow_nan=False).encode() + b"\n"
    try:
        with path.open("r+b" if path.exists() else "w+b", buffering=0) as file:
            _append(file, line)
    except OSError as error:
        raise InputError(f"cannot append to {path}: {error.strerror or error}") from error


def read_lines(path: str | os.PathLike[str]) -> Lines:
    """Read the complete lines of a log; a torn last line is left out, and `torn` says so.

    Raises
    ------
    InputError
        When the file is missing, or a complete line is not a JSON object.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    *complete, rest = data.split(b"\n")
    return Lines(
        [_parse(line, path, number) for number, line in enumerate(complete, start=1)], torn=bool(rest)
    )


def _append(file: FileIO, line: bytes) -> None:
    end = _end_of_last_line(file)
    file.truncate(end)
    file.seek(end)
    try:
        while line:  # once, unless the disk fills up half way: then the second write says so
            line = line[file.write(line) :]
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise


def _end_of_last_line(file: FileIO) -> int:
    """Return the position after the last newline: the file's end, unless its last line is torn."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 4096)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _parse(line: bytes, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise InputError(f"{path}, line {number}: not JSON ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f"{path}, line {number}: found {type(row).__name__}, wanted a JSON object")
    return row


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
