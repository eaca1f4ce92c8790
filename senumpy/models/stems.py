"""SENet-154's stem: three 3x3 convolutions instead of one 7x7 (paper, appendix)."""

from __future__ import annotations

from typing import Any

from senumpy.layers import BatchNorm2d, ConvBNReLU, Layer
from senumpy.models.network import Maker
from senumpy.ops.arrays import Array


class DeepStem(Layer):
    """3x3 stride 2, 3x3, 3x3, batch norm and ReLU after each; named as in timm: "0", "1", "3", "4", "6".

    The last batch norm, `bn`, belongs to the network by name.
    """

    def __init__(self, make: Maker, in_channels: int, channels: int, bn: BatchNorm2d):
        super().__init__(make.engine)
        half = channels // 2
        first = make.unit(in_channels, half, 3, stride=2, padding=1)
        second = make.unit(half, half, 3, padding=1)
        third = ConvBNReLU(make.conv(half, channels, 3, padding=1), bn)
        named = (first.conv, first.bn, second.conv, second.bn, third.conv)
        for place, layer in zip("01346", named, strict=True):
            setattr(self, place, layer)
        self._units = first, second, third

    def forward(self, x: Array) -> Array:
        """Return the stem's result for images `x`."""
        for unit in self._units:
            x = unit.forward(x)
        return x

    def backward(self, dy: Array, *, need_dx: bool = True) -> Any:
        """Set the gradients of all parameters; return dx, or None if it is not needed."""
        first, second, third = self._units
        return first.backward(second.backward(third.backward(dy)), need_dx=need_dx)
