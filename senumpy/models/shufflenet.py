"""ShuffleNet 1x with three groups (Zhang et al. 2018, arXiv 1707.01083, Table 1) and SE-ShuffleNet."""

from __future__ import annotations

from dataclasses import dataclass

from senumpy.errors import InputError
from senumpy.layers import ConvBNReLU, GlobalAvgPool, Linear, SEConfig, Sequential, ShuffleUnit
from senumpy.models.network import Maker, Network


@dataclass(frozen=True)
class ShuffleNetConfig:
    """What makes one ShuffleNet differ from another.

    Parameters
    ----------
    groups : int
        Of the 1x1 convolutions.
    blocks, widths : tuple of int
        Units in each stage and their channels; the first unit of each stage halves the image.
    stem_width : int
    se : SEConfig or None
        Stages count from 2, as in the ShuffleNet paper.
    """

    groups: int = 3
    blocks: tuple[int, ...] = (4, 8, 4)
    widths: tuple[int, ...] = (240, 480, 960)
    stem_width: int = 24
    se: SEConfig | None = None

    def __post_init__(self) -> None:
        if self.se and self.se.stages and not set(self.se.stages) <= {2, 3, 4}:
            raise InputError(f"stages: got {self.se.stages}, wanted some of 2 to 4")


class ShuffleNet(Network):
    """A ShuffleNet: `conv1`, `bn1`, `stage2` to `stage4`, `fc`."""

    config: ShuffleNetConfig
    least_size = 32

    def _build(self, make: Maker) -> None:
        config, in_channels, num_classes = self.config, self.in_channels, self.num_classes
        channels = config.stem_width
        self.conv1 = make.conv(in_channels, channels, 3, stride=2, padding=1)
        self.bn1 = make.norm(channels)
        self.maxpool = make.max_pool(3, 2, padding=1)
        self._parts = [ConvBNReLU(self.conv1, self.bn1), self.maxpool]
        for stage, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True), start=2):
            units = []
            for b in range(blocks):
                units.append(
                    ShuffleUnit(
                        channels,
                        width,
                        groups=config.groups,
                        stride=2 if b == 0 else 1,
                        first_groups=1 if stage == 2 and b == 0 else None,
                        se=config.se if config.se and config.se.in_stage(stage) else None,
                        **make.settings,
                    )
                )
                channels = width
            setattr(self, f"stage{stage}", Sequential(*units))
            self._parts.append(getattr(self, f"stage{stage}"))
        self.avgpool = GlobalAvgPool(self.engine)
        self.fc = Linear(channels, num_classes, **make.settings)
        self._parts += [self.avgpool, self.fc]
