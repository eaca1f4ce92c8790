"""The Shake-Shake unit (Gastaldi 2017, arXiv 1705.07485): two branches, mixed at random in training.

    y = shortcut(x) + SE(alpha branch1(x) + (1 - alpha) branch2(x))

The paper of SENet does not say where its SE sits; here one SE block follows the mixture, which is the end of
the unit's residual.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.layers.base import Layer
from senumpy.layers.basic import BatchNorm2d, Conv2d, ReLU
from senumpy.layers.residual import JoiningUnit, Sequential
from senumpy.layers.squeeze_excite import PixelExcite, SqueezeExcite
from senumpy.ops.arrays import Array


class ShakeShake(JoiningUnit):
    """A unit with `branch1`, `branch2`, `se` and `downsample`.

    Parameters
    ----------
    branch1, branch2 : Layer
        Of the same shape.
    backward_mode : {"shake", "even", "forward"}
        How the gradient is divided on the way back: drawn again for each image, half and half, or as in the
        forward (then it is the derivative).
    se : SqueezeExcite or PixelExcite, optional
        After the mixture, or where its configuration says. "3x3" is inside the branches: see `shake_branch`.
    shortcut : Layer, optional
        Identity where None.
    """

    draws = True

    def __init__(
        self,
        branch1: Layer,
        branch2: Layer,
        *,
        backward_mode: str = "shake",
        se: SqueezeExcite | PixelExcite | None = None,
        shortcut: Layer | None = None,
    ):
        super().__init__(branch1.engine)
        self.rng = np.random.default_rng(0)
        self.branch1, self.branch2 = branch1, branch2
        self.backward_mode = backward_mode
        self.se = se
        self.downsample = shortcut

    def forward(self, x: Array) -> Array:
        """Return the unit's result for `x` (N, C, H, W)."""
        start = self._se_at("pre", x)
        a, b = self.branch1.forward(start), self.branch2.forward(start)
        alpha, beta = self._mixtures(len(x))
        mixed, shake_cache = self.engine.shake_forward(a, b, alpha=alpha, beta=beta)
        shortcut = self._se_at("identity", self.downsample.forward(x) if self.downsample else x)
        y, cache = self._join(mixed, shortcut)
        self._keep((shake_cache, cache))
        return self._se_at("post", y)

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters; return dx, the sum over both branches and the shortcut."""
        shake_cache, cache = self._kept()
        dmixed, dshortcut = self._join_back(self._se_back("post", dy), cache)
        da, db = self.engine.shake_backward(dmixed, shake_cache)
        dx = self.engine.add_gradients(self.branch1.backward(da), self.branch2.backward(db))
        dx = self._se_back("pre", dx)
        dshortcut = self._se_back("identity", dshortcut)
        if self.downsample:
            dshortcut = self.downsample.backward(dshortcut)
        return self.engine.add_gradients(dx, dshortcut)

    def _mixtures(self, n: int) -> tuple[Any, Any]:
        """Return alpha and beta for n images: drawn in training, 1/2 in evaluation."""
        half = np.full(n, 0.5)
        if not self.training:
            return half, half
        alpha = self.rng.random(n)
        return alpha, {"shake": self.rng.random(n), "even": half, "forward": alpha}[self.backward_mode]


class ShiftedShortcut(Layer):
    """The shortcut of Shake-Shake where the shape changes: two 1x1 convolutions, the second a pixel further.

        BN(concat(conv1(relu(x)), conv2(shift(relu(x)))))

    Both have the stride; the shift moves the image down and right by a pixel, with zeros at the edge, so that
    the two see different pixels. Parameters: `conv1`, `conv2`, `bn`.
    """

    def __init__(self, channels: int, out: int, stride: int, **make: Any):
        super().__init__(make["engine"])
        half = out // 2
        self.relu = ReLU(self.engine)
        self.conv1 = Conv2d(channels, half, 1, stride=stride, **make)
        self.conv2 = Conv2d(channels, out - half, 1, stride=stride, **make)
        self.bn = BatchNorm2d(out, engine=self.engine, dtype=make["dtype"])

    def forward(self, x: Array) -> Array:
        """Return the shortcut of `x` (N, C, H, W)."""
        r = self.relu.forward(x)
        second = self.conv2.forward(self.engine.shifted(r, 1))
        y, cache = self.engine.concat_forward([self.conv1.forward(r), second])
        self._keep(cache)
        return self.bn.forward(y)

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters; return dx."""
        (dfirst, dsecond) = self.engine.concat_backward(self.bn.backward(dy), self._kept()).dxs
        back = self.engine.shifted(self.conv2.backward(dsecond), -1)
        return self.relu.backward(self.engine.add_gradients(self.conv1.backward(dfirst), back))


def shake_branch(
    steps: list[Conv2d], *, start: bool, se: SqueezeExcite | PixelExcite | None = None
) -> Sequential:
    """Return convolutions with batch norm after each and ReLU between, and before the first if `start`.

    SE, named `se`, comes before the last convolution.
    """
    layers: dict[str, Layer] = {}

    def add(layer: Layer) -> None:
        layers[str(len(layers) - ("se" in layers))] = layer

    for k, conv in enumerate(steps):
        if k or start:
            add(ReLU(conv.engine))
        if se and k == len(steps) - 1:
            layers["se"] = se
        weight = conv.weight.value
        add(conv)
        add(BatchNorm2d(len(weight), engine=conv.engine, dtype=weight.dtype))
    return Sequential(**layers)
