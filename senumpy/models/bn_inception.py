"""BN-Inception (Ioffe & Szegedy 2015, arXiv 1502.03167, fig. 5) and SE-BN-Inception.

Ten modules, each with up to four branches side by side: 1x1, 3x3, two 3x3, and a pool with a 1x1 after it;
their results are concatenated. Modules 3c and 4e halve the image and keep what their max pool gives as it is.
SE follows each concatenation (SENet paper, fig. 2). Sizes are those of the authors' released network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from senumpy.layers import (
    AvgPool2d,
    Branches,
    GlobalAvgPool,
    InceptionModule,
    Layer,
    Linear,
    SEConfig,
    Sequential,
)
from senumpy.models.network import Maker, Network, only_standard


class Module(NamedTuple):
    """Channels of one module: of its 1x1, of its 3x3 and what precedes it, of two 3x3, and after the pool."""

    name: str
    one: int
    three: tuple[int, int]
    double: tuple[int, int, int]
    pool: str
    projection: int
    stride: int = 1


MODULES = (
    Module("3a", 64, (64, 64), (64, 96, 96), "avg", 32),
    Module("3b", 64, (64, 96), (64, 96, 96), "avg", 64),
    Module("3c", 0, (128, 160), (64, 96, 96), "max", 0, stride=2),
    Module("4a", 224, (64, 96), (96, 128, 128), "avg", 128),
    Module("4b", 192, (96, 128), (96, 128, 128), "avg", 128),
    Module("4c", 160, (128, 160), (128, 160, 160), "avg", 128),
    Module("4d", 96, (128, 192), (160, 192, 192), "avg", 128),
    Module("4e", 0, (128, 192), (192, 256, 256), "max", 0, stride=2),
    Module("5a", 352, (192, 320), (160, 224, 224), "avg", 128),
    Module("5b", 352, (192, 320), (192, 224, 224), "max", 128),
)


@dataclass(frozen=True)
class BNInceptionConfig:
    """SE or none; its stages are 3 to 5, as the modules are numbered."""

    se: SEConfig | None = None

    def __post_init__(self) -> None:
        only_standard(self.se, "BN-Inception", stages=range(3, 6))


class BNInception(Network):
    """BN-Inception: `conv1`, `conv2_reduce`, `conv2`, `inception_3a` to `inception_5b`, `fc`."""

    config: BNInceptionConfig
    least_size = 32

    def _build(self, make: Maker) -> None:
        config, in_channels, num_classes = self.config, self.in_channels, self.num_classes
        self.conv1 = make.unit(in_channels, 64, 7, stride=2, padding=3)
        self.pool1 = make.max_pool(3, 2, ceil_mode=True)
        self.conv2_reduce = make.unit(64, 64, 1)
        self.conv2 = make.unit(64, 192, 3, padding=1)
        self.pool2 = make.max_pool(3, 2, ceil_mode=True)
        self._parts = [self.conv1, self.pool1, self.conv2_reduce, self.conv2, self.pool2]
        channels = 192
        for module in MODULES:
            branches, channels = _branches(make, channels, module)
            made = InceptionModule(branches, make.se(channels, config.se, int(module.name[0])))
            setattr(self, f"inception_{module.name}", made)
            self._parts.append(made)
        self.avgpool = GlobalAvgPool(self.engine)
        self.fc = Linear(channels, num_classes, **make.settings)
        self._parts += [self.avgpool, self.fc]

    def check_images(self, shape: tuple[int, ...]) -> None:
        """See `Network`; raise for images whose maps can't be halved in modules 3c and 4e, too."""
        super().check_images(shape)
        for size in shape[2:]:
            rest = (size + 1) // 2
            for _ in range(2):
                rest = max(0, rest - 2) // 2 + 1  # the two max pools round up
            if rest % 4:
                raise ValueError(
                    f"x: got shape {shape}, with maps of {rest} at module 3a, wanted a multiple of 4: "
                    "images of 64, 96, 128, 160, 192, 224, 256, ... pixels"
                )


def _branches(make: Maker, channels: int, m: Module) -> tuple[Branches, int]:
    """Return a module's branches and the channels of their concatenation."""
    three, double, stride = m.three, m.double, m.stride
    pool: Layer
    if m.pool == "avg":
        pool = AvgPool2d(3, stride=1, padding=1, engine=make.engine)
    elif stride == 2:
        pool = make.max_pool(3, 2, ceil_mode=True)
    else:
        pool = make.max_pool(3, 1, padding=1)
    named: dict[str, Layer] = {"conv1x1": make.unit(channels, m.one, 1)} if m.one else {}
    named["conv3x3"] = Sequential(
        make.unit(channels, three[0], 1), make.unit(three[0], three[1], 3, stride=stride, padding=1)
    )
    named["double3x3"] = Sequential(
        make.unit(channels, double[0], 1),
        make.unit(double[0], double[1], 3, padding=1),
        make.unit(double[1], double[2], 3, stride=stride, padding=1),
    )
    named["pool"] = Sequential(pool, make.unit(channels, m.projection, 1)) if m.projection else pool
    out = m.one + three[1] + double[2] + (m.projection or channels)
    return Branches(**named), out
