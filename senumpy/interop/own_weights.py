"""Weight files and checkpoints of senumpy: what their metadata say, checked before it is believed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from senumpy.errors import InputError
from senumpy.interop.layouts import IMAGENET, Layout, Preprocessing
from senumpy.layers import SEConfig
from senumpy.models import model_config, settings_for

FORMAT = "senumpy weights"
_SMALL_CLAIM = 1024  # what a setting may be, however small the tensors are
_LARGEST_IMAGE = 8192  # pixels of a side


def own_layout(state: Mapping[str, Any], metadata: Mapping[str, str], where: str) -> Layout:
    """Return the layout of weights or a checkpoint with these metadata.

    Raises
    ------
    InputError
        A field is missing or can't be, by its name.
    """
    sources = {name: name for name in state if not name.startswith("velocity.")}
    try:
        name = metadata["model"]
        settings: dict[str, Any] = {field: int(metadata[field]) for field in ("num_classes", "in_channels")}
        if metadata["format"] == FORMAT:
            settings["config"] = _config(name, json.loads(metadata["config"]))
        prepared, classes = IMAGENET, json.loads(metadata.get("class_names", "[]"))
        if "preprocessing" in metadata:
            prepared = Preprocessing(**json.loads(metadata["preprocessing"]))
        data = json.loads(metadata.get("data", "null"))
        if data:  # a checkpoint knows the images that it was trained on
            side = max(data["image_shape"][:2])
            prepared = Preprocessing(side, side, data["mean"], data["std"])
            classes = data["class_names"]
            settings |= settings_for(name, side)
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise InputError(f"{where}: metadata of senumpy that can't be read: {_short(error)}") from None
    prepared = _checked(prepared, settings["in_channels"], where)
    if not isinstance(classes, list) or not all(isinstance(label, str) for label in classes):
        raise InputError(f"{where}: metadata class_names: wanted a list of names")
    if len(classes) not in (0, settings["num_classes"]):
        raise InputError(
            f"{where}: metadata class_names: got {len(classes)} names, wanted {settings['num_classes']}, "
            "one for each class"
        )
    return Layout("senumpy", name, settings, sources, lambda _, a, read: a, prepared, tuple(classes))


def check_claims(layout: Layout, state: Mapping[str, Any], where: str) -> None:
    """Raise for settings of a network that no file with these tensors can hold, before it is built."""
    most = max([_SMALL_CLAIM, *(size for tensor in state.values() for size in tensor.shape)])
    for field, value in _numbers(layout.settings):
        if field == "blocks" and value > len(state):
            raise InputError(f"{where}: would have {value} blocks, but the file has {len(state)} tensors")
        if value > most:
            raise InputError(f"{where}: would have {field} = {value}, but no tensor is larger than {most}")


def _checked(prepared: Preprocessing, channels: int, where: str) -> Preprocessing:
    """Return the preprocessing with tuples of floats; raise for what no image can go through."""
    for field, size in (("resize", prepared.resize), ("size", prepared.size)):
        if type(size) is not int or not 1 <= size <= _LARGEST_IMAGE:
            raise InputError(f"{where}: metadata {field}: got {size!r}, wanted 1 to {_LARGEST_IMAGE} pixels")
    if prepared.size > prepared.resize:
        raise InputError(
            f"{where}: metadata size: got {prepared.size}, wanted at most resize, the whole side"
        )
    for field, numbers, least in (("mean", prepared.mean, -math.inf), ("std", prepared.std, 0.0)):
        good = isinstance(numbers, list | tuple) and all(
            isinstance(value, int | float) and math.isfinite(value) and value > least for value in numbers
        )
        if not good or len(numbers) not in (channels, 3):
            kind = "finite numbers" if field == "mean" else "positive numbers"
            raise InputError(f"{where}: metadata {field}: got {numbers!r}, wanted {channels} {kind}")
    return prepared._replace(mean=tuple(prepared.mean), std=tuple(prepared.std))


def _numbers(settings: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield all whole numbers in the settings of a network, with the field's name; blocks are added up."""
    for field, value in settings.items():
        if dataclasses.is_dataclass(value):
            yield from _numbers(vars(value))
        elif isinstance(value, tuple) and all(isinstance(item, int) for item in value):
            yield field, sum(value) if field == "blocks" else max(value, default=0)
        elif isinstance(value, int):
            yield field, value


def _config(name: str, fields: dict[str, Any]) -> Any:
    """Return a configuration from JSON: lists become tuples again."""
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    if fields.get("se"):
        se: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields["se"].items()}
        fields["se"] = SEConfig(**se)
    return type(model_config(name))(**fields)


def _short(error: BaseException) -> str:
    return f"no field {error}" if isinstance(error, KeyError) else str(error)
