"""What forwards keep for backwards in the fast engines: the same things, in each engine's own arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.arrays import Array


class ConvCache(NamedTuple):
    """What the gradient of a convolution needs."""

    x: Array  # rows
    w: Array
    conv: Any  # the engine's plan of it
    has_bias: bool


class UnitCache(NamedTuple):
    """What the gradient of convolution, batch norm and ReLU needs."""

    conv: ConvCache
    norm: Any  # the engine's normalised activation

    @property
    def mean(self) -> Array:
        """Mean of the batch, (O,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (O,)."""
        return self.norm.var


class InferenceCache(NamedTuple):
    """What the gradient with given statistics needs: folded, the forward keeps no convolution's result."""

    conv: ConvCache
    vectors: tuple[Array, Array, Array, Array]  # gamma, beta, mean, var
    eps: float


class SqueezeCache(NamedTuple):
    """The cache of the pool that ran, and which it was."""

    pool: Any
    operator: str


class SqueezeExciteCache(NamedTuple):
    """The caches of the three steps."""

    squeeze: Any
    excitation: Any
    scale: Any


class ComposedCache(NamedTuple):
    """Batch norm and ReLU in one pass, and SE after it."""

    norm: Any  # the engine's normalised activation
    se: Any

    @property
    def mean(self) -> Array:
        """Mean of the batch, (C,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (C,)."""
        return self.norm.var
