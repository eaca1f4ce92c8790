"""VGG-16 with batch norm (Simonyan & Zisserman 2015, arXiv 1409.1556, configuration D), and SE-VGG-16.

Thirteen 3x3 convolutions in five stages, each stage with a max pool at its end; three linear layers. In
SE-VGG-16 an SE block follows the ReLU of each convolution (SENet paper, sec. 3.3).

The convolutions have no biases: batch norm would subtract them. Where published weights have some, the
running means take them in (see `senumpy.interop`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from senumpy.errors import InputError
from senumpy.layers import ConvBNReLUSE, Dropout, Flatten, Layer, Linear, ReLU, SEConfig, Sequential
from senumpy.models.network import Maker, Network, only_standard


@dataclass(frozen=True)
class VGGConfig:
    """What makes one VGG differ from another.

    Parameters
    ----------
    blocks : tuple of int
        Convolutions in each of the five stages.
    widths : tuple of int
        Their channels.
    hidden : int
        Width of the two hidden linear layers.
    image_size : int
        Height and width of the images; the first linear layer sees every pixel of the last map.
    se : SEConfig or None
    """

    blocks: tuple[int, ...] = (2, 2, 3, 3, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    hidden: int = 4096
    image_size: int = 224
    se: SEConfig | None = None

    def __post_init__(self) -> None:
        only_standard(self.se, "VGG", stages=range(1, 6))
        if self.image_size < 32:
            raise InputError(f"image_size: got {self.image_size}, wanted at least 32 for VGG's five pools")


class VGG(Network):
    """A VGG: the layers of `features` in order, and `classifier`, numbered as in torchvision."""

    config: VGGConfig
    least_size = 32

    def _build(self, make: Maker) -> None:
        config, in_channels, num_classes = self.config, self.in_channels, self.num_classes
        features: dict[str, Layer] = {}
        blocks: dict[str, Layer] = {}
        self._parts = []
        place, channels = 0, in_channels
        for stage, (width, convs) in enumerate(zip(config.widths, config.blocks, strict=True), start=1):
            for _ in range(convs):
                unit = make.unit(channels, width, 3, padding=1)
                features[str(place)], features[str(place + 1)] = unit.conv, unit.bn
                se = make.se(width, config.se, stage)
                if se:
                    blocks[str(place)] = se
                self._parts.append(ConvBNReLUSE(unit, se) if se else unit)
                place, channels = place + 3, width  # convolution, batch norm, ReLU
            features[str(place)] = pool = make.max_pool(2, 2)
            self._parts.append(pool)
            place += 1
        self.features = Sequential(**features)
        if blocks:
            self.se = Sequential(**blocks)
        pixels = (config.image_size // 32) ** 2
        sizes = (channels * pixels, config.hidden, config.hidden, num_classes)
        layers: dict[str, Layer] = {}
        self._parts.append(Flatten(self.engine))
        for k, (inputs, outputs) in enumerate(pairwise(sizes)):
            layers[str(3 * k)] = Linear(inputs, outputs, **make.settings)
            if k < 2:
                layers[str(3 * k + 1)] = ReLU(self.engine)
                layers[str(3 * k + 2)] = Dropout(0.5, engine=self.engine)
        self.classifier = Sequential(**layers)
        self._parts.append(self.classifier)
