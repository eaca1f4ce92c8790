"""The Squeeze-and-Excitation layer, its variants, and their description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.errors import InputError
from senumpy.layers.base import Layer
from senumpy.layers.basic import Conv2d, Linear, ReLU
from senumpy.ops.arrays import Array

PLACEMENTS = ("standard", "pre", "post", "identity", "3x3")


@dataclass(frozen=True)
class SEConfig:
    """How SE is done in a network; the defaults are the paper's released models.

    Parameters
    ----------
    reduction : int
        r: the hidden width is max(1, C // r) (paper sec. 3.2 and Table 10).
    bias : bool
        Whether the two linear layers have biases: the released weights do, the paper's ablations (sec. 6)
        don't.
    squeeze : {"avg", "max", "none"}
        Table 11; "none" is Table 16's NoSqueeze: each pixel has gates of its own.
    gate : {"sigmoid", "tanh", "relu"}
        Table 12.
    placement : {"standard", "pre", "post", "identity", "3x3"}
        Where it goes in a residual unit (fig. 5, Tables 14 and 15): at the end of the branch, on what enters
        the branch, after the sum, on the shortcut, or inside the branch before its last convolution.
    rounding : {"floor", "timm"}
        How C / r becomes the hidden width: rounded down (the paper's networks, where C is a multiple of r),
        or to the nearest multiple of 8 as in timm's newer networks.
    stages : tuple of int or None
        The stages with SE, by the paper's numbers: 2 is the first with residual units (Table 13). None is
        every stage.
    """

    reduction: int = 16
    bias: bool = True
    squeeze: str = "avg"
    gate: str = "sigmoid"
    placement: str = "standard"
    rounding: str = "floor"
    stages: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.bias, bool):
            raise InputError(f"bias: got {self.bias!r}, wanted True or False")
        if not _is_int(self.reduction) or self.reduction < 1:
            raise InputError(f"reduction: got {self.reduction!r}, wanted an int >= 1")
        for field, value, known in (
            ("squeeze", self.squeeze, ("avg", "max", "none")),
            ("gate", self.gate, ("sigmoid", "tanh", "relu")),
            ("placement", self.placement, PLACEMENTS),
            ("rounding", self.rounding, ("floor", "timm")),
        ):
            if value not in known:
                raise InputError(f"{field}: got {value!r}, wanted one of {', '.join(known)}")
        stages = self.stages
        listed = isinstance(stages, tuple) and all(_is_int(s) and 1 <= s <= 5 for s in stages)
        if stages is not None and not (stages and listed):
            raise InputError(
                f"stages: got {self.stages!r}, wanted a tuple with some of 1 to 5, or None for all"
            )

    def hidden(self, channels: int) -> int:
        """Return the hidden width for `channels` channels."""
        if self.rounding == "timm":
            return max(8, int(channels / self.reduction + 4) // 8 * 8)
        return max(1, channels // self.reduction)

    def in_stage(self, stage: int) -> bool:
        """Return whether the stage of this number has SE."""
        return self.stages is None or stage in self.stages


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class SqueezeExcite(Layer):
    """Squeeze, excitation and scale with weights `fc1` (C -> h) and `fc2` (h -> C)."""

    def __init__(
        self,
        channels: int,
        config: SEConfig | None = None,
        *,
        engine: str | Engine = "numpy",
        rng: np.random.Generator | None = None,
        dtype: Any = "float32",
    ):
        super().__init__(engine)
        self.config = config if config is not None else SEConfig()
        hidden, bias = self.config.hidden(channels), self.config.bias
        self.fc1 = Linear(channels, hidden, bias=bias, engine=self.engine, rng=rng, dtype=dtype)
        self.fc2 = Linear(hidden, channels, bias=bias, engine=self.engine, rng=rng, dtype=dtype)

    def forward(self, u: Array) -> Array:
        """Recalibrate the channels of `u` (N, C, H, W)."""
        y, cache = self.engine.squeeze_excite_forward(u, *self.weights(), **self.settings())
        self._keep(cache)
        return y

    def backward(self, dy: Array) -> Array:
        """Set the gradients of both linear layers; return du."""
        du, *gradients = self.engine.squeeze_excite_backward(dy, self._kept())
        self.receive(*gradients)
        return du

    def weights(self) -> tuple[Array, Array | None, Array, Array | None]:
        """Return w1, b1, w2, b2 as the operations take them."""
        b1, b2 = self.fc1.bias, self.fc2.bias
        return (
            self.fc1.weight.value,
            b1.value if b1 else None,
            self.fc2.weight.value,
            b2.value if b2 else None,
        )

    def settings(self) -> dict[str, Any]:
        """Return the keyword arguments of the operations."""
        return {"squeeze": self.config.squeeze, "gate": self.config.gate}

    def receive(self, dw1: Array | None, db1: Array | None, dw2: Array | None, db2: Array | None) -> None:
        """Store the gradients of w1, b1, w2, b2."""
        for fc, dw, db in ((self.fc1, dw1, db1), (self.fc2, dw2, db2)):
            fc._receive(fc.weight, dw)
            fc._receive(fc.bias, db)


class PixelExcite(Layer):
    """SE without its squeeze (paper sec. 7.1, Table 16): gates s = gate(W2 relu(W1 u)) for every pixel.

    The two linear layers have the same weights as SE's, and act on each pixel's channels: 1x1 convolutions.
    """

    def __init__(
        self,
        channels: int,
        config: SEConfig,
        *,
        engine: str | Engine = "numpy",
        rng: np.random.Generator | None = None,
        dtype: Any = "float32",
    ):
        super().__init__(engine)
        self.config = config
        hidden, bias = config.hidden(channels), config.bias
        self.fc1 = Conv2d(channels, hidden, 1, bias=bias, engine=self.engine, rng=rng, dtype=dtype)
        self.fc2 = Conv2d(hidden, channels, 1, bias=bias, engine=self.engine, rng=rng, dtype=dtype)
        self.relu = ReLU(self.engine)

    def forward(self, u: Array) -> Array:
        """Recalibrate every entry of `u` (N, C, H, W)."""
        logits = self.fc2.forward(self.relu.forward(self.fc1.forward(u)))
        s, gate_cache = getattr(self.engine, f"{self.config.gate}_forward")(logits)
        # Entry by entry: each is a channel of its own for the scale.
        y, scale_cache = self.engine.scale_forward(_entries(u), s.reshape(len(u), -1))
        self._keep((gate_cache, scale_cache))
        return y.reshape(u.shape)

    def backward(self, dy: Array) -> Array:
        """Set the gradients of both convolutions; return du."""
        gate_cache, scale_cache = self._kept()
        du, ds = self.engine.scale_backward(_entries(dy), scale_cache)
        dlogits = getattr(self.engine, f"{self.config.gate}_backward")(ds.reshape(dy.shape), gate_cache).dx
        through_gate = self.fc1.backward(self.relu.backward(self.fc2.backward(dlogits)))
        return self.engine.add_gradients(du.reshape(dy.shape), through_gate)


def _entries(u: Array) -> Array:
    return u.reshape(len(u), -1, 1, 1)


def se_layer(channels: int, config: SEConfig, **make: Any) -> SqueezeExcite | PixelExcite:
    """Return the layer that `config` describes for `channels` channels."""
    kind = PixelExcite if config.squeeze == "none" else SqueezeExcite
    return kind(channels, config, **make)
