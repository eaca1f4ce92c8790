"""The header of a safetensors file, checked field by field before a byte of it is believed.

Layout: 8 bytes, the length n of the header (little-endian); n bytes of JSON,
``{"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, "__metadata__": {"KEY": "VALUE"}}``;
then the numbers, C order, little-endian, without gaps, at offsets counted from the end of the header
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from senumpy.errors import InputError

# bfloat16 is the upper half of a float32, and NumPy has no such numbers: see `decoded`.
DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "F16": "<f2", "U32": "<u4", "I32": "<i4",
    "BF16": "<u2", "F32": "<f4", "U64": "<u8", "I64": "<i8", "F64": "<f8",
}  # fmt: skip

_LARGEST_HEADER = 100_000_000  # the limit of the format's own library


class Header(NamedTuple):
    """What a header says: the tensors' entries, the file's metadata, and the byte at which numbers start."""

    entries: dict[str, Any]
    metadata: dict[str, str]
    start: int


def read_header(path: Path) -> Header:
    """Read and check the header of a safetensors file; its numbers are not read.

    Raises
    ------
    InputError
        For a file that is missing, unreadable, cut short, something else, or whose header does not describe
        its bytes.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            length = _header_length(start, size, str(path))
            return _checked(file.read(length), size, str(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def decoded(numbers: np.ndarray[Any, Any], dtype: str) -> np.ndarray[Any, Any]:
    """Return what numbers of this dtype of the format mean: bfloat16 becomes float32."""
    return (numbers.astype("<u4") << 16).view("<f4") if dtype == "BF16" else numbers


def check_header(data: bytes, where: str) -> dict[str, str]:
    """Check that `data` is a whole safetensors file and return its metadata.

    Parameters
    ----------
    data
        The file's bytes.
    where
        The file's name, for messages.

    Raises
    ------
    InputError
        For a file that is cut short, is something else, or whose header does not describe its bytes.
    """
    length = _header_length(data[:8], len(data), where)
    return _checked(data[8 : 8 + length], len(data), where).metadata


def _header_length(start: bytes, size: int, where: str) -> int:
    if size < 8:
        raise InputError(f"{where}: holds {size} bytes, wanted a safetensors file of at least 8")
    length = int.from_bytes(start, "little")
    if length > _LARGEST_HEADER:
        raise InputError(
            f"{where}: not a safetensors file: bytes 0 to 7 give a header of {length} bytes, "
            f"wanted at most {_LARGEST_HEADER}"
        )
    if 8 + length > size:
        raise InputError(
            f"{where}: cut short or not a safetensors file: holds {size} bytes, "
            f"wanted {8 + length} for the header alone"
        )
    return length


def _checked(header: bytes, size: int, where: str) -> Header:
    entries = _parse(header, where)
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise InputError(f"{where}: field __metadata__ in the header: wanted strings by name")
    start = 8 + len(header)
    _check_ranges(entries, size - start, where)
    return Header(entries, metadata, start)


def _parse(header: bytes, where: str) -> dict[str, Any]:
    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) != len(pairs):
            [(twice, _)] = Counter(name for name, _ in pairs).most_common(1)
            raise InputError(f"{where}: field {twice!r} stands twice in the header, wanted once")
        return fields

    try:
        entries = json.loads(header.decode("utf-8"), object_pairs_hook=without_duplicates)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{where}: not a safetensors file: the header at byte 8 is not JSON ({error})"
        ) from error
    if not isinstance(entries, dict):
        raise InputError(
            f"{where}: the header at byte 8 is JSON, but not an object with a field for each tensor"
        )
    return entries


def _check_ranges(entries: dict[str, Any], available: int, where: str) -> None:
    """Check every tensor's fields, and that the tensors fill `available` bytes without gap or overlap."""
    ranges = sorted((*_byte_range(name, entry, where), name) for name, entry in entries.items())
    end = 0
    for start, stop, name in ranges:
        if start != end:
            raise InputError(f"{where}: tensor {name!r} starts at data byte {start}, wanted {end}")
        end = stop
    if end != available:
        state = "cut short" if end > available else "too long"
        raise InputError(f"{where}: {state}: holds {available} bytes of numbers, its header wants {end}")


def _byte_range(name: str, entry: Any, where: str) -> tuple[int, int]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise InputError(
            f"{where}: tensor {name!r} in the header: wanted fields dtype, shape and data_offsets"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InputError(f"{where}: tensor {name!r} has dtype {dtype!r}, wanted one of {', '.join(DTYPES)}")
    if not _are_sizes(shape):
        raise InputError(f"{where}: tensor {name!r} has shape {shape!r}, wanted a list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise InputError(
            f"{where}: tensor {name!r} has data_offsets {offsets!r}, wanted a first and a last byte"
        )
    found, wanted = offsets[1] - offsets[0], math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
    if found != wanted:
        raise InputError(f"{where}: tensor {name!r} {shape} {dtype} has {found} bytes, wanted {wanted}")
    return offsets[0], offsets[1]


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(item) is int and item >= 0 for item in value)
