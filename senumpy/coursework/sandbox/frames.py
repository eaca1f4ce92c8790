"""Bytes between the processes: what a student's process sends is read without trust.

A reply is the length of a JSON head (8 bytes), the head, and the arrays' bytes one after the other. The head
holds status, message, notes, and each array's name, dtype and shape. Nothing is unpickled, nothing is
allocated that is not there: the sizes have to add up to the bytes that came, and the head, which grows when
it is parsed, is bounded.
"""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any

import numpy as np

_LENGTH = struct.Struct("<Q")
_DTYPE = re.compile(r"[<>|][biufc]\d{1,2}")  # numbers: no text, no objects, no structures
_KEYS = {"status", "message", "notes", "arrays"}
_HEAD = 1 << 20  # bytes; parsed they take some 60 MiB at most
_NAMES = 10_000  # arrays
_NAME = 200  # characters of an array's name
_MESSAGE = 1000  # characters
_DEPTH = 20  # of lists in lists
_EDGE = 1 << 31  # entries along one axis
_BAD = (
    ValueError, TypeError, KeyError, AttributeError, ArithmeticError, struct.error, RecursionError,
    MemoryError,
)  # fmt: skip


class BadReplyError(ValueError):
    """What a process sent is not a reply."""


def encode(head: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    """Return a reply as bytes.

    Raises
    ------
    TypeError
        An array of something else than numbers, or a head that is not JSON.
    ValueError
        A head that is too large.
    """
    entries, blocks = [], []
    for name, value in arrays.items():
        array = np.asarray(value)
        if not _DTYPE.fullmatch(array.dtype.str):
            raise TypeError(f"{name}: arrays of {array.dtype} can't be handed over")
        entries.append([str(name), array.dtype.str, list(array.shape)])
        blocks.append(array.tobytes())
    text = json.dumps({"notes": None, **head, "arrays": entries}, default=_plain).encode()
    if len(text) > _HEAD:
        raise ValueError(f"its notes take {len(text) >> 10} KiB, wanted at most {_HEAD >> 10} KiB")
    return b"".join((_LENGTH.pack(len(text)), text, *blocks))


def decode(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return head (status, message, notes) and arrays of a reply.

    Raises
    ------
    BadReplyError
        Anything else than one whole reply.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        if length > min(_HEAD, len(data) - _LENGTH.size):
            raise BadReplyError("cut off, or too large a head")
        at = _LENGTH.size + length
        head, entries = _head(data[_LENGTH.size : at])
        arrays: dict[str, np.ndarray] = {}
        for name, dtype, shape in entries:
            if not isinstance(name, str) or len(name) > _NAME or name in arrays:
                raise BadReplyError("no name")
            arrays[_text(name)], at = _array(data, at, dtype, shape)
    except BadReplyError:
        raise
    except _BAD as error:
        raise BadReplyError("no reply") from error
    if at != len(data):
        raise BadReplyError("more than a reply")
    return head, arrays


def _head(text: bytes) -> tuple[dict[str, Any], list[Any]]:
    """Return the head, and its entries for arrays."""
    head = json.loads(text.decode())
    if not isinstance(head, dict) or head.keys() != _KEYS:
        raise BadReplyError("no head")
    entries = head.pop("arrays")
    if not isinstance(entries, list) or len(entries) > _NAMES:
        raise BadReplyError("no list of arrays, or too long a one")
    status, message = head["status"], head["message"]
    if not isinstance(status, str) or not isinstance(message, str) or len(message) > _MESSAGE:
        raise BadReplyError("no status, or no message")
    return {"status": status, "message": _text(message), "notes": _notes(head["notes"], _DEPTH)}, entries


def _notes(value: Any, depth: int) -> Any:
    """Return a JSON value with text that can be written, unless it is nested too deeply."""
    if isinstance(value, str):
        return _text(value)
    if not isinstance(value, list | dict):
        return value
    if not depth:
        raise BadReplyError("nested too deeply")
    if isinstance(value, list):
        return [_notes(entry, depth - 1) for entry in value]
    return {_text(key): _notes(entry, depth - 1) for key, entry in value.items()}


def _text(value: str) -> str:
    """Return text without halves of characters: JSON may have them, a file or a terminal may not."""
    return value.encode(errors="replace").decode()


def _array(data: bytes, at: int, text: Any, shape: Any) -> tuple[np.ndarray, int]:
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise BadReplyError("no dtype")
    if not isinstance(shape, list) or not all(type(n) is int and 0 <= n < _EDGE for n in shape):
        raise BadReplyError("no shape")
    dtype, count = np.dtype(text), math.prod(shape)
    size = count * dtype.itemsize
    if len(shape) > 32 or size > len(data) - at:
        raise BadReplyError("an array that isn't there")
    if not size:
        return np.zeros(shape, dtype), at
    array = np.frombuffer(data, dtype, count, at).reshape(shape).copy()
    if dtype.kind == "b" and array.view(np.uint8).max() > 1:
        raise BadReplyError("neither true nor false")
    return array, at + size


def _plain(value: Any) -> Any:
    """Return what JSON has for a value that it doesn't know."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
