"""The settings of a training run, and the `config.toml` that keeps them."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senumpy.errors import InputError, unknown_name
from senumpy.storage import write_atomic
from senumpy.training.schedules import SCHEDULE_NAMES

PRECISIONS = ("float32", "tf32")


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a run; with the data, they determine every weight.

    Attributes
    ----------
    data : str
        Name of a data set, or a path.
    image_size : int or None
        Height and width to which images are resized; None keeps the data's own size.
    model, engine : str
        Names in the registries.
    epochs, batch_size : int
    lr : float
        Highest learning rate; batches of `batch_size`, loss as the mean over the batch.
    schedule : {"constant", "cosine", "step"}
    warmup_epochs : float
        Length of the linear warm-up.
    momentum, nesterov, weight_decay, decay_all
        See `senumpy.training.SGD`.
    label_smoothing : float
        0 <= label_smoothing < 1.
    augment : bool
        Random crops and flips of training images.
    seed : int
        Of the weights, the order of the images and their augmentation.
    threads : int or None
        Threads of the `numba` engine, or of BLAS's matrix products; None leaves the number to them. With BLAS
        it changes the last bits of results.
    device : int or None
        Number of the GPU, for an engine that has one; None takes the first.
    precision : {"float32", "tf32"} or None
        Of matrix products on a GPU; None takes the engine's own.
    deterministic : bool
        Whether a GPU's sums are made in the same order each time, which may take longer.
    workers : int
        Threads that prepare batches; changes speed, not results.
    checkpoint_minutes : float
        A checkpoint is written after each epoch, and within an epoch when this long has passed.
    """

    data: str
    model: str
    epochs: int
    batch_size: int
    lr: float
    image_size: int | None = None
    engine: str = "numpy"
    schedule: str = "cosine"
    warmup_epochs: float = 1.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_all: bool = False
    label_smoothing: float = 0.0
    augment: bool = True
    seed: int = 0
    threads: int | None = None
    device: int | None = None
    precision: str | None = None
    deterministic: bool = False
    workers: int = 1
    checkpoint_minutes: float = 5.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "image_size", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}: got {value}, wanted at least 1")
        for name in ("seed", "device", "workers", "warmup_epochs", "weight_decay", "checkpoint_minutes"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise InputError(f"{name}: got {value}, wanted a number of at least 0")
        if not 0.0 < self.lr < math.inf:
            raise InputError(f"lr: got {self.lr}, wanted a number above 0")
        for name in ("momentum", "label_smoothing"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise InputError(f"{name}: got {value}, wanted 0 <= {name} < 1")
        if self.nesterov and self.momentum == 0.0:
            raise InputError("nesterov: got momentum 0, wanted a momentum above 0")
        if self.precision not in (None, *PRECISIONS):
            raise unknown_name("precision", self.precision, PRECISIONS)
        if self.schedule not in SCHEDULE_NAMES:
            raise unknown_name("schedule", self.schedule, SCHEDULE_NAMES)

    def save(self, path: Path) -> None:
        """Write the settings to a TOML file; a setting that is None is left out."""
        lines = [
            f"{name} = {_toml(value)}\n"
            for name, value in dataclasses.asdict(self).items()
            if value is not None
        ]
        write_atomic(path, "".join(lines).encode())


# A setting and the types that it may have in TOML, which tells 1 from 1.0 where we don't mind.
_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "int | None": (int,),
    "str | None": (str,),
    "float": (float, int),
}


def load_config(path: Path) -> TrainConfig:
    """Read the settings of a run.

    Raises
    ------
    InputError
        The file is missing or not TOML, or a setting is unknown, missing, of another type or out of range.
    """
    try:
        text = path.read_bytes().decode()
        table = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise InputError(f"{path}: not a TOML file: {error}") from error
    fields = {field.name: field for field in dataclasses.fields(TrainConfig)}
    for name, value in table.items():
        if name not in fields:
            raise InputError(f"{path}: {unknown_name('setting', name, fields)}")
        wanted = str(fields[name].type)
        # Exact types: True is an int for isinstance.
        if type(value) not in _TYPES[wanted]:
            raise InputError(f"{path}: {name}: got {value!r}, wanted {wanted.removesuffix(' | None')}")
    for name, field in fields.items():
        if field.default is dataclasses.MISSING and name not in table:
            raise InputError(f"{path}: setting {name} is missing")
    try:
        return TrainConfig(**table)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML string, but for DEL, which TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
