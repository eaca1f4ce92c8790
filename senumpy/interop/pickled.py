"""Weight files of PyTorch: read by PyTorch with `weights_only`, tensor by tensor, and never otherwise."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senumpy.errors import InputError

# Pages of a mapped file stay in memory until the mapping ends: it is mapped anew after each of these parts.
_PARTS = 8
_FLOATS = ("torch.float16", "torch.float32", "torch.float64")
_NESTS = ("state_dict", "model")  # where training scripts put the weights in what else they save


class PickledTensors(Mapping[str, "PickledTensor"]):
    """The tensors of a .pth, .pt, .th or .bin file by name; numbers are read when they are asked for.

    Raises
    ------
    InputError
        PyTorch is not installed; or the file is missing, damaged, or holds more than tensors.
    """

    def __init__(self, path: Path) -> None:
        try:
            import torch  # noqa: F401
        except ImportError:
            raise InputError(
                f"{path}: a pickle, which PyTorch alone may read here; install torch, or convert the file to "
                ".safetensors where torch is installed"
            ) from None
        if not path.is_file():
            raise InputError(f"cannot read {path}: {'a folder' if path.is_dir() else 'no such file'}")
        self._path = path
        self._tensors, self._mapped = _load(path)
        self._shapes = {name: tuple(tensor.shape) for name, tensor in self._tensors.items()}
        self._bytes_read = 0

    def __getitem__(self, name: str) -> PickledTensor:
        return PickledTensor(self, name, self._shapes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def numbers(self, name: str) -> np.ndarray[Any, Any]:
        """Return a tensor's numbers; floats that NumPy lacks (bfloat16, float8) as float32."""
        full = self._mapped and self._bytes_read > self._path.stat().st_size // _PARTS
        if full or name not in self._tensors:
            self._tensors, self._mapped = _load(self._path)
            self._bytes_read = 0
        tensor = self._tensors[name].detach()
        if not self._mapped:  # it is in memory, which the network's own array will need
            del self._tensors[name]
        self._bytes_read += tensor.numel() * tensor.element_size()
        if tensor.is_floating_point() and str(tensor.dtype) not in _FLOATS:
            tensor = tensor.float()
        array: np.ndarray[Any, Any] = tensor.numpy()
        return array


@dataclass(frozen=True)
class PickledTensor:
    """One tensor: its shape is known, its numbers are read by `numpy.asarray`."""

    file: PickledTensors
    name: str
    shape: tuple[int, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        array = self.file.numbers(self.name)
        return array if dtype is None else array.astype(dtype, copy=False)


def _load(path: Path) -> tuple[dict[str, Any], bool]:
    """Return the tensors by name, and whether they lie in the mapped file."""
    import torch

    mapped = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what it would warn of is refused anyway
            try:
                loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            except RuntimeError:  # the format before zip files can't be mapped
                loaded = torch.load(path, map_location="cpu", weights_only=True)
                mapped = False
    except Exception as error:  # unpickling errors of many kinds; all of them mean: not weights alone
        raise InputError(
            f"{path}: PyTorch refuses it as a file of weights alone: it is damaged, or holds more than "
            f"tensors ({type(error).__name__})"
        ) from None
    while isinstance(loaded, dict):
        inner = [loaded[key] for key in _NESTS if isinstance(loaded.get(key), dict)]
        if not inner:
            break
        loaded = inner[0]
    if not isinstance(loaded, dict):
        raise InputError(f"{path}: wanted a dictionary of tensors by name, found {type(loaded).__name__}")
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            found = f"{name!r}: {type(tensor).__name__}"
            raise InputError(
                f"{path}: wanted tensors by name, alone or under {' or '.join(map(repr, _NESTS))}, "
                f"found {found}"
            )
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise InputError(f"{path}: tensor {name!r} is sparse, quantised or empty, wanted plain numbers")
        held = tensor.untyped_storage().nbytes() // tensor.element_size()
        if tensor.numel() > held:  # one number that stands for all: no trained weights look so
            raise InputError(
                f"{path}: tensor {name!r} claims {tuple(tensor.shape)}, but its storage holds {held} numbers"
            )
    return loaded, mapped
