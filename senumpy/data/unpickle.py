"""Reading the pickled form of CIFAR without running what a pickle may ask for.

A pickle is a program: it may name any function of any module and have it called. This unpickler resolves five
names, all to stand-ins of its own, and refuses everything else; NumPy's reconstruction code is not reached.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.data.messages import one_line
from senumpy.errors import InputError


def unpickle_arrays(data: bytes, where: str) -> dict[Any, Any]:
    """Return a pickled dictionary of arrays, lists, bytes, strings and integers.

    Strings written by Python 2 come as bytes.

    Raises
    ------
    InputError
        For a pickle that names anything but NumPy arrays (the name is in the message), that is cut short or
        corrupt, or that is not a dictionary.
    """
    try:
        value = _Unpickler(io.BytesIO(data), where).load()
    except InputError:
        raise
    except Exception as error:  # arbitrary bytes make the unpickler raise nearly anything
        raise InputError(f"{where}: broken pickle of {len(data)} bytes: {one_line(error)}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where}: holds a pickled {type(value).__name__}, wanted a dictionary")
    return {key: item.array if isinstance(item, _Array) else item for key, item in value.items()}


class _DType:
    """Stands in for `numpy.dtype`: integers only."""

    def __init__(self, code: str | bytes, *_options: object) -> None:
        code = code.decode("ascii") if isinstance(code, bytes) else code
        if code not in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"):
            raise ValueError(f"an array of dtype {code!r}, wanted integers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        if order == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Stands in for `numpy.ndarray`; `array` is made from the state alone, whose sizes are checked."""

    array: NDArray[np.integer] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, fortran, data = state
        if not isinstance(dtype, _DType) or not isinstance(data, bytes):
            raise ValueError("an array that is not of integers")
        self.array = np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if fortran else "C")


def _reconstruct(*_arguments: object) -> _Array:
    """Stand in for NumPy's function of that name, whose result is empty until its state is set."""
    return _Array()


def _encode(text: str, encoding: str | bytes) -> bytes:
    """Stand in for `_codecs.encode`, by which Python 3 writes bytes in old protocols."""
    if encoding not in ("latin1", b"latin1"):
        raise ValueError(f"encoding {encoding!r}, wanted latin1")
    return text.encode("latin-1")


_ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, where: str) -> None:
        super().__init__(file, encoding="bytes")
        self._where = where

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise InputError(
                f"{self._where}: refused, the pickle names {module}.{name}: wanted NumPy arrays, "
                "lists, bytes, strings and integers only"
            ) from None
