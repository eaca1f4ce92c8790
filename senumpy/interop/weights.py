"""Weights in: files of other projects, recognised by their names, into the network that they belong to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines import Engine
from senumpy.engines.shapes import ShapeEngine
from senumpy.errors import InputError
from senumpy.interop.foreign_names import foreign_state
from senumpy.interop.layouts import IMAGENET, Layout, Preprocessing, recognise
from senumpy.interop.own_weights import FORMAT, check_claims, own_layout
from senumpy.interop.pickled import PickledTensors
from senumpy.models import Network, create_model
from senumpy.storage import TensorFile, save_tensors

_PICKLES = (".pth", ".pt", ".th", ".bin")


class Imported(NamedTuple):
    """A network with its weights, whose names they had, and what it does to images before."""

    model: Network
    layout: str
    preprocessing: Preprocessing
    class_names: tuple[str, ...]


def load_model(path: str | Path, *, engine: str | Engine = "numpy", dtype: Any = "float32") -> Network:
    """Build the network that a weight file belongs to, with its weights; see `import_weights`."""
    return import_weights(path, engine=engine, dtype=dtype).model


def import_weights(path: str | Path, *, engine: str | Engine = "numpy", dtype: Any = "float32") -> Imported:
    """Build the network that a weight file belongs to, with its weights, and say what is known of it.

    Parameters
    ----------
    path : path
        A run folder, `.safetensors`, or a file of PyTorch (`.pth`, `.pt`, `.th`, `.bin`), which is read by
        ``torch.load(weights_only=True)`` where PyTorch is installed and never unpickled otherwise.
    engine, dtype
        As in `create_model`.

    Raises
    ------
    InputError
        The file is missing, damaged or of no known layout; a tensor is missing, left over, of the wrong shape
        or not finite: by name.
    """
    path = Path(path)
    if path.is_dir():
        path /= "checkpoint.safetensors"  # of a run folder
    state, metadata = _open(path)
    try:
        if metadata.get("format", "").startswith("senumpy"):
            layout = own_layout(state, metadata, str(path))
        else:
            layout = recognise({name: tuple(a.shape) for name, a in state.items()}, str(path))
        check_claims(layout, state, str(path))
        # Names and shapes are compared before any memory is asked for.
        skeleton = create_model(layout.model, engine=ShapeEngine(), blank=True, **layout.settings)
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # Names of a known layout on tensors that don't make a network: there is no end of such files.
        raise InputError(
            f"{path}: has names of a known layout, but not the tensors of a network ({error!r})"
        ) from None
    try:
        renamed = _Renamed(state, layout)
        skeleton.check_state(renamed)
        model = create_model(layout.model, engine=engine, dtype=dtype, blank=True, **layout.settings)
        model.load_state_dict(renamed)
    except InputError as error:
        raise InputError(f"{path} ({layout.name}, {layout.model}): {error}") from None
    for name, holder in [*model.named_parameters(), *model.named_buffers()]:
        numbers, source = model.engine.to_numpy(holder.value), layout.sources[name]
        if not np.isfinite(numbers).all():
            raise InputError(
                f"{path}: tensor {source!r} holds NaN, infinity or what is too large for {numbers.dtype}, "
                "wanted finite numbers"
            )
        if name.endswith("running_var") and numbers.min() < 0:
            raise InputError(f"{path}: tensor {source!r} is a variance, and holds {numbers.min()}")
    return Imported(model, layout.name, layout.preprocessing, layout.class_names)


def save_weights(
    path: Path,
    model: Network,
    *,
    preprocessing: Preprocessing = IMAGENET,
    class_names: Sequence[str] = (),
) -> None:
    """Write parameters and buffers under their names, with what is needed to build and use the network."""
    metadata = {
        "format": FORMAT,
        "model": model.name,
        "num_classes": str(model.num_classes),
        "in_channels": str(model.in_channels),
        "config": json.dumps(dataclasses.asdict(model.config)),
        "preprocessing": json.dumps(preprocessing._asdict()),
        "class_names": json.dumps(list(class_names)),
    }
    save_tensors(path, model.state_dict(), metadata)


def save_foreign(path: Path, model: Network) -> str:
    """Write the weights under the names of timm or torchvision; return whose `load_state_dict` takes them.

    Raises
    ------
    InputError
        Neither has a network that computes the same.
    """
    twin, state = foreign_state(model)
    save_tensors(path, state)
    return twin


def _open(path: Path) -> tuple[Mapping[str, Any], dict[str, str]]:
    """Return arrays by name, read when they are asked for where the format allows, and the metadata."""
    if path.suffix == ".safetensors":
        file = TensorFile(path)
        return file, file.metadata
    if path.suffix not in _PICKLES:
        wanted = ", ".join((".safetensors", *_PICKLES))
        raise InputError(f"{path}: unknown kind of weight file {path.suffix!r}, wanted one of {wanted}")
    return PickledTensors(path), {}


class _Renamed(Mapping[str, Any]):
    """A state under this project's names; an array is read and transformed when it is asked for."""

    def __init__(self, state: Mapping[str, Any], layout: Layout):
        self._state, self._layout = state, layout

    def __getitem__(self, name: str) -> Any:
        return _Source(name, self._state, self._layout)

    def __iter__(self) -> Any:
        return iter(self._layout.sources)

    def __len__(self) -> int:
        return len(self._layout.sources)


class _Source:
    """One array, not read yet."""

    def __init__(self, name: str, state: Mapping[str, Any], layout: Layout):
        self._name, self._state, self._layout = name, state, layout

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the file; a VGG's first linear layers may be convolutions there."""
        shape = tuple(self._state[self._layout.sources[self._name]].shape)
        linear = self._name.startswith("classifier") and len(shape) == 4
        return (shape[0], int(np.prod(shape[1:]))) if linear else shape

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        def read(name: str) -> np.ndarray[Any, Any]:
            array = np.asarray(self._state[name])
            if array.dtype.kind != "f":
                raise InputError(f"tensor {name!r} has dtype {array.dtype}, wanted floating-point numbers")
            return array

        array = self._layout.transform(self._name, read(self._layout.sources[self._name]), read)
        return array if dtype is None else array.astype(dtype, copy=False)
