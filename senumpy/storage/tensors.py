"""The one safetensors reader and writer: named arrays and text, whole or not at all, never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.errors import InputError
from senumpy.storage.atomic import write_atomic
from senumpy.storage.header import check_header

_KINDS = frozenset("?bBhHiIlLqQefd")  # numbers that both NumPy and safetensors have


def save_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write named arrays and text to a safetensors file, atomically.

    safetensors 0.8.0 writes the memory of an array that is not C-contiguous as if it were (transposed weights
    would come back scrambled), so every array is made contiguous first, and the encoded file is decoded
    and compared with the arrays, bit by bit, before it goes to disk.

    Parameters
    ----------
    path
        The file; replaced when it exists.
    tensors
        Arrays of booleans, integers or real numbers, of any shape and memory order.
    metadata
        Strings by name.

    Raises
    ------
    InputError
        When the file cannot be written; the previous one is untouched.
    TypeError
        For an array or a metadata value that the format has no place for.
    """
    arrays = {name: _plain(name, array) for name, array in tensors.items()}
    for key, value in (metadata or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata {key!r}: got {type(value).__name__}, wanted strings only")
    # None when empty: safetensors 0.8.0 writes a broken header for no tensors and an empty dictionary.
    data = _with_ordered_metadata(_library().save(arrays, metadata=dict(metadata) if metadata else None))
    _check_same(arrays, _library().load(data))
    write_atomic(path, data)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Read a safetensors file: its arrays by name (own, writable memory) and its metadata.

    Raises
    ------
    InputError
        For a file that is missing, unreadable, cut short, corrupt or something else.
    """
    where = str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {where}: {error.strerror or error}") from error
    metadata = check_header(data, where)
    try:
        views = _library().load(data)
    except Exception as error:  # the library's own error type, and whatever its conversions raise
        raise InputError(f"{where}: not a whole safetensors file: {error}") from error
    return {name: np.array(view) for name, view in views.items()}, metadata


def require_library() -> None:
    """Raise InputError where safetensors isn't installed."""
    _library()


def _plain(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return `array` in C order and the machine's byte order, as a 0-d array where it is a number."""
    array = np.asarray(array)
    if array.dtype.char not in _KINDS:
        raise TypeError(f"tensor {name!r} has dtype {array.dtype}, wanted booleans, integers or real numbers")
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _with_ordered_metadata(data: bytes) -> bytes:
    """Return an encoded file with its metadata sorted by key, so that equal content is equal bytes.

    safetensors 0.8.0 keeps metadata in a hash map and writes it in another order each time.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    if "__metadata__" not in header:
        return data
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # numbers start at a multiple of eight
    return len(text).to_bytes(8, "little") + text + data[end:]


def _check_same(arrays: Mapping[str, NDArray[Any]], read: Mapping[str, NDArray[Any]]) -> None:
    for name, array in arrays.items():
        back = read[name]
        same = back.shape == array.shape and back.dtype == array.dtype and back.tobytes() == array.tobytes()
        if not same:
            raise InputError(f"cannot save tensor {name!r}: safetensors did not encode it faithfully")


def _library() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise InputError('safetensors files need safetensors: pip install "senumpy[train]"') from None
    return safetensors.numpy
