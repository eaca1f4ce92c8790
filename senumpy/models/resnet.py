"""ResNet and SE-ResNet (He et al. 2016, arXiv 1512.03385, sec. 3.3 and 4.2; SENet paper, Table 1).

Two families: for ImageNet a 7x7 stem, a max pool and four stages of 64 to 512 channels; for CIFAR a 3x3 stem
and three stages of 16 to 64. Each stage but the first halves the image in its first unit. With SE, every unit
of the chosen stages has an SE block at the end of its branch, before the sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from senumpy.engines import Engine, engine
from senumpy.errors import InputError
from senumpy.layers import (
    BatchNorm2d,
    Conv2d,
    ConvBN,
    ConvBNReLU,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    PadShortcut,
    Residual,
    SEConfig,
    Sequential,
    SqueezeExcite,
)
from senumpy.ops.arrays import Array

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
        Channels of the 3x3 convolutions in each stage.
    stem : {"imagenet", "cifar"}
        7x7 stride 2 and a max pool, or 3x3 stride 1.
    stride_in : {"1x1", "3x3"}
        Which convolution of a bottleneck halves the image: the first 1x1 (paper, Caffe) or the 3x3
        (torchvision, timm). Basic units have it in their first 3x3.
    pool : {"ceil", "padded"}
        The stem's 3x3 max pool: Caffe's without padding, rounding up (paper), or with padding 1
        (torchvision). The size is the same, the values are not.
    shortcut : {"projection", "pad"}
        Where the shape changes: 1x1 convolution and batch norm (option B), or parameter-free with strided
        pixels and zero channels (option A, CIFAR).
    se : SEConfig or None
    """

    unit: str
    blocks: tuple[int, ...]
    widths: tuple[int, ...] = (64, 128, 256, 512)
    stem: str = "imagenet"
    stride_in: str = "1x1"
    pool: str = "ceil"
    shortcut: str = "projection"
    se: SEConfig | None = None

    def __post_init__(self) -> None:
        for field, known in (
            ("stride_in", ("1x1", "3x3")),
            ("pool", ("ceil", "padded")),
            ("shortcut", ("projection", "pad")),
        ):
            if getattr(self, field) not in known:
                raise InputError(f"{field}: got {getattr(self, field)!r}, wanted one of {', '.join(known)}")
        last = len(self.blocks) + 1
        if self.se and min(self.se.stages) > last:
            raise InputError(f"stages: got {self.se.stages}, wanted some of 2 to {last}")


class ResNet(Layer):
    """A ResNet with or without SE: (N, in_channels, H, W) images, from 8x8 up, to (N, num_classes) logits.

    Attributes
    ----------
    name : str
        The registry's name.
    config : ResNetConfig
    num_classes, in_channels : int
    """

    def __init__(
        self,
        name: str,
        config: ResNetConfig,
        *,
        num_classes: int,
        in_channels: int,
        engine_: str | Engine = "numpy",
        rng: np.random.Generator | None = None,
        dtype: Any = "float32",
    ):
        super().__init__(engine_)
        self.name, self.config = name, config
        self.num_classes, self.in_channels = num_classes, in_channels
        self.dtype = np.dtype(dtype)
        make: dict[str, Any] = {"engine": self.engine, "rng": rng, "dtype": dtype}

        kernel, stride, padding = (7, 2, 3) if config.stem == "imagenet" else (3, 1, 1)
        channels = config.widths[0]
        self.conv1 = Conv2d(in_channels, channels, kernel, stride=stride, padding=padding, **make)
        self.bn1 = BatchNorm2d(channels, engine=self.engine, dtype=dtype)
        self._stem = ConvBNReLU(self.conv1, self.bn1)
        self.maxpool = _stem_pool(config, self.engine)
        for k, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True), start=1):
            units = []
            for b in range(blocks):
                stride = 2 if k > 1 and b == 0 else 1
                units.append(_unit(config, channels, width, stride, stage=k + 1, make=make))
                channels = width * EXPANSION[config.unit]
            setattr(self, f"layer{k}", Sequential(*units))
        self._stages: list[Sequential] = [getattr(self, f"layer{k + 1}") for k in range(len(config.blocks))]
        self.avgpool = GlobalAvgPool(self.engine)
        self.fc = Linear(channels, num_classes, **make)

    def forward(self, x: Array) -> Array:
        """Return the logits (N, num_classes) of images `x` (N, in_channels, H, W) of the model's dtype."""
        if x.ndim != 4 or x.shape[1] != self.in_channels or min(x.shape[2:]) < 8:
            raise ValueError(
                f"x: got shape {x.shape}, wanted (N, {self.in_channels}, H, W) with H and W at least 8"
            )
        x = self._stem.forward(x)
        if self.maxpool:
            x = self.maxpool.forward(x)
        for stage in self._stages:
            x = stage.forward(x)
        return self.fc.forward(self.avgpool.forward(x))

    def backward(self, dy: Array, *, need_dx: bool = True) -> Any:
        """Set the gradients of all parameters for the logits' gradient `dy`.

        Return the gradient of the images, or None if it is not needed: training has no use for it.
        """
        dx = self.avgpool.backward(self.fc.backward(dy))
        for stage in reversed(self._stages):
            dx = stage.backward(dx)
        if self.maxpool:
            dx = self.maxpool.backward(dx)
        return self._stem.backward(dx, need_dx=need_dx)


def _stem_pool(config: ResNetConfig, engine_: Engine) -> MaxPool2d | None:
    if config.stem == "cifar":
        return None
    if config.pool == "ceil":
        return MaxPool2d(3, stride=2, ceil_mode=True, engine=engine_)
    return MaxPool2d(3, stride=2, padding=1, engine=engine_)


def _unit(
    config: ResNetConfig, channels: int, width: int, stride: int, *, stage: int, make: dict[str, Any]
) -> Residual:
    """Return one residual unit from `channels` to width * expansion channels."""
    out = width * EXPANSION[config.unit]
    if config.unit == "basic":
        convs = [
            Conv2d(channels, width, 3, stride=stride, padding=1, **make),
            Conv2d(width, width, 3, padding=1, **make),
        ]
    else:
        first, second = (stride, 1) if config.stride_in == "1x1" else (1, stride)
        convs = [
            Conv2d(channels, width, 1, stride=first, **make),
            Conv2d(width, width, 3, stride=second, padding=1, **make),
            Conv2d(width, out, 1, **make),
        ]
    se = SqueezeExcite(out, config.se, **make) if config.se and stage in config.se.stages else None
    return Residual(convs, se=se, shortcut=_shortcut(config, channels, out, stride, make))


def _shortcut(
    config: ResNetConfig, channels: int, out: int, stride: int, make: dict[str, Any]
) -> Layer | None:
    if stride == 1 and channels == out:
        return None
    engine_ = engine(make["engine"])
    if config.shortcut == "pad":
        return PadShortcut(out, stride=stride, engine=engine_)
    return ConvBN(
        Conv2d(channels, out, 1, stride=stride, **make),
        BatchNorm2d(out, engine=engine_, dtype=make["dtype"]),
    )
