"""What is measured: networks and operations, described so that every library can build the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

from senumpy.analysis import complexity

FLOAT_BYTES = 4


@dataclass(frozen=True)
class ModelWork:
    """A training step (forward, loss, backward, SGD update) or an inference of a network.

    Attributes
    ----------
    model : str
        A name of the registry.
    batch, channels, size, classes : int
        The images are (batch, channels, size, size), float32.
    train : bool
    """

    model: str
    batch: int
    train: bool
    size: int = 224
    channels: int = 3
    classes: int = 1000

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one run: a training step does the forward's three times."""
        one = _multiply_adds(self.model, self.size, self.classes, self.channels)
        return one * self.batch * (3 if self.train else 1)

    @property
    def moved_bytes(self) -> float:
        """Unknown for a network: it depends on what is fused."""
        return 0


@dataclass(frozen=True)
class OpWork:
    """Forward and backward of one operation on normal random float32 arrays.

    Attributes
    ----------
    op : str
        Name in `senumpy.ops`.
    shapes : tuple
        Of the array arguments; None for one that is None.
    settings : tuple of (str, value)
        Keyword arguments.
    multiply_adds : int
        Of the forward, 0 where memory alone counts. The backward of a product does twice as many.
    passes : float
        How often forward and backward together have to read or write an array as large as the first
        argument, however they are fused; 0 where products count.
    """

    op: str
    shapes: tuple[tuple[int, ...] | None, ...]
    settings: tuple[tuple[str, Any], ...] = ()
    forward_multiply_adds: int = 0
    passes: float = 0

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of forward and backward."""
        return 3 * self.forward_multiply_adds

    @property
    def moved_bytes(self) -> float:
        """Bytes that have to be read or written."""
        return self.passes * prod(self.shapes[0] or ()) * FLOAT_BYTES


Work = ModelWork | OpWork


@cache
def _multiply_adds(model: str, size: int, classes: int, channels: int) -> int:
    cost = complexity(model, size=size, num_classes=classes, in_channels=channels)
    return cost.total("multiply_adds")


def conv(n: int, c: int, o: int, size: int, k: int, *, stride: int = 1, groups: int = 1) -> OpWork:
    """Return a convolution with padding k // 2."""
    weights = (o, c // groups, k, k)
    return OpWork(
        "conv2d",
        ((n, c, size, size), weights),
        (("stride", stride), ("padding", k // 2), ("groups", groups)),
        n * (size // stride) ** 2 * prod(weights),
    )
