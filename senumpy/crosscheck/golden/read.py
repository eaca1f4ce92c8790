"""Reading a golden folder: its cases one by one, nothing believed that the manifest does not confirm."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.golden.cases import GoldenCase
from senumpy.crosscheck.golden.given import call_from
from senumpy.crosscheck.golden.manifest import (
    INDEX,
    MANIFEST,
    UNFINISHED,
    index_of,
    read_manifest,
    sha256,
    tensor_entries,
)
from senumpy.errors import InputError, unknown_name
from senumpy.storage import load_tensors

Array = NDArray[Any]
ROLES = ("call", "results")


@dataclass(frozen=True)
class StoredCase:
    """A case of a golden folder.

    Attributes
    ----------
    folder : Path
    place : int
        Its position in the manifest.
    entry : dict
        What the manifest says about it.
    """

    folder: Path
    place: int
    entry: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """Such as ``"conv2d-03-float32"``."""
        return self.entry["name"]

    @property
    def op(self) -> str:
        """The operation."""
        return self.entry["op"]

    @property
    def dtype(self) -> np.dtype[Any]:
        """float64 or float32, of all tensors but labels and masks."""
        return np.dtype(self.entry["dtype"])

    @property
    def note(self) -> str:
        """What is special about it."""
        return self.entry["note"]

    @property
    def options(self) -> dict[str, Any]:
        """Every option of the operation by name; pairs are lists."""
        return dict(self.entry["options"])

    @property
    def inputs(self) -> dict[str, Array]:
        """Arguments, upstream gradient ``dy``, running statistics before, as the file holds them."""
        return self._read("call")

    @property
    def results(self) -> dict[str, Array]:
        """``y``, gradients, running statistics after."""
        return self._read("results")

    def bound(self, result: str) -> float:
        """Return the largest |got - want| of a result that rounding explains."""
        return float(self.entry["tolerance"]["results"][result]["bound"])

    @functools.cached_property
    def case(self) -> GoldenCase:
        """The case as one to compute with; the arrays are the file's.

        Raises
        ------
        InputError
            A file is broken, or manifest and file contradict each other.
        """
        problem = self.problem("call")
        if problem:
            raise InputError(problem)
        path = self.folder / self.entry["call"]["file"]
        tensors, metadata = load_tensors(path)
        said = {"op": self.op, "dtype": self.dtype.name, "options": json.dumps(self.options, sort_keys=True)}
        for key, value in said.items():
            if metadata.get(key) != value:
                raise InputError(
                    f"{self._where}.{key}: found {value}, wanted {metadata.get(key)} as in {path}"
                )
        try:
            seed, note = self.entry["seed"], self.note
            call = call_from(self.op, tensors, self.options, seed=seed, note=note)
            case = GoldenCase(self.name, call, self.dtype)
            _ = case.expectation  # computed here, so that what does not fit is an error of this file
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: no call of {self.op}: {type(error).__name__}: {error}") from error
        return case

    def problem(self, role: str) -> str:
        """Return what is wrong with the file of ``"call"`` or ``"results"``; empty where nothing is."""
        entry = self.entry[role]
        path, where = self.folder / entry["file"], f"{self._where}.{role}"
        try:
            data = path.read_bytes()
        except OSError as error:
            return f"{where}.file: cannot read {path}: {error.strerror or error}"
        if len(data) != entry["bytes"]:
            return f"{path}: holds {len(data)} bytes, wanted {entry['bytes']} ({where}.bytes)"
        if sha256(data) != entry["sha256"]:
            return (
                f"{path}: its sha256 is {sha256(data)[:12]}..., wanted {entry['sha256'][:12]}... "
                f"({where}.sha256): the file has been changed"
            )
        try:
            found = tensor_entries(path)
        except InputError as error:
            return str(error)
        return "" if found == entry["tensors"] else f"{where}.tensors: not those that {path} has"

    @property
    def _where(self) -> str:
        return f"{self.folder / MANIFEST}: field cases[{self.place}]"

    def _read(self, role: str) -> dict[str, Array]:
        problem = self.problem(role)
        if problem:
            raise InputError(problem)
        return load_tensors(self.folder / self.entry[role]["file"])[0]


class GoldenSet(Mapping[str, StoredCase]):
    """The cases of a golden folder by name, in the manifest's order; arrays are read when asked for.

    Attributes
    ----------
    folder : Path
    manifest : dict

    Raises
    ------
    InputError
        The folder or its manifest can't be read; file and field are named.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"{folder}: no such folder, wanted one that `senumpy golden write` made")
        if (self.folder / UNFINISHED).exists():
            raise InputError(
                f"{folder}: writing this set was broken off: run `senumpy golden write` once more"
            )
        self.manifest = read_manifest(self.folder)
        self._cases = {
            entry["name"]: StoredCase(self.folder, place, entry)
            for place, entry in enumerate(self.manifest["cases"])
        }

    def __getitem__(self, name: str) -> StoredCase:
        if name not in self._cases:
            raise unknown_name("case", name, self._cases)
        return self._cases[name]

    def __contains__(self, name: object) -> bool:
        return name in self._cases

    def __iter__(self) -> Iterator[str]:
        return iter(self._cases)

    def __len__(self) -> int:
        return len(self._cases)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with files of the set: a case's name (empty for the index) and a line each."""
        index, path = self.manifest["index"], self.folder / INDEX
        try:
            data = path.read_bytes()
        except OSError as error:
            yield "", f"cannot read {path}: {error.strerror or error}"
        else:
            if index["file"] != INDEX or sha256(data) != index["sha256"] or data != _index(self.manifest):
                yield "", f"{path}: not the lines that {self.folder / MANIFEST} wants (field index.sha256)"
        for name, case in self._cases.items():
            for role in ROLES:
                problem = case.problem(role)
                if problem:
                    yield name, problem


def _index(manifest: Mapping[str, Any]) -> bytes:
    try:
        return index_of(manifest["cases"])
    except KeyError:  # a result without a tolerance
        return b""


def load_golden(folder: str | os.PathLike[str]) -> GoldenSet:
    """Return the cases of a golden folder by name: ``load_golden("out")["relu-00-float32"].results["y"]``."""
    return GoldenSet(folder)
