"""Checkpoints: all that a run needs to go on as if nothing had happened, in one safetensors file.

Tensors: parameters and batch-norm buffers under their own names (so the file is a weight file too), and
`velocity.NAME` for each parameter. Metadata, all strings: format, format_version, model, num_classes,
in_channels, dtype, and as JSON `position`, `data` and `config`.

No state of a random generator is in it, because there is none: every random draw of a run is a function of
(seed, epoch, image), so the seed in `config` and the position say it all.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from senumpy.errors import InputError
from senumpy.models import Network
from senumpy.storage import load_tensors, save_tensors
from senumpy.training.config import TrainConfig
from senumpy.training.errors import TrainingError
from senumpy.training.evaluate import Tally
from senumpy.training.sgd import SGD
from senumpy.training.trainer import Position

FORMAT = "senumpy checkpoint"
VERSION = "1"
_VELOCITY = "velocity."


@dataclass(frozen=True)
class DataInfo:
    """What a model has to know of its training data in order to be used on other data.

    Attributes
    ----------
    name : str
    class_names : tuple of str
    image_shape : tuple of int
        (H, W, C).
    mean, std : tuple of float
        Of each channel, with which the images were normalised.
    """

    name: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as read: what it says of itself, and its tensors."""

    path: Path
    model: str
    num_classes: int
    in_channels: int
    dtype: str
    config: TrainConfig
    data: DataInfo
    position: Position
    state: dict[str, np.ndarray[Any, Any]]
    velocities: dict[str, np.ndarray[Any, Any]]

    def restore(self, model: Network, sgd: SGD | None = None) -> None:
        """Copy the weights into `model` and the velocities into `sgd`.

        Raises
        ------
        InputError
            The checkpoint is of another model; names the file, the field, what was found and wanted.
        """
        for field, found, wanted in (
            ("model", self.model, model.name),
            ("num_classes", self.num_classes, model.num_classes),
            ("in_channels", self.in_channels, model.in_channels),
            ("dtype", self.dtype, str(model.dtype)),
        ):
            if found != wanted:
                raise InputError(f"{self.path}: {field} is {found}, wanted {wanted}")
        try:
            model.load_state_dict(self.state)
            if sgd is not None:
                sgd.load_state_dict(self.velocities)
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from None


def save_checkpoint(
    path: Path, model: Network, sgd: SGD, position: Position, config: TrainConfig, data: DataInfo
) -> None:
    """Write a checkpoint; the one before stays until the new one is whole on the disk.

    Raises
    ------
    TrainingError
        A weight or a running statistic is not finite: such a state is not worth keeping.
    InputError
        The file cannot be written.
    """
    state = model.state_dict()
    for name, value in state.items():
        if not np.isfinite(value).all():
            raise TrainingError(
                f"{name} is no longer finite at step {position.step} (epoch {position.epoch + 1}): "
                "use a smaller learning rate or a longer warm-up"
            )
    velocities = {_VELOCITY + name: value for name, value in sgd.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "format_version": VERSION,
        "model": model.name,
        "num_classes": str(model.num_classes),
        "in_channels": str(model.in_channels),
        "dtype": str(model.dtype),
        "config": json.dumps(dataclasses.asdict(config)),
        "data": json.dumps(dataclasses.asdict(data)),
        "position": json.dumps(dataclasses.asdict(position)),  # floats survive JSON: repr is exact
    }
    save_tensors(path, {**state, **velocities}, metadata)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises
    ------
    InputError
        The file is missing, cut short, or no checkpoint of this version; names file, field, found, wanted.
    """
    tensors, metadata = load_tensors(path)

    def read(field: str, parse: Callable[[str], Any] = str) -> Any:
        if field not in metadata:
            raise InputError(f"{path}: metadata field {field} is missing; wanted what `senumpy train` writes")
        try:
            return parse(metadata[field])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: metadata field {field}: {error}") from None

    for field, wanted in (("format", FORMAT), ("format_version", VERSION)):
        if read(field) != wanted:
            raise InputError(f"{path}: metadata field {field} is {read(field)!r}, wanted {wanted!r}")
    return Checkpoint(
        path=path,
        model=read("model"),
        num_classes=read("num_classes", int),
        in_channels=read("in_channels", int),
        dtype=read("dtype"),
        config=read("config", lambda text: TrainConfig(**json.loads(text))),
        data=read("data", lambda text: _data_info(json.loads(text))),
        position=read("position", lambda text: _position(json.loads(text))),
        state={name: t for name, t in tensors.items() if not name.startswith(_VELOCITY)},
        velocities={
            name.removeprefix(_VELOCITY): t for name, t in tensors.items() if name.startswith(_VELOCITY)
        },
    )


def _data_info(fields: dict[str, Any]) -> DataInfo:
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in dict(fields).items()}
    return DataInfo(**values)  # JSON has no tuples


def _position(fields: dict[str, Any]) -> Position:
    return Position(**{**dict(fields), "tally": Tally(**fields["tally"])})
