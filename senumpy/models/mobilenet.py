"""MobileNet 1.0 (Howard et al. 2017, arXiv 1704.04861, Table 1) and SE-MobileNet.

A 3x3 stem and thirteen blocks: a depthwise 3x3 convolution, then a pointwise 1x1 one, batch norm and ReLU
after each. The SENet paper does not say where its SE sits; after each block its published counts are met
(4.7 M parameters, 572 M multiply-adds). Parameters are named as in timm.
"""

from __future__ import annotations

from dataclasses import dataclass

from senumpy.errors import InputError
from senumpy.layers import (
    BatchNorm2d,
    Conv2d,
    ConvBN,
    ConvBNReLU,
    ConvBNReLUSE,
    GlobalAvgPool,
    Layer,
    Linear,
    PixelExcite,
    ReLU6,
    SEConfig,
    Sequential,
    SqueezeExcite,
)
from senumpy.models.network import Maker, Network, only_standard
from senumpy.ops.arrays import Array


@dataclass(frozen=True)
class MobileNetConfig:
    """What makes one MobileNet differ from another.

    Parameters
    ----------
    blocks, widths : tuple of int
        Blocks in each stage and their channels; each stage but the first halves the image in its first block.
    stem_width : int
    activation : {"relu", "relu6"}
        The paper's, or min(max(x, 0), 6) as in timm.
    se : SEConfig or None
    """

    blocks: tuple[int, ...] = (1, 2, 2, 6, 2)
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)
    stem_width: int = 32
    activation: str = "relu"
    se: SEConfig | None = None

    def __post_init__(self) -> None:
        if self.activation not in ("relu", "relu6"):
            raise InputError(f"activation: got {self.activation!r}, wanted one of relu, relu6")
        only_standard(self.se, "MobileNet", stages=range(1, 6))


class MobileNet(Network):
    """A MobileNet: `conv_stem`, `bn1`, `blocks`, `classifier`."""

    config: MobileNetConfig
    least_size = 32

    def _build(self, make: Maker) -> None:
        config, in_channels, num_classes = self.config, self.in_channels, self.num_classes
        channels = config.stem_width
        self.conv_stem = make.conv(in_channels, channels, 3, stride=2, padding=1)
        self.bn1 = make.norm(channels)
        self._parts = _activated(self, "act1", self.conv_stem, self.bn1, config.activation)
        stages = []
        for k, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True)):
            units = []
            for b in range(blocks):
                stride = 2 if k and b == 0 else 1
                units.append(SeparableBlock(make, channels, width, stride, config, stage=k + 1))
                channels = width
            stages.append(Sequential(*units))
        self.blocks = SeparableStages(*stages)
        self.avgpool = GlobalAvgPool(self.engine)
        self.classifier = Linear(channels, num_classes, **make.settings)
        self._parts += [self.blocks, self.avgpool, self.classifier]


class SeparableStages(Sequential):
    """The stages of blocks. In inference SE's gates can wait for the next block's depthwise convolution."""

    def forward(self, x: Array) -> Array:
        """Pass `x` through all blocks."""
        blocks = [block for stage in self for block in stage]  # type: ignore[attr-defined]
        kept = self.training or self.recording or not self.engine.defers_gates
        if kept or not all(block.can_defer for block in blocks):
            return super().forward(x)
        gates = None
        for block in blocks:
            x, gates = block.forward_gated(x, gates)
        return x if gates is None else self.engine.scale_forward(x, gates)[0]


class SeparableBlock(Layer):
    """A depthwise and a pointwise convolution, and SE: `conv_dw`, `bn1`, `conv_pw`, `bn2`, `se`."""

    def __init__(
        self, make: Maker, channels: int, out: int, stride: int, config: MobileNetConfig, *, stage: int
    ):
        super().__init__(make.engine)
        self.conv_dw = make.conv(channels, channels, 3, stride=stride, padding=1, groups=channels)
        self.bn1 = make.norm(channels)
        self.conv_pw = make.conv(channels, out, 1)
        self.bn2 = make.norm(out)
        self.se = make.se(out, config.se, stage)
        *others, last = [
            *_activated(self, "act1", self.conv_dw, self.bn1, config.activation),
            *_activated(self, "act2", self.conv_pw, self.bn2, config.activation),
        ]
        self._pointwise = last
        if self.se:
            last = ConvBNReLUSE(last, self.se) if isinstance(last, ConvBNReLU) else Sequential(last, self.se)
        self._units = [*others, last]

    def forward(self, x: Array) -> Array:
        """Return the block's result for `x` (N, C, H, W)."""
        for unit in self._units:
            x = unit.forward(x)
        return x

    @property
    def can_defer(self) -> bool:
        """Whether `forward_gated` can run the block."""
        return isinstance(self._units[0], ConvBNReLU) and not isinstance(self.se, PixelExcite)

    def forward_gated(self, x: Array, gates: Array | None) -> tuple[Array, Array | None]:
        """Return the block's result for gates x before its own SE, and the gates of that, in inference."""
        conv, bn, se = self.conv_dw, self.bn1, self.se
        if gates is None:
            x = self._units[0].forward(x)
        else:
            x = self.engine.gated_conv_bn_relu_inference(
                x, gates, conv.weight.value, *bn.values(), eps=bn.eps, **conv.settings
            )
        x = self._pointwise.forward(x)
        if not isinstance(se, SqueezeExcite):
            return x, None
        return x, self.engine.squeeze_excite_gates(x, *se.weights(), **se.settings())

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters; return dx."""
        for unit in reversed(self._units):
            dy = unit.backward(dy)
        return dy


def _activated(owner: Layer, name: str, conv: Conv2d, bn: BatchNorm2d, activation: str) -> list[Layer]:
    """Return the layers of activation(bn(conv(x))); one without parameters gets a name of the owner's."""
    if activation == "relu":
        return [ConvBNReLU(conv, bn)]
    act = ReLU6(conv.engine)
    setattr(owner, name, act)
    return [ConvBN(conv, bn), act]
