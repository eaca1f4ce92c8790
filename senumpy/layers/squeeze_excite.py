"""The Squeeze-and-Excitation layer and its description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.errors import InputError
from senumpy.layers.base import Layer
from senumpy.layers.basic import Linear
from senumpy.ops.arrays import Array


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
    squeeze : {"avg", "max"}
        Table 11.
    gate : {"sigmoid", "tanh", "relu"}
        Table 12.
    stages : tuple of int
        The stages with SE, by the paper's numbers: 2 is the first with residual units (Table 13).
    """

    reduction: int = 16
    bias: bool = True
    squeeze: str = "avg"
    gate: str = "sigmoid"
    stages: tuple[int, ...] = (2, 3, 4, 5)

    def __post_init__(self) -> None:
        if not isinstance(self.reduction, int) or self.reduction < 1:
            raise InputError(f"reduction: got {self.reduction!r}, wanted an int >= 1")
        for field, value, known in (
            ("squeeze", self.squeeze, ("avg", "max")),
            ("gate", self.gate, ("sigmoid", "tanh", "relu")),
        ):
            if value not in known:
                raise InputError(f"{field}: got {value!r}, wanted one of {', '.join(known)}")
        if not self.stages or not set(self.stages) <= {2, 3, 4, 5}:
            raise InputError(f"stages: got {self.stages!r}, wanted some of 2, 3, 4, 5")

    def hidden(self, channels: int) -> int:
        """Return the hidden width for `channels` channels."""
        return max(1, channels // self.reduction)


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
