"""Layers that only rearrange or mask, and layers side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from senumpy.engines import Engine
from senumpy.layers.base import Layer
from senumpy.layers.basic import Operation, ReLU
from senumpy.layers.residual import Sequential
from senumpy.layers.squeeze_excite import PixelExcite, SqueezeExcite
from senumpy.ops.arrays import Array


class ChannelShuffle(Operation):
    """Exchange of channels between groups; see `senumpy.ops.channel_shuffle_forward`."""

    operation = "channel_shuffle"

    def __init__(self, groups: int, *, engine: str | Engine = "numpy"):
        super().__init__(engine, groups=groups)


class Dropout(Layer):
    """Dropout in training, nothing in evaluation; `p` is the probability to be dropped."""

    draws = True

    def __init__(self, p: float, *, engine: str | Engine = "numpy"):
        super().__init__(engine)
        self.p = p
        self.rng = np.random.default_rng(0)

    def forward(self, x: Array) -> Array:
        """Drop entries of `x` in training."""
        y, cache = self.engine.dropout_forward(x, p=self.p if self.training else 0.0, rng=self.rng)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx."""
        return self.engine.dropout_backward(dy, self._kept()).dx


class Flatten(Layer):
    """(N, C, H, W) -> (N, C H W), channels slowest."""

    def forward(self, x: Array) -> Array:
        """Return the entries of each image in one row."""
        self._keep(x.shape)
        return x.reshape(len(x), -1)

    def backward(self, dy: Array) -> Array:
        """Return `dy` in the shape of the input."""
        return dy.reshape(self._kept())


class ReLU6(Layer):
    """min(max(x, 0), 6), as 6 - relu(6 - relu(x)): the activation of timm's MobileNet."""

    def __init__(self, engine: str | Engine = "numpy"):
        super().__init__(engine)
        self.below, self.above = ReLU(self.engine), ReLU(self.engine)

    def forward(self, x: Array) -> Array:
        """Return the result for `x`."""
        return 6 - self.above.forward(6 - self.below.forward(x))

    def backward(self, dy: Array) -> Array:
        """Return dx: the two signs cancel."""
        return self.below.backward(self.above.backward(dy))


class Branches(Sequential):
    """Layers side by side on one input; their results are concatenated along channels."""

    def forward(self, x: Array) -> Array:
        """Return the concatenated results for `x` (N, C, H, W)."""
        y, cache = self.engine.concat_forward(self.results(x))
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters; return dx, the sum over the branches."""
        return self.sum_back(self.engine.concat_backward(dy, self._kept()).dxs)

    def results(self, x: Array) -> list[Array]:
        """Return the results of all branches."""
        return [layer.forward(x) for layer in self]

    def sum_back(self, parts: Sequence[Array]) -> Array:
        """Return dx for the gradients of all results."""
        gradients = [layer.backward(part) for layer, part in zip(self, parts, strict=True)]
        total = gradients[0]
        for gradient in gradients[1:]:
            total = self.engine.add_gradients(total, gradient)
        return total


class InceptionModule(Layer):
    """Branches side by side, named `branches`, and after their concatenation SE, named `se`, or none."""

    def __init__(self, branches: Branches, se: SqueezeExcite | PixelExcite | None = None):
        super().__init__(branches.engine)
        self.branches = branches
        self.se = se

    def forward(self, x: Array) -> Array:
        """Return SE(concat(branches(x))) for `x` (N, C, H, W)."""
        if not isinstance(self.se, SqueezeExcite):
            y = self.branches.forward(x)
            return self.se.forward(y) if self.se else y
        parts, se = self.branches.results(x), self.se
        y, cache = self.engine.concat_se_forward(parts, *se.weights(), **se.settings())
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """Set the gradients of all parameters; return dx."""
        if not isinstance(self.se, SqueezeExcite):
            return self.branches.backward(self.se.backward(dy) if self.se else dy)
        dxs, *gradients = self.engine.concat_se_backward(dy, self._kept())
        self.se.receive(*gradients)
        return self.branches.sum_back(dxs)
