"""Inception-ResNet-v2 (Szegedy et al. 2017, arXiv 1602.07261) and SE-Inception-ResNet-v2.

A stem, then 10, 20 and 10 residual units on maps of 35x35, 17x17 and 8x8 (for images of 299x299), with
reductions between them. The graph is that of the published weights, and so are the parameters' names, as in
timm. It has 13.2 G multiply-adds: the 11.75 G of the SENet paper belong to a graph that was not published.
SE acts on each unit's residual before its scaling; stages 2 to 4 are the three kinds of units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from senumpy.errors import InputError
from senumpy.layers import (
    AvgPool2d,
    Branches,
    ConvBNReLU,
    GlobalAvgPool,
    InceptionResidual,
    Layer,
    Linear,
    SEConfig,
    Sequential,
)
from senumpy.models.network import Maker, Network

EPS = 1e-3


@dataclass(frozen=True)
class InceptionResNetConfig:
    """What makes one Inception-ResNet differ from another.

    Parameters
    ----------
    blocks : tuple of int
        Units of each of the three kinds.
    scales : tuple of float
        What their residuals are multiplied by; the last unit's is 1.
    se : SEConfig or None
    """

    blocks: tuple[int, int, int] = (10, 20, 10)
    scales: tuple[float, float, float] = (0.17, 0.10, 0.20)
    se: SEConfig | None = None

    def __post_init__(self) -> None:
        if self.se and self.se.stages and not set(self.se.stages) <= {2, 3, 4}:
            raise InputError(f"stages: got {self.se.stages}, wanted some of 2 to 4")


class InceptionResNet(Network):
    """An Inception-ResNet: `conv2d_1a` to `conv2d_4a`, `mixed_5b`, `repeat`, ..., `conv2d_7b`, `classif`."""

    config: InceptionResNetConfig
    least_size = 75

    def _build(self, make: Maker) -> None:
        config, in_channels, num_classes = self.config, self.in_channels, self.num_classes
        unit = _unit_maker(make)
        self.conv2d_1a = unit(in_channels, 32, 3, stride=2)
        self.conv2d_2a = unit(32, 32, 3, padding=0)
        self.conv2d_2b = unit(32, 64, 3)
        self.maxpool_3a = make.max_pool(3, 2)
        self.conv2d_3b = unit(64, 80, 1)
        self.conv2d_4a = unit(80, 192, 3, padding=0)
        self.maxpool_5a = make.max_pool(3, 2)
        self.mixed_5b = _mixed_5b(make)
        self.repeat = self._units(make, 0, config.blocks[0])
        self.mixed_6a = _mixed_6a(make)
        self.repeat_1 = self._units(make, 1, config.blocks[1])
        self.mixed_7a = _mixed_7a(make)
        self.repeat_2 = self._units(make, 2, config.blocks[2] - 1)
        self.block8 = _residual(make, 2, config, scale=1.0, relu=False)
        self.conv2d_7b = unit(2080, 1536, 1)
        self.avgpool = GlobalAvgPool(self.engine)
        self.classif = Linear(1536, num_classes, **make.settings)
        self._parts = [layer for _, layer in self._public(Layer)]

    def _units(self, make: Maker, kind: int, count: int) -> Sequential:
        scale = self.config.scales[kind]
        return Sequential(*(_residual(make, kind, self.config, scale=scale) for _ in range(count)))


def _unit_maker(make: Maker) -> Any:
    """Return what makes a unit with this network's batch norm; kernels are padded where the stride is 1."""

    def unit(channels: int, out: int, kernel: Any, *, stride: int = 1, padding: Any = None) -> ConvBNReLU:
        sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        if padding is None:
            padding = 0 if stride > 1 else tuple(size // 2 for size in sizes)
        return make.unit(channels, out, kernel, stride=stride, padding=padding, eps=EPS)

    return unit


def _chain(make: Maker, channels: int, *steps: tuple[int, Any], stride: int = 1) -> Layer:
    """Return convolutions one after the other, given as (channels, kernel); the last has the stride."""
    unit, units = _unit_maker(make), []
    for k, (out, kernel) in enumerate(steps, start=1):
        units.append(unit(channels, out, kernel, stride=stride if k == len(steps) else 1))
        channels = out
    return units[0] if len(units) == 1 else Sequential(*units)


def _mixed_5b(make: Maker) -> Branches:
    pool = AvgPool2d(3, stride=1, padding=1, count_include_pad=False, engine=make.engine)
    return _numbered(
        _chain(make, 192, (96, 1)),
        _chain(make, 192, (48, 1), (64, 5)),
        _chain(make, 192, (64, 1), (96, 3), (96, 3)),
        Sequential(pool, _unit_maker(make)(192, 64, 1)),
    )


def _mixed_6a(make: Maker) -> Branches:
    return _numbered(
        _chain(make, 320, (384, 3), stride=2),
        _chain(make, 320, (256, 1), (256, 3), (384, 3), stride=2),
        make.max_pool(3, 2),
    )


def _mixed_7a(make: Maker) -> Branches:
    return _numbered(
        _chain(make, 1088, (256, 1), (384, 3), stride=2),
        _chain(make, 1088, (256, 1), (288, 3), stride=2),
        _chain(make, 1088, (256, 1), (288, 3), (320, 3), stride=2),
        make.max_pool(3, 2),
    )


def _numbered(*branches: Layer) -> Branches:
    return Branches(**{f"branch{k}": branch for k, branch in enumerate(branches)})


# Channels of the unit and of its branches' concatenation; the branches' convolutions as (channels, kernel).
_KINDS: tuple[tuple[int, int, tuple[tuple[tuple[int, Any], ...], ...]], ...] = (
    (320, 128, (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))),
    (1088, 384, (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))),
    (2080, 448, (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))),
)


def _residual(
    make: Maker, kind: int, config: InceptionResNetConfig, *, scale: float, relu: bool = True
) -> InceptionResidual:
    channels, joined, branches = _KINDS[kind]
    return InceptionResidual(
        [_chain(make, channels, *steps) for steps in branches],
        channels,
        joined,
        scale=scale,
        relu=relu,
        se=config.se if config.se and config.se.in_stage(kind + 2) else None,
        **make.settings,
    )
