"""Bytes between the processes: what a student's process sends is read without trust.

A reply is the length of a JSON head (8 bytes), the head, and the arrays' bytes one after the other. The head
holds each array's name, dtype and shape. Nothing is unpickled, nothing is allocated that is not there: the
sizes have to add up to the bytes that came.
"""

from __future__ import annotations

import json
import math
import re
import struct
from typing import Any

import numpy as np

_LENGTH = struct.Struct("<Q")
_DTYPE = re.compile(r"[<>|=][biufcSU]\d{1,4}")
_NAMES = 10_000


class BadReplyError(ValueError):
    """What a process sent is not a reply."""


def encode(head: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    """Return a reply as bytes.

    Raises
    ------
    TypeError
        An array of Python objects, or a head that is not JSON.
    """
    entries, blocks = [], []
    for name, value in arrays.items():
        array = np.asarray(value)
        if not _DTYPE.fullmatch(array.dtype.str):
            raise TypeError(f"{name}: arrays of {array.dtype} can't be handed over")
        entries.append([str(name), array.dtype.str, list(array.shape)])
        blocks.append(array.tobytes())
    text = json.dumps({**head, "arrays": entries}, default=_plain).encode()
    return b"".join((_LENGTH.pack(len(text)), text, *blocks))


def decode(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return head and arrays of a reply.

    Raises
    ------
    BadReplyError
        Anything else than one whole reply.
    """
    try:
        (length,) = _LENGTH.unpack_from(data)
        if length > len(data) - _LENGTH.size:
            raise BadReplyError("cut off")
        at = _LENGTH.size + length
        head = json.loads(data[_LENGTH.size : at].decode())
        entries = head.pop("arrays")
        if len(entries) > _NAMES:
            raise BadReplyError("too many arrays")
        arrays: dict[str, np.ndarray] = {}
        for name, dtype, shape in entries:
            array, at = _array(data, at, dtype, shape)
            arrays[str(name)] = array
    except BadReplyError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, struct.error, RecursionError) as error:
        raise BadReplyError("no reply") from error
    if at != len(data):
        raise BadReplyError("more than a reply")
    return head, arrays


def _array(data: bytes, at: int, text: Any, shape: Any) -> tuple[np.ndarray, int]:
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise BadReplyError("no dtype")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise BadReplyError("no shape")
    dtype, count = np.dtype(text), math.prod(shape)
    size = count * dtype.itemsize
    if len(shape) > 32 or size > len(data) - at:
        raise BadReplyError("an array that isn't there")
    if not size:
        return np.zeros(shape, dtype), at
    return np.frombuffer(data, dtype, count, at).reshape(shape).copy(), at + size


def _plain(value: Any) -> Any:
    """Return what JSON has for a value that it doesn't know."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")
