"""The networks by name: `create_model("se_resnet50")`."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines import Engine
from senumpy.errors import InputError, unknown_name
from senumpy.layers import BLANK, SEConfig
from senumpy.models.bn_inception import BNInception, BNInceptionConfig
from senumpy.models.inception_resnet import InceptionResNet, InceptionResNetConfig
from senumpy.models.mobilenet import MobileNet, MobileNetConfig
from senumpy.models.network import Network
from senumpy.models.resnet import ResNet, ResNetConfig
from senumpy.models.shake import ShakeConfig, ShakeNet
from senumpy.models.shufflenet import ShuffleNet, ShuffleNetConfig
from senumpy.models.vgg import VGG, VGGConfig


class _Entry(NamedTuple):
    build: Any  # the network's class
    config: Any
    num_classes: int
    image_size: int


def _cifar(config: Any, build: Any = ResNet) -> _Entry:
    return _Entry(build, config, num_classes=10, image_size=32)


def _imagenet(config: Any, build: Any = ResNet, image_size: int = 224) -> _Entry:
    return _Entry(build, config, num_classes=1000, image_size=image_size)


def _cifar_resnet(depth: int, *, activation: str = "post") -> _Entry:
    # A stem and a classifier, and three stages of units with two or three convolutions each.
    unit, convs = ("bottleneck", 3) if activation == "pre" and depth > 110 else ("basic", 2)
    n = (depth - 2) // (3 * convs)
    widths = (16, 32, 64)
    return _cifar(ResNetConfig(unit, (n, n, n), widths, stem="cifar", activation=activation))


def _resnext(*blocks: int) -> _Entry:
    return _imagenet(ResNetConfig("bottleneck", blocks, groups=32, group_width=4, stride_in="3x3"))


_DEPTHS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_PLAIN = {
    **{f"resnet{depth}_cifar": _cifar_resnet(depth) for depth in (8, 20, 32, 44, 56, 110)},
    **{f"preact_resnet{depth}_cifar": _cifar_resnet(depth, activation="pre") for depth in (110, 164)},
    "wrn16_8_cifar": _cifar(
        ResNetConfig("basic", (2, 2, 2), (128, 256, 512), stem="cifar", stem_width=16, activation="pre")
    ),
    "shake_shake26_2x96d_cifar": _cifar(ShakeConfig("basic", (4, 4, 4), (96, 192, 384)), ShakeNet),
    "shake_even29_2x4x64d_cifar": _cifar(
        ShakeConfig("bottleneck", (3, 3, 3), (256, 512, 1024), groups=4, backward_mode="even"), ShakeNet
    ),
    "resnet18": _imagenet(ResNetConfig("basic", (2, 2, 2, 2))),
    "resnet34": _imagenet(ResNetConfig("basic", (3, 4, 6, 3))),
    **{f"resnet{depth}": _imagenet(ResNetConfig("bottleneck", _DEPTHS[depth])) for depth in _DEPTHS},
    **{f"resnext{depth}_32x4d": _resnext(*_DEPTHS[depth]) for depth in (50, 101)},
    "vgg16_bn": _imagenet(VGGConfig(), VGG),
    "mobilenet": _imagenet(MobileNetConfig(), MobileNet),
    "shufflenet": _imagenet(ShuffleNetConfig(), ShuffleNet),
    "bn_inception": _imagenet(BNInceptionConfig(), BNInception),
    "inception_resnet_v2": _imagenet(InceptionResNetConfig(), InceptionResNet, image_size=299),
}
_SENET154 = ResNetConfig(
    "bottleneck",
    _DEPTHS[152],
    stem="deep",
    stem_width=128,
    groups=64,
    group_width=4,
    first_1x1=2,
    stride_in="3x3",
    shortcut="projection3x3",
    dropout=0.2,
    se=SEConfig(),
)
_REGISTRY = {
    **_PLAIN,
    **{
        f"se_{name}": entry._replace(config=replace(entry.config, se=SEConfig()))
        for name, entry in _PLAIN.items()
    },
    "senet154": _imagenet(_SENET154),
}


def model_names() -> list[str]:
    """Return the names that `create_model` knows."""
    return sorted(_REGISTRY)


def image_size(name: str) -> int:
    """Return the height and width of the images that the network was published for."""
    return _entry(name).image_size


def model_config(name: str) -> Any:
    """Return what makes the network of this name."""
    return _entry(name).config


def settings_for(name: str, image_size: int) -> dict[str, Any]:
    """Return the settings that a network needs to take images of this height and width."""
    fixed = hasattr(_entry(name).config, "image_size")
    return {"image_size": image_size} if fixed else {}


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    se: SEConfig | None = None,
    config: Any = None,
    engine: str | Engine = "numpy",
    seed: int | None = 0,
    blank: bool = False,
    dtype: Any = "float32",
    **settings: Any,
) -> Network:
    """Build a network with freshly drawn weights (He initialisation).

    Parameters
    ----------
    name : str
        One of `model_names()`: `resnet50`, `se_resnet50`, `se_resnet20_cifar`, ...
    num_classes : int, optional
        1000 for the ImageNet family, 10 for CIFAR where not given.
    in_channels : int
        3 for RGB, 1 for grey.
    se : SEConfig, optional
        How SE is done; only for names that begin with `se`.
    config
        The whole configuration, as of another network of this name: `model.config`.
    engine : str or Engine
        Who computes.
    seed : int or None
        Of the weights; the same seed gives the same weights in both dtypes. None draws fresh ones.
    blank : bool
        Whether weights are zeros instead: for those that will be loaded anyway, which drawing would delay.
    dtype : "float32" or "float64"
    settings
        What the family's configuration has besides, where it shall differ from the paper's choice:
        `stride_in`, `pool`, `shortcut`, ... of `ResNetConfig`, `image_size` of `VGGConfig`.

    Raises
    ------
    InputError
        Unknown name or setting; the message says what is known.
    """
    entry = _entry(name)
    classes = entry.num_classes if num_classes is None else num_classes
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise InputError(f"dtype: got {dtype!r}, wanted float32 or float64")
    for field, value in (("num_classes", classes), ("in_channels", in_channels)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"{field}: got {value!r}, wanted an int of at least 1")
    chosen = _chosen(name, config, {**settings, "se": se})
    network: Network = entry.build(
        name,
        chosen,
        num_classes=classes,
        in_channels=in_channels,
        engine=engine,
        rng=BLANK if blank else np.random.default_rng(seed),
        dtype=dtype,
    )
    network.seed_draws(0 if seed is None else seed)  # until a trainer says more
    return network


def _chosen(name: str, config: Any, settings: dict[str, Any]) -> Any:
    """Return the configuration of `name`, or the one given instead, with the settings that are not None."""
    published, se = _entry(name).config, settings["se"]
    if se is not None and published.se is None:
        raise InputError(f"se: {name} has no SE blocks; wanted se_{name}")
    if se is not None and not isinstance(se, SEConfig):
        raise InputError(f"se: got {se!r}, wanted a SEConfig")
    if config is not None and type(config) is not type(published):
        raise InputError(f"config: got {type(config).__name__}, wanted {type(published).__name__}")
    known = {field.name for field in fields(published)}
    for field in settings:
        if field not in known:
            names = ", ".join(sorted(known - {"se"})) or "none"
            raise InputError(f"{field}: {name} has no such setting; it has {names}")
    return replace(config or published, **{k: v for k, v in settings.items() if v is not None})


def _entry(name: str) -> _Entry:
    if name not in _REGISTRY:
        raise unknown_name("model", name, _REGISTRY)
    return _REGISTRY[name]
