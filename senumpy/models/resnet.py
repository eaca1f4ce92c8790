"""ResNet, ResNeXt and SENet, with and without SE.

ResNet (He et al. 2016, arXiv 1512.03385, sec. 3.3 and 4.2): for ImageNet a stem and four stages of 64 to 512
channels; for CIFAR a 3x3 stem and three stages. Each stage but the first halves the image in its first unit.
ResNeXt (Xie et al. 2017, arXiv 1611.05431) has grouped 3x3 convolutions, SENet-154 (SENet paper, appendix)
64 groups and four changes more. CIFAR's pre-activation networks (arXiv 1603.05027) and wide ones
(arXiv 1605.07146) follow the same plan. With SE, every unit of the chosen stages has an SE block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from senumpy.errors import InputError
from senumpy.layers import (
    ConvBN,
    ConvBNReLU,
    Dropout,
    GlobalAvgPool,
    Layer,
    Linear,
    PadShortcut,
    PreActivation,
    ReLU,
    Residual,
    SEConfig,
    Sequential,
)
from senumpy.models.network import Maker, Network
from senumpy.models.stems import DeepStem

EXPANSION = {"basic": 1, "bottleneck": 4}


@dataclass(frozen=True)
class ResNetConfig:
    """What makes one ResNet differ from another.

    Parameters
    ----------
    unit : {"basic", "bottleneck"}
        Two 3x3 convolutions, or 1x1, 3x3, 1x1 with four times as many channels at the end.
    blocks : tuple of int
        Units in each stage.
    widths : tuple of int
        Channels of the 3x3 convolutions in each stage; of the last convolution a quarter in bottlenecks.
    stem : {"imagenet", "deep", "cifar"}
        7x7 stride 2 and a max pool; three 3x3 and a max pool (SENet-154); or 3x3 stride 1.
    stem_width : int, optional
        Channels after the stem; as in the first stage where not given.
    activation : {"post", "pre"}
        Batch norm and ReLU after each convolution and the sum, or before each convolution.
    groups, group_width : int
        Of the 3x3 convolution in bottlenecks: ResNeXt's C x d. With 1 x 64 it is a ResNet.
    first_1x1 : int
        The first 1x1 of a bottleneck has the 3x3's channels divided by this: 2 in SENet-154.
    stride_in : {"1x1", "3x3"}
        Which convolution of a bottleneck halves the image: the first 1x1 (ResNet in the paper, Caffe) or the
        3x3 (ResNeXt, SENet-154, torchvision, timm). Basic units have it in their first 3x3.
    pool : {"ceil", "padded"}
        The stem's 3x3 max pool: Caffe's without padding, rounding up (paper), or with padding 1
        (torchvision). The size is the same, the values are not.
    shortcut : {"projection", "projection3x3", "pad"}
        Where the shape changes: 1x1 convolution and batch norm (option B); the same with 3x3 where the image
        is halved (SENet-154); or parameter-free with strided pixels and zero channels (option A, CIFAR).
    dropout : float
        Before the classifier.
    se : SEConfig or None
    """

    unit: str
    blocks: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: str = "imagenet"
    stem_width: int | None = None
    activation: str = "post"
    groups: int = 1
    group_width: int = 64
    first_1x1: int = 1
    stride_in: str = "1x1"
    pool: str = "ceil"
    shortcut: str = "projection"
    dropout: float = 0.0
    se: SEConfig | None = None

    def __post_init__(self) -> None:
        for field, known in (
            ("unit", tuple(EXPANSION)),
            ("stem", ("imagenet", "deep", "cifar")),
            ("activation", ("post", "pre")),
            ("stride_in", ("1x1", "3x3")),
            ("pool", ("ceil", "padded")),
            ("shortcut", ("projection", "projection3x3", "pad")),
        ):
            if getattr(self, field) not in known:
                raise InputError(f"{field}: got {getattr(self, field)!r}, wanted one of {', '.join(known)}")
        if len(self.blocks) != len(self.widths) or min(*self.blocks, *self.widths) < 1:
            raise InputError(
                f"blocks, widths: got {self.blocks} and {self.widths}, wanted a number for each stage"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise InputError(f"dropout: got {self.dropout!r}, wanted 0 <= dropout < 1")
        last = len(self.blocks) + 1
        if self.se and self.se.stages and not set(self.se.stages) <= set(range(2, last + 1)):
            raise InputError(f"stages: got {self.se.stages}, wanted some of 2 to {last}")

    def inner(self, width: int) -> int:
        """Return the channels of a bottleneck's 3x3 convolution in the stage of this width."""
        return width * self.group_width // 64 * self.groups


