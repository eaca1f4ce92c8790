"""Pre-activation residual units (He et al. 2016, "Identity mappings", arXiv 1603.05027, fig. 4e).

    y = x + conv_k(relu(BN_k( ... conv_1(relu(BN_1(x))))))

Batch norm and ReLU come before each convolution, and nothing after the sum: from unit to unit the shortcut is
the identity. Where the shape changes, the shortcut is a 1x1 convolution of the activated input.
"""

from __future__ import annotations

from collections.abc import Sequence

from senumpy.layers.base import Layer
from senumpy.layers.basic import BatchNorm2d, Conv2d, ReLU
from senumpy.layers.residual import JoiningUnit
from senumpy.layers.squeeze_excite import PixelExcite, SqueezeExcite
from senumpy.ops.arrays import Array


class PreActivation(JoiningUnit):
    """A pre-activation unit with parameters `bn1`, `conv1`, `bn2`, `conv2`, ..., `se`, `downsample`.

    SE's places: the end of the branch ("standard"), the activated input of the branch ("pre"), after the sum
    ("post"), on the shortcut ("identity"), before the last convolution ("3x3").

    Parameters
    ----------
    convs : sequence of Conv2d
        The branch; batch norm and ReLU precede each.
    se : SqueezeExcite or PixelExcite, optional
    shortcut : Layer, optional
        Acts on the activated input; identity of the input itself where None.
    """

    def __init__(
        self,
        convs: Sequence[Conv2d],
        *,
        se: SqueezeExcite | PixelExcite | None = None,
        shortcut: Layer | None = None,
    ):
        super().__init__(convs[0].engine)
        self._steps: list[tuple[BatchNorm2d, ReLU, Conv2d]] = []
        for k, conv in enumerate(convs, start=1):
            weight = conv.weight.value
            channels = weight.shape[1] * conv.settings["groups"]
            step = BatchNorm2d(channels, engine=self.engine, dtype=weight.dtype), ReLU(self.engine), conv
            for kind, layer in zip(("bn", "relu", "conv"), step, strict=True):
                setattr(self, f"{kind}{k}", layer)
            self._steps.append(step)
        self.se = se
        self.downsample = shortcut

    def forward(self, x: Array) -> Array:
        """Return the unit's result for `x` (N, C, H, W)."""
        shortcut, c = x, x
        for k, (bn, relu, conv) in enumerate(self._steps):
            c = relu.forward(bn.forward(c))
            if k == 0:
                shortcut = self.downsample.forward(c) if self.downsample else x
                c = self._se_at("pre", c)
            if k == len(self._steps) - 1:
                c = self._se_at("3x3", c)
            c = conv.forward(c)
        y, cache = self._join(c, self._se_at("identity", shortcut))
        self._keep(cache)
        return self._se_at("post", y)

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters; return dx, the sum over branch and shortcut."""
        dc, dshortcut = self._join_back(self._se_back("post", dy), self._kept())
        dshortcut = self._se_back("identity", dshortcut)
        for k, (bn, relu, conv) in reversed(list(enumerate(self._steps))):
            dc = conv.backward(dc)
            if k == len(self._steps) - 1:
                dc = self._se_back("3x3", dc)
            if k == 0:
                dc = self._se_back("pre", dc)
                if self.downsample:
                    dc = self.engine.add_gradients(dc, self.downsample.backward(dshortcut))
            dc = bn.backward(relu.backward(dc))
        return dc if self.downsample else self.engine.add_gradients(dc, dshortcut)
