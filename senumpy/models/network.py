"""What all networks share: images in, logits out, parts that run one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.errors import InputError
from senumpy.layers import BatchNorm2d, Conv2d, ConvBNReLU, Layer, MaxPool2d
from senumpy.layers.squeeze_excite import PixelExcite, SEConfig, SqueezeExcite, se_layer
from senumpy.ops.arrays import Array


class Network(Layer):
    """A classifier: (N, in_channels, H, W) images to (N, num_classes) logits.

    Subclasses make their parts in `_build` as public attributes, which names the parameters, and list them in
    `_parts` in the order in which they run. The first part's `backward` takes `need_dx`.

    Attributes
    ----------
    name : str
        The registry's name.
    config
        What makes one network of the family differ from another.
    num_classes, in_channels : int
    dtype : numpy.dtype
    least_size : int
        Height and width from which on images are taken.
    """

    least_size = 8
    _parts: list[Any]

    def __init__(
        self,
        name: str,
        config: Any,
        *,
        num_classes: int,
        in_channels: int,
        engine: str | Engine = "numpy",
        rng: np.random.Generator | None = None,
        dtype: Any = "float32",
    ):
        super().__init__(engine)
        self.name, self.config = name, config
        self.num_classes, self.in_channels = num_classes, in_channels
        self.dtype = np.dtype(dtype)
        self._build(Maker(self.engine, rng, dtype))

    def _build(self, make: Maker) -> None:
        """Make the parts, with their names, and list them."""
        raise TypeError(f"{type(self).__name__} defines no _build")

    def forward(self, x: Array) -> Array:
        """Return the logits (N, num_classes) of images `x` (N, in_channels, H, W) of the model's dtype."""
        self.check_images(x.shape)
        for part in self._parts:
            x = part.forward(x)
        return x

    def check_images(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError for images of a shape that the network doesn't take."""
        least = self.least_size
        if len(shape) != 4 or shape[1] != self.in_channels or min(shape[2:]) < least:
            raise ValueError(
                f"x: got shape {shape}, wanted (N, {self.in_channels}, H, W) with H and W at least {least}"
            )

    def backward(self, dy: Array, *, need_dx: bool = True) -> Any:
        """Set the gradients of all parameters for the logits' gradient `dy`.

        Return the gradient of the images, or None if it is not needed: training has no use for it.
        """
        first, *others = self._parts
        for part in reversed(others):
            dy = part.backward(dy)
        return first.backward(dy, need_dx=need_dx)


class Maker:
    """Makes the layers of one network: engine, random numbers and dtype are given once."""

    def __init__(self, engine: Engine, rng: np.random.Generator | None, dtype: Any):
        self.engine = engine
        self.settings: dict[str, Any] = {"engine": engine, "rng": rng, "dtype": dtype}

    def conv(self, channels: int, out: int, kernel: Any, **settings: Any) -> Conv2d:
        """Return a convolution without bias."""
        return Conv2d(channels, out, kernel, **settings, **self.settings)

    def norm(self, channels: int, *, eps: float = 1e-5) -> BatchNorm2d:
        """Return a batch norm."""
        return BatchNorm2d(channels, eps=eps, engine=self.engine, dtype=self.settings["dtype"])

    def unit(self, channels: int, out: int, kernel: Any, *, eps: float = 1e-5, **settings: Any) -> ConvBNReLU:
        """Return a convolution with batch norm and ReLU, its parameters named `conv` and `bn`."""
        return ConvBNReLU(self.conv(channels, out, kernel, **settings), self.norm(out, eps=eps))

    def se(self, channels: int, config: SEConfig | None, stage: int) -> SqueezeExcite | PixelExcite | None:
        """Return SE for `channels` channels, None where there is none in this stage."""
        return se_layer(channels, config, **self.settings) if config and config.in_stage(stage) else None

    def max_pool(self, kernel: int, stride: int, **settings: Any) -> MaxPool2d:
        """Return a max pool."""
        return MaxPool2d(kernel, stride=stride, engine=self.engine, **settings)


def only_standard(se: SEConfig | None, family: str, *, stages: range) -> None:
    """Raise for an SE that a network without residual units can't have."""
    if se and se.placement != "standard":
        raise InputError(f"placement: got {se.placement!r}, but {family} has no residual units")
    if se and se.stages and not set(se.stages) <= set(stages):
        raise InputError(f"stages: got {se.stages}, wanted some of {stages[0]} to {stages[-1]}")