class ResNet(Network):
    """A ResNet, ResNeXt or SENet."""

    config: ResNetConfig

    def _build(self, make: Maker) -> None:
        config, num_classes = self.config, self.num_classes
        channels = config.stem_width or config.widths[0]
        self._parts = self._stem(make, channels)
        for k, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True), start=1):
            units = []
            for b in range(blocks):
                stride = 2 if k > 1 and b == 0 else 1
                units.append(_unit(config, make, channels, width, stride, stage=k + 1))
                channels = width * EXPANSION[config.unit]
            setattr(self, f"layer{k}", Sequential(*units))
            self._parts.append(getattr(self, f"layer{k}"))
        if config.activation == "pre":
            self.norm, self.relu = make.norm(channels), ReLU(self.engine)
            self._parts += [self.norm, self.relu]
        self.avgpool = GlobalAvgPool(self.engine)
        self._parts.append(self.avgpool)
        if config.dropout:
            self.dropout = Dropout(config.dropout, engine=self.engine)
            self._parts.append(self.dropout)
        self.fc = Linear(channels, num_classes, **make.settings)
        self._parts.append(self.fc)

    def _stem(self, make: Maker, channels: int) -> list[Any]:
        config = self.config
        if config.stem == "deep":
            bn = make.norm(channels)
            self.conv1: Layer = DeepStem(make, self.in_channels, channels, bn)
            self.bn1 = bn
            parts: list[Any] = [self.conv1]
        else:
            kernel, stride = (7, 2) if config.stem == "imagenet" else (3, 1)
            conv = make.conv(self.in_channels, channels, kernel, stride=stride, padding=kernel // 2)
            self.conv1 = conv
            if config.activation == "pre":
                return [conv]
            self.bn1 = make.norm(channels)
            parts = [ConvBNReLU(conv, self.bn1)]
        if config.stem != "cifar":
            padding = {"ceil_mode": True} if config.pool == "ceil" else {"padding": 1}
            self.maxpool = make.max_pool(3, 2, **padding)
            parts.append(self.maxpool)
        return parts


def _unit(config: ResNetConfig, make: Maker, channels: int, width: int, stride: int, *, stage: int) -> Layer:
    """Return one residual unit from `channels` to width * expansion channels."""
    out = width * EXPANSION[config.unit]
    if config.unit == "basic":
        inner = width
        convs = [
            make.conv(channels, width, 3, stride=stride, padding=1),
            make.conv(width, width, 3, padding=1),
        ]
    else:
        inner = config.inner(width)
        first, second = (stride, 1) if config.stride_in == "1x1" else (1, stride)
        reduced = inner // config.first_1x1
        convs = [
            make.conv(channels, reduced, 1, stride=first),
            make.conv(reduced, inner, 3, stride=second, padding=1, groups=config.groups),
            make.conv(inner, out, 1),
        ]
    placement = config.se.placement if config.se else ""
    se = make.se({"pre": channels, "3x3": inner}.get(placement, out), config.se, stage)
    kind = PreActivation if config.activation == "pre" else Residual
    return kind(convs, se=se, shortcut=_shortcut(config, make, channels, out, stride))


def _shortcut(config: ResNetConfig, make: Maker, channels: int, out: int, stride: int) -> Layer | None:
    if stride == 1 and channels == out:
        return None
    if config.shortcut == "pad":
        return PadShortcut(out, stride=stride, engine=make.engine)
    kernel = 3 if config.shortcut == "projection3x3" and stride > 1 else 1
    conv = make.conv(channels, out, kernel, stride=stride, padding=kernel // 2)
    return conv if config.activation == "pre" else ConvBN(conv, make.norm(out))
