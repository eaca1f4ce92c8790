"""The networks by name: `create_model("se_resnet50")`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines import Engine
from senumpy.errors import InputError, unknown_name
from senumpy.layers import SEConfig
from senumpy.models.resnet import ResNet, ResNetConfig


class _Entry(NamedTuple):
    config: ResNetConfig
    num_classes: int
    image_size: int


def _cifar(depth: int) -> _Entry:
    n = (depth - 2) // 6  # units in each of three stages with two convolutions each, plus stem and classifier
    return _Entry(ResNetConfig("basic", (n, n, n), (16, 32, 64), stem="cifar"), num_classes=10, image_size=32)


def _imagenet(unit: str, blocks: tuple[int, ...]) -> _Entry:
    return _Entry(ResNetConfig(unit, blocks), num_classes=1000, image_size=224)


_PLAIN = {
    **{f"resnet{depth}_cifar": _cifar(depth) for depth in (8, 20, 32, 44, 56, 110)},
    "resnet18": _imagenet("basic", (2, 2, 2, 2)),
    "resnet34": _imagenet("basic", (3, 4, 6, 3)),
    "resnet50": _imagenet("bottleneck", (3, 4, 6, 3)),
    "resnet101": _imagenet("bottleneck", (3, 4, 23, 3)),
    "resnet152": _imagenet("bottleneck", (3, 8, 36, 3)),
}
_REGISTRY = {
    **_PLAIN,
    **{
        f"se_{name}": entry._replace(config=replace(entry.config, se=SEConfig()))
        for name, entry in _PLAIN.items()
    },
}


def model_names() -> list[str]:
    """Return the names that `create_model` knows."""
    return sorted(_REGISTRY)


def image_size(name: str) -> int:
    """Return the height and width of the images that the network was published for."""
    return _entry(name).image_size


def model_config(name: str) -> ResNetConfig:
    """Return what makes the network of this name."""
    return _entry(name).config


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    se: SEConfig | None = None,
    stride_in: str | None = None,
    pool: str | None = None,
    shortcut: str | None = None,
    engine: str | Engine = "numpy",
    seed: int | None = 0,
    dtype: Any = "float32",
) -> ResNet:
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
        How SE is done; only for names that begin with `se_`.
    stride_in, pool, shortcut : str, optional
        See `ResNetConfig`; the paper's choice where not given.
    engine : str or Engine
        Who computes.
    seed : int or None
        Of the weights; the same seed gives the same weights in both dtypes. None draws fresh ones.
    dtype : "float32" or "float64"

    Raises
    ------
    InputError
        Unknown name or setting; the message says what is known.
    """
    entry = _entry(name)
    if se is not None and entry.config.se is None:
        raise InputError(f"se: {name} has no SE blocks; wanted se_{name}")
    if np.dtype(dtype) not in (np.float32, np.float64):
        raise InputError(f"dtype: got {dtype!r}, wanted float32 or float64")
    classes = entry.num_classes if num_classes is None else num_classes
    for field, value in (("num_classes", classes), ("in_channels", in_channels)):
        if value < 1:
            raise InputError(f"{field}: got {value}, wanted at least 1")
    given: dict[str, Any] = {"se": se, "stride_in": stride_in, "pool": pool, "shortcut": shortcut}
    config = replace(entry.config, **{k: v for k, v in given.items() if v is not None})
    return ResNet(
        name,
        config,
        num_classes=classes,
        in_channels=in_channels,
        engine_=engine,
        rng=np.random.default_rng(seed),
        dtype=dtype,
    )


def _entry(name: str) -> _Entry:
    if name not in _REGISTRY:
        raise unknown_name("model", name, _REGISTRY)
    return _REGISTRY[name]
