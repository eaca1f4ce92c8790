"""Layers with one operation each: convolution, linear, batch norm, ReLU, pools."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.layers.base import Buffer, Layer, Parameter
from senumpy.layers.initialisation import he_normal
from senumpy.ops.arrays import Array
from senumpy.ops.windows import IntOrPair, pair


class Conv2d(Layer):
    """2-D convolution: `weight` (O, C/groups, kh, kw), `bias` (O,) or None.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel : int or pair
    stride, padding, dilation, groups
        As in `senumpy.ops.conv2d_forward`.
    bias : bool
        Off by default: batch norm follows, which would subtract it.
    engine, rng, dtype
        Who computes, where the weights are drawn from (He initialisation), float32 or float64.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: IntOrPair,
        *,
        stride: IntOrPair = 1,
        padding: IntOrPair = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = False,
        engine: str | Engine = "numpy",
        rng: np.random.Generator | None = None,
        dtype: Any = "float32",
    ):
        super().__init__(engine)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups: got {groups}, wanted a divisor of {in_channels} (in_channels) "
                f"and of {out_channels} (out_channels)"
            )
        shape = (out_channels, in_channels // groups, *pair("kernel", kernel, 1))
        self.weight = Parameter(he_normal(shape, engine=self.engine, rng=rng, dtype=dtype))
        self.bias = Parameter(self.engine.zeros((out_channels,), dtype), decay=False) if bias else None
        self.settings: dict[str, Any] = {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
        }

    def forward(self, x: Array) -> Array:
        """Convolve `x` (N, C, H, W)."""
        bias = self.bias.value if self.bias else None
        y, cache = self.engine.conv2d_forward(x, self.weight.value, bias, **self.settings)
        self._keep(cache)
        return y

    def backward(self, dy: Array, *, need_dx: bool = True) -> Any:
        """Set the gradients of weight and bias; return dx, or None if it is not needed."""
        gradients: Any = self.engine.conv2d_backward(dy, self._kept(), need_dx=need_dx)
        self._receive(self.weight, gradients.dw)
        self._receive(self.bias, gradients.db)
        return gradients.dx


class Linear(Layer):
    """Linear layer: `weight` (O, I), `bias` (O,) or None."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        engine: str | Engine = "numpy",
        rng: np.random.Generator | None = None,
        dtype: Any = "float32",
    ):
        super().__init__(engine)
        shape = (out_features, in_features)
        self.weight = Parameter(he_normal(shape, engine=self.engine, rng=rng, dtype=dtype))
        self.bias = Parameter(self.engine.zeros((out_features,), dtype), decay=False) if bias else None

    def forward(self, x: Array) -> Array:
        """Map `x` (N, I) to (N, O)."""
        bias = self.bias.value if self.bias else None
        y, cache = self.engine.linear_forward(x, self.weight.value, bias)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """Set the gradients of weight and bias; return dx."""
        dx, dw, db = self.engine.linear_backward(dy, self._kept())
        self._receive(self.weight, dw)
        self._receive(self.bias, db)
        return dx


class BatchNorm2d(Layer):
    """Batch norm: `weight` (gamma) and `bias` (beta), `running_mean` and `running_var`, each (C,).

    Training normalises with the biased variance of the batch; the running variance collects the unbiased one,
    running = (1 - momentum) * running + momentum * batch, as in PyTorch.
    """

    def __init__(
        self,
        channels: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        engine: str | Engine = "numpy",
        dtype: Any = "float32",
    ):
        super().__init__(engine)
        ones = np.ones(channels)
        self.weight = Parameter(self.engine.asarray(ones.copy(), dtype), decay=False)
        self.bias = Parameter(self.engine.zeros((channels,), dtype), decay=False)
        self.running_mean = Buffer(self.engine.zeros((channels,), dtype))
        self.running_var = Buffer(self.engine.asarray(ones, dtype))
        self.eps = eps
        self.momentum = momentum

    def forward(self, x: Array) -> Array:
        """Normalise `x` (N, C, H, W) by the batch's statistics in training, else by the running ones."""
        gamma, beta = self.weight.value, self.bias.value
        cache: Any
        if self.training:
            y, cache = self.engine.batchnorm2d_forward(x, gamma, beta, eps=self.eps)
            self.update_running(cache.mean, cache.var, x.size // x.shape[1])
        else:
            y, cache = self.engine.batchnorm2d_inference_forward(
                x, gamma, beta, self.running_mean.value, self.running_var.value, eps=self.eps
            )
        self._keep((self.training, cache))
        return y

    def backward(self, dy: Array) -> Array:
        """Set the gradients of weight and bias; return dx. Follows the mode of the last forward."""
        trained, cache = self._kept()
        name = "batchnorm2d_backward" if trained else "batchnorm2d_inference_backward"
        gradients = getattr(self.engine, name)(dy, cache)
        self._receive(self.weight, gradients.dgamma)
        self._receive(self.bias, gradients.dbeta)
        return gradients.dx

    def values(self) -> tuple[Array, Array, Array, Array]:
        """Return gamma, beta and the running statistics, as the operations take them."""
        return self.weight.value, self.bias.value, self.running_mean.value, self.running_var.value

    def update_running(self, mean: Array, var: Array, count: int) -> None:
        """Move the running statistics towards a batch's mean and biased variance over `count` values."""
        self.engine.move_running(
            self.running_mean.value, self.running_var.value, mean, var, count=count, momentum=self.momentum
        )


class Operation(Layer):
    """A layer without parameters: one of the engine's operations on one array, with fixed settings.

    Subclasses name the operation.
    """

    operation: str

    def __init__(self, engine: str | Engine = "numpy", **settings: Any):
        super().__init__(engine)
        self.settings = settings

    def forward(self, x: Array) -> Array:
        """Return the operation's result for `x`."""
        y, cache = getattr(self.engine, f"{self.operation}_forward")(x, **self.settings)
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """Return dx."""
        return getattr(self.engine, f"{self.operation}_backward")(dy, self._kept()).dx


class ReLU(Operation):
    """max(x, 0)."""

    operation = "relu"


class GlobalAvgPool(Operation):
    """Average over the image: (N, C, H, W) -> (N, C)."""

    operation = "global_avg_pool"


class GlobalMaxPool(Operation):
    """Maximum over the image: (N, C, H, W) -> (N, C)."""

    operation = "global_max_pool"


class MaxPool2d(Operation):
    """Maximum over windows; arguments as in `senumpy.ops.max_pool2d_forward`."""

    operation = "max_pool2d"

    def __init__(
        self,
        kernel: IntOrPair,
        *,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        ceil_mode: bool = False,
        engine: str | Engine = "numpy",
    ):
        super().__init__(engine, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)


class AvgPool2d(Operation):
    """Average over windows; arguments as in `senumpy.ops.avg_pool2d_forward`."""

    operation = "avg_pool2d"

    def __init__(
        self,
        kernel: IntOrPair,
        *,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        engine: str | Engine = "numpy",
    ):
        super().__init__(
            engine,
            kernel=kernel,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        )


class PadShortcut(Operation):
    """The parameter-free shortcut: every `stride`-th pixel, zeros as further channels."""

    operation = "pad_shortcut"

    def __init__(self, channels: int, *, stride: IntOrPair = 2, engine: str | Engine = "numpy"):
        super().__init__(engine, channels=channels, stride=stride)
