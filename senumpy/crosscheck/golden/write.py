"""Writing a golden set: calls, results, index, and the manifest last."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senumpy.crosscheck.exchange import call_tensors
from senumpy.crosscheck.golden.cases import GoldenCase, check_seed, golden_cases, ops_wanted
from senumpy.crosscheck.golden.given import spelt_out
from senumpy.crosscheck.golden.manifest import (
    INDEX,
    MANIFEST,
    UNFINISHED,
    case_entry,
    encoded,
    file_entry,
    index_of,
    manifest_of,
    read_manifest,
)
from senumpy.errors import InputError
from senumpy.storage import save_tensors, write_atomic

Progress = Callable[[int, int, str], None]
ROLES = ("call", "results")
_FOLDERS = ("calls", "results")


@dataclass(frozen=True)
class GoldenSummary:
    """What was written.

    Attributes
    ----------
    folder : str
    ops, cases, tensors, size : int
        Numbers of operations, cases (each in two dtypes) and tensors; bytes of all files.
    """

    folder: str
    ops: int
    cases: int
    tensors: int
    size: int

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.cases} cases of {self.ops} operation{'s' * (self.ops != 1)} in float64 "
            f"and float32, {self.tensors:,} tensors, {self.size / 1e6:.1f} MB"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers by name, for JSON."""
        return dict(vars(self))


def write_golden(
    out: str | os.PathLike[str],
    ops: str | Iterable[str] = "all",
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> GoldenSummary:
    """Write calls and their results as files that need no Python to read; README.md here says how.

    Equal arguments give equal bytes.

    Parameters
    ----------
    out : path
        A new or empty folder, or one that holds a golden set, which is replaced.
    ops : str or names
        ``"all"``, ``"conv2d,linear"``, or a list.
    seed : int
        Draws all numbers.
    progress : callable, optional
        ``progress(done, total, name)`` before each operation.

    Raises
    ------
    InputError
        An unknown operation; `out` holds something else; a file can't be written. A folder that was new or
        empty is then left as it was; in one that held a set, the next `write_golden` goes on.
    """
    check_seed(seed)
    names = ops_wanted(ops)
    folder = Path(out)
    replaced = _look(folder)
    with _all_or_unfinished(folder, fresh=replaced is None):
        for name in replaced or ():
            (folder / name).unlink(missing_ok=True)
        entries = list(_write_cases(folder, names, seed, progress))
        index = index_of(entries)
        write_atomic(folder / INDEX, index)
        text = encoded(manifest_of(entries, index, seed))
        write_atomic(folder / MANIFEST, text)
    files = [entry[role] for entry in entries for role in ROLES]
    return GoldenSummary(
        str(out),
        len(names),
        len(entries),
        sum(len(file["tensors"]) for file in files),
        sum(file["bytes"] for file in files) + len(index) + len(text),
    )


def _write_cases(
    folder: Path, names: list[str], seed: int, progress: Progress | None
) -> Iterator[dict[str, Any]]:
    for done, name in enumerate(names):
        if progress is not None:
            progress(done, len(names), name)
        for case in golden_cases([name], seed=seed):
            tensors, metadata, options = call_file(case)
            call, results = (f"{kind}/{case.name}.safetensors" for kind in _FOLDERS)
            save_tensors(folder / call, tensors, metadata)
            save_tensors(folder / results, case.results)
            yield case_entry(case, options, file_entry(folder, call), file_entry(folder, results))
    if progress is not None:
        progress(len(names), len(names), "")


def call_file(case: GoldenCase) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Return tensors and metadata of a case's call, and its options spelt out."""
    tensors, metadata = call_tensors(case.call, case.dtype)
    options = spelt_out(json.loads(metadata["options"]))
    return tensors, {**metadata, "options": json.dumps(options, sort_keys=True)}, options


def _look(folder: Path) -> list[str] | None:
    """Return the files of the set that a folder holds, None where it is new or empty; refuse all else."""
    try:
        found = sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{folder}: cannot be a golden folder: {error.strerror or error}") from error
    if not found:
        return None
    if UNFINISHED not in found:
        if MANIFEST not in found:
            raise InputError(
                f"{folder}: holds {found[0]!r} and is no golden folder: give a new folder, or empty this one"
            )
        read_manifest(folder)  # refuses a manifest of something else
    made = [path for kind in _FOLDERS for path in (folder / kind).glob("*.safetensors")]
    return [MANIFEST, INDEX, *(str(path.relative_to(folder)) for path in made)]


@contextlib.contextmanager
def _all_or_unfinished(folder: Path, *, fresh: bool) -> Iterator[None]:
    """Mark a folder as unfinished while it is written; leave nothing in one that was new where that fails."""
    existed = folder.exists()
    try:
        _make(folder)
        write_atomic(folder / UNFINISHED, b"This golden set is being written, or that was broken off.\n")
        yield
    except BaseException:
        if fresh:
            _remove(folder, itself=not existed)
        raise
    (folder / UNFINISHED).unlink()


def _make(folder: Path) -> None:
    try:
        for path in (folder, *(folder / kind for kind in _FOLDERS)):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror or error}") from error


def _remove(folder: Path, *, itself: bool) -> None:
    with contextlib.suppress(OSError):
        for kind in _FOLDERS:
            for path in (folder / kind).iterdir():
                path.unlink()
            (folder / kind).rmdir()
        for name in (INDEX, MANIFEST, UNFINISHED):
            (folder / name).unlink(missing_ok=True)
        if itself:
            folder.rmdir()
