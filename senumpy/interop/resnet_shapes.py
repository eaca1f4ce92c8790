"""Which ResNet has tensors of these shapes: unit, blocks, widths, groups, SE and the registry's name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from senumpy.errors import InputError
from senumpy.layers import SEConfig
from senumpy.models import ResNetConfig, model_config, model_names

Shapes = Mapping[str, tuple[int, ...]]


class ResNetShapes(NamedTuple):
    """A network found by its shapes, and the arguments for `create_model` that they determine."""

    model: str
    settings: dict[str, Any]
    is_basic: bool
    groups: int


def find_resnet(shapes: Shapes, where: str) -> ResNetShapes:
    """Return the network for shapes under torchvision's names.

    Raises
    ------
    InputError
        No network of the registry has such tensors; says what was found.
    """
    shapes = _Named(shapes, where)
    config = _config(shapes)
    se = _se(shapes, config, where)
    for name in model_names():
        known = model_config(name)
        if isinstance(known, ResNetConfig) and bool(known.se) == bool(se) and _same(known, config):
            settings: dict[str, Any] = {
                "num_classes": shapes["fc.weight"][0],
                "in_channels": shapes["conv1.0.weight" if config.stem == "deep" else "conv1.weight"][1],
            }
            if se:
                settings["se"] = se
            if config.shortcut == "pad":
                settings["shortcut"] = "pad"
            return ResNetShapes(name, settings, config.unit == "basic", config.groups)
    raise InputError(
        f"{where}: a ResNet that is not known here: {config.unit} units, {config.blocks} in stages of "
        f"{config.widths} channels, {config.groups} groups; wanted one of ResNet-18 to 152, ResNeXt-50 or "
        "101 (32x4d), SENet-154, or a CIFAR ResNet"
    )


class _Named(dict[str, tuple[int, ...]]):
    """Shapes by name; a name that is missing is an error of the file."""

    def __init__(self, shapes: Shapes, where: str):
        super().__init__(shapes)
        self.where = where

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise InputError(f"{self.where}: missing: {name}")


def _config(shapes: _Named) -> ResNetConfig:
    """Return the configuration that the shapes show; settings without a trace have their defaults."""
    stages: list[int] = []
    while f"layer{len(stages) + 1}.0.conv1.weight" in shapes:
        k, blocks = len(stages) + 1, 0
        while f"layer{k}.{blocks}.conv1.weight" in shapes:
            blocks += 1
        stages.append(blocks)
    bottleneck = "layer1.0.conv3.weight" in shapes
    last = "conv3" if bottleneck else "conv2"
    widths = tuple(
        shapes[f"layer{k}.0.{last}.weight"][0] // (4 if bottleneck else 1) for k in range(1, len(stages) + 1)
    )
    stem = "deep" if "conv1.0.weight" in shapes else "imagenet"
    if stem == "imagenet" and shapes.get("conv1.weight", (0,))[-1] == 3:
        stem = "cifar"
    settings: dict[str, Any] = {}
    if stem == "deep":
        settings["stem_width"] = shapes["conv1.6.weight"][0]
    if bottleneck:
        first, (inner, inputs) = shapes["layer1.0.conv1.weight"][0], shapes["layer1.0.conv2.weight"][:2]
        groups = max(1, first // inputs)
        settings |= {
            "groups": groups,
            "group_width": inner // groups * 64 // widths[0],
            "first_1x1": inner // first,
        }
    projection = shapes.get("layer2.0.downsample.0.weight")
    if projection is None:
        settings["shortcut"] = "pad"
    elif projection[-1] == 3:
        settings["shortcut"] = "projection3x3"
    return ResNetConfig("bottleneck" if bottleneck else "basic", tuple(stages), widths, stem, **settings)


def _se(shapes: Shapes, config: ResNetConfig, where: str) -> SEConfig | None:
    """Return the SE that the shapes show, None without."""
    stages = range(2, len(config.blocks) + 2)
    found = [s for s in stages if f"layer{s - 1}.0.se.fc1.weight" in shapes]
    if not found:
        return None
    pairs = {shapes[f"layer{s - 1}.0.se.fc1.weight"][:2] for s in found}  # (hidden, channels)
    bias = f"layer{found[0] - 1}.0.se.fc1.bias" in shapes
    every = None if len(found) == len(stages) else tuple(found)
    for rounding in ("floor", "timm"):
        for reduction in (16, 2, 4, 8, 32):
            se = SEConfig(reduction=reduction, bias=bias, rounding=rounding, stages=every)
            if all(se.hidden(channels) == hidden for hidden, channels in pairs):
                return se
    sizes = ", ".join(f"{channels} -> {hidden}" for hidden, channels in sorted(pairs))
    raise InputError(f"{where}: hidden widths of SE that no reduction of 2 to 32 gives: {sizes}")


def _same(known: ResNetConfig, found: ResNetConfig) -> bool:
    """Return whether two configurations agree in all that shapes show."""
    unseen: dict[str, Any] = {"stride_in": "1x1", "pool": "ceil", "dropout": 0.0, "se": None}
    if known.stem == "cifar" and found.shortcut == "pad":
        unseen["shortcut"] = "pad"
    return replace(known, **unseen) == found
