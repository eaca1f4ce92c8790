"""The ShuffleNet unit (Zhang et al. 2018, arXiv 1707.01083, fig. 2): grouped 1x1, shuffle, depthwise 3x3.

    stride 1:    y = relu(x + b)
    stride 2:    y = relu(concat(avgpool3x3/2(x), b))
    with         b = SE(BN(conv3(BN(conv2(shuffle(relu(BN(conv1(x)))))))))

The paper of SENet does not say where its SE sits; at the end of the branch the published parameter count of
SE-ShuffleNet is met.
"""

from __future__ import annotations

from typing import Any

from senumpy.layers.base import Layer
from senumpy.layers.basic import AvgPool2d, BatchNorm2d, Conv2d, ReLU
from senumpy.layers.residual import ConvBN, ConvBNReLU, EndingUnit
from senumpy.layers.squeeze_excite import SEConfig, se_layer
from senumpy.layers.structure import ChannelShuffle
from senumpy.ops.arrays import Array


class ShuffleUnit(EndingUnit):
    """A unit with parameters `conv1`, `bn1`, `conv2`, `bn2`, `conv3`, `bn3`, `se`.

    Parameters
    ----------
    channels, out : int
        Of the input and of the result; with stride 2 the branch makes the `out - channels` that the pooled
        shortcut leaves.
    groups : int
        Of both 1x1 convolutions.
    stride : {1, 2}
    first_groups : int, optional
        Of the first 1x1 convolution alone: 1 in the first unit, whose input has few channels.
    se : SEConfig or None
    """

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        groups: int,
        stride: int,
        first_groups: int | None = None,
        se: SEConfig | None = None,
        **make: Any,
    ):
        super().__init__(make["engine"])
        branch = out - channels if stride == 2 else out
        middle = out // 4
        norm = {"engine": self.engine, "dtype": make["dtype"]}
        first = groups if first_groups is None else first_groups
        self.conv1 = Conv2d(channels, middle, 1, groups=first, **make)
        self.bn1 = BatchNorm2d(middle, **norm)
        self.shuffle = ChannelShuffle(groups, engine=self.engine)
        self.conv2 = Conv2d(middle, middle, 3, stride=stride, padding=1, groups=middle, **make)
        self.bn2 = BatchNorm2d(middle, **norm)
        self.conv3 = Conv2d(middle, branch, 1, groups=groups, **make)
        self.bn3 = BatchNorm2d(branch, **norm)
        self.pool: Layer | None = (
            AvgPool2d(3, stride=2, padding=1, engine=self.engine) if stride == 2 else None
        )
        self.relu = ReLU(self.engine)
        self._last_conv, self._last_bn = self.conv3, self.bn3
        self._first = ConvBNReLU(self.conv1, self.bn1)
        self._depthwise = ConvBN(self.conv2, self.bn2)
        self._last = ConvBN(self.conv3, self.bn3)
        sizes = {"pre": channels, "3x3": middle, "standard": branch, "post": out}
        sizes["identity"] = channels
        self.se = se_layer(sizes[se.placement], se, **make) if se else None

    def forward(self, x: Array) -> Array:
        """Return the unit's result for `x` (N, C, H, W)."""
        c = self.shuffle.forward(self._first.forward(self._se_at("pre", x)))
        c = self._se_at("3x3", self._depthwise.forward(c))
        shortcut = self._se_at("identity", self.pool.forward(x) if self.pool else x)
        if self.pool is None:
            return self._se_at("post", self._end(c, shortcut))
        c = self._se_at("standard", self._last.forward(c))
        y, cache = self.engine.concat_forward([shortcut, c])
        self._keep(cache)
        return self._se_at("post", self.relu.forward(y))

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters; return dx, the sum over branch and shortcut."""
        dy = self._se_back("post", dy)
        if self.pool is None:
            dc, dshortcut = self._end_backward(dy)
        else:
            dshortcut, dc = self.engine.concat_backward(self.relu.backward(dy), self._kept()).dxs
            dc = self._last.backward(self._se_back("standard", dc))
        dc = self._depthwise.backward(self._se_back("3x3", dc))
        dx = self._se_back("pre", self._first.backward(self.shuffle.backward(dc)))
        dshortcut = self._se_back("identity", dshortcut)
        if self.pool:
            dshortcut = self.pool.backward(dshortcut)
        return self.engine.add_gradients(dx, dshortcut)
