"""Shake-Shake networks for CIFAR (Gastaldi 2017, arXiv 1705.07485), with and without SE.

ResNet-26 2x96d: a 3x3 stem of 16 channels and three stages of four units, each with two branches of two 3x3
convolutions. ResNeXt-29 2x4x64d: three stages of three units, each with two branches of a bottleneck with
four groups of 64 channels and more; its gradient is mixed half and half ("shake-even").
"""

from __future__ import annotations

from dataclasses import dataclass

from senumpy.errors import InputError
from senumpy.layers import (
    ConvBN,
    GlobalAvgPool,
    Linear,
    ReLU,
    SEConfig,
    Sequential,
    ShakeShake,
    ShiftedShortcut,
    shake_branch,
)
from senumpy.models.network import Maker, Network


@dataclass(frozen=True)
class ShakeConfig:
    """What makes one Shake-Shake network differ from another.

    Parameters
    ----------
    unit : {"basic", "bottleneck"}
        ReLU, 3x3, ReLU, 3x3 in each branch; or 1x1, ReLU, grouped 3x3, ReLU, 1x1.
    blocks, widths : tuple of int
        Units in each stage and their channels.
    groups : int
        Of the bottleneck's 3x3 convolution, which has as many channels as the unit.
    backward_mode : {"shake", "even", "forward"}
        Whether the mixture is drawn again on the way back, or 1/2, or the forward's.
    stem_width : int
    se : SEConfig or None
    """

    unit: str
    blocks: tuple[int, ...]
    widths: tuple[int, ...]
    groups: int = 1
    backward_mode: str = "shake"
    stem_width: int = 16
    se: SEConfig | None = None

    def __post_init__(self) -> None:
        if self.backward_mode not in ("shake", "even", "forward"):
            raise InputError(f"backward_mode: got {self.backward_mode!r}, wanted one of shake, even, forward")
        if self.se and self.se.stages and not set(self.se.stages) <= {2, 3, 4}:
            raise InputError(f"stages: got {self.se.stages}, wanted some of 2 to 4")


class ShakeNet(Network):
    """A Shake-Shake network: `conv1`, `bn1`, `layer1` to `layer3`, `fc`."""

    config: ShakeConfig

    def _build(self, make: Maker) -> None:
        config, in_channels, num_classes = self.config, self.in_channels, self.num_classes
        channels = config.stem_width
        self.conv1 = make.conv(in_channels, channels, 3, padding=1)
        self.bn1 = make.norm(channels)
        self._parts = [ConvBN(self.conv1, self.bn1)]
        for k, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True), start=1):
            units = []
            for b in range(blocks):
                stride = 2 if k > 1 and b == 0 else 1
                units.append(_unit(config, make, channels, width, stride, stage=k + 1))
                channels = width
            setattr(self, f"layer{k}", Sequential(*units))
            self._parts.append(getattr(self, f"layer{k}"))
        self.relu = ReLU(self.engine)
        self.avgpool = GlobalAvgPool(self.engine)
        self.fc = Linear(channels, num_classes, **make.settings)
        self._parts += [self.relu, self.avgpool, self.fc]


def _unit(
    config: ShakeConfig, make: Maker, channels: int, width: int, stride: int, *, stage: int
) -> ShakeShake:
    placement = config.se.placement if config.se else ""

    def branch() -> Sequential:
        se = make.se(width, config.se, stage) if placement == "3x3" else None
        if config.unit == "basic":
            convs = [
                make.conv(channels, width, 3, stride=stride, padding=1),
                make.conv(width, width, 3, padding=1),
            ]
            return shake_branch(convs, start=True, se=se)
        convs = [
            make.conv(channels, width, 1),
            make.conv(width, width, 3, stride=stride, padding=1, groups=config.groups),
            make.conv(width, width, 1),
        ]
        return shake_branch(convs, start=False, se=se)

    first, second = branch(), branch()
    se = None
    if placement != "3x3":
        se = make.se(channels if placement == "pre" else width, config.se, stage)
    same = stride == 1 and channels == width
    shortcut = None if same else ShiftedShortcut(channels, width, stride, **make.settings)
    return ShakeShake(first, second, backward_mode=config.backward_mode, se=se, shortcut=shortcut)
