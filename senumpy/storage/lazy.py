"""A safetensors file whose arrays are read one by one, when they are asked for: no second copy in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senumpy.errors import InputError
from senumpy.storage.header import DTYPES, Header, decoded, read_header


@dataclass(frozen=True)
class LazyTensor:
    """One array of a file: its shape is known, its numbers are read by `numpy.asarray`."""

    path: Path
    name: str
    offset: int
    shape: tuple[int, ...]
    kind: str  # of the format: F32, BF16, ...

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        count = int(np.prod(self.shape, dtype=np.int64))
        try:
            numbers = np.fromfile(self.path, DTYPES[self.kind], count, offset=self.offset)
        except OSError as error:
            raise InputError(f"cannot read {self.path}: {error.strerror or error}") from error
        if numbers.size != count:
            raise InputError(f"{self.path}: tensor {self.name!r} is cut short: the file has been changed")
        array = decoded(numbers, self.kind).reshape(self.shape)
        return array if dtype is None else array.astype(dtype, copy=False)


class TensorFile(Mapping[str, LazyTensor]):
    """The arrays of a safetensors file by name, and its `metadata`; only the header has been read.

    Raises
    ------
    InputError
        For a file that is missing, unreadable, cut short, corrupt or something else.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        header: Header = read_header(self.path)
        self.metadata = header.metadata
        self._tensors = {
            name: LazyTensor(
                self.path, name, header.start + entry["data_offsets"][0], tuple(entry["shape"]),
                entry["dtype"],
            )
            for name, entry in header.entries.items()
        }  # fmt: skip

    def __getitem__(self, name: str) -> LazyTensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)
