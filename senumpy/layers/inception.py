"""The residual unit of Inception-ResNet (Szegedy et al. 2017, arXiv 1602.07261, fig. 16 to 19).

    y = relu(x + scale SE(conv(concat(branches(x)))))

The scale, 0.1 to 0.2, keeps the training of the wide networks stable (sec. 3.3 there).
"""

from __future__ import annotations

from typing import Any

from senumpy.layers.base import Layer
from senumpy.layers.basic import Conv2d, ReLU
from senumpy.layers.residual import ResidualUnit
from senumpy.layers.squeeze_excite import SEConfig, se_layer
from senumpy.layers.structure import Branches
from senumpy.ops.arrays import Array


class InceptionResidual(ResidualUnit):
    """A unit with `branch0`, `branch1`, ..., `conv2d` (with bias, without batch norm) and `se`.

    SE's places: on the residual before its scaling ("standard"), the branches' input ("pre"), after the sum
    ("post"), on the shortcut ("identity"), on the concatenation before the last convolution ("3x3").

    Parameters
    ----------
    branches : list of Layer
    channels, joined : int
        Of the input, and of the concatenation of the branches.
    scale : float
    relu : bool
        Whether ReLU follows the sum.
    se : SEConfig or None
    """

    def __init__(
        self,
        branches: list[Layer],
        channels: int,
        joined: int,
        *,
        scale: float,
        relu: bool = True,
        se: SEConfig | None = None,
        **make: Any,
    ):
        super().__init__(make["engine"])
        for k, branch in enumerate(branches):
            setattr(self, f"branch{k}", branch)
        self._branches = Branches(*branches)
        self.conv2d = Conv2d(joined, channels, 1, bias=True, **make)
        self.relu = ReLU(self.engine) if relu else None
        self.scale = scale
        self.se = se_layer(joined if se.placement == "3x3" else channels, se, **make) if se else None

    def forward(self, x: Array) -> Array:
        """Return the unit's result for `x` (N, C, H, W)."""
        c = self._se_at("3x3", self._branches.forward(self._se_at("pre", x)))
        c = self._se_at("standard", self.conv2d.forward(c))
        y, cache = self.engine.residual_add_forward(
            self.engine.times(c, self.scale), self._se_at("identity", x)
        )
        self._keep(cache)
        return self._se_at("post", self.relu.forward(y) if self.relu else y)

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters; return dx, the sum over branches and shortcut."""
        dy = self._se_back("post", dy)
        dy = self.relu.backward(dy) if self.relu else dy
        dc, dshortcut = self.engine.residual_add_backward(dy, self._kept())
        dc = self.conv2d.backward(self._se_back("standard", self.engine.times(dc, self.scale)))
        dx = self._se_back("pre", self._branches.backward(self._se_back("3x3", dc)))
        return self.engine.add_gradients(dx, self._se_back("identity", dshortcut))
