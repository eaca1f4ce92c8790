"""What the checker has to know of an operation: its arguments, small varied cases, its kinks."""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
Forward = Callable[..., Any]
Backward = Callable[..., Any]
Pattern = Callable[[tuple[Any, ...], dict[str, Any]], tuple[Array, ...]]


@dataclass(frozen=True)
class Case:
    """One call of an operation: its positional arguments and its options.

    Attributes
    ----------
    name : str
        What is special about it, such as ``"stride (2, 1), padding (1, 0)"``.
    args : tuple
        Positional arguments, in the order of the operation's signature.
    kwargs : dict
        Keyword arguments. A `numpy.random.Generator` among them is copied afresh for every call.
    kink : bool
        The inputs lie exactly at a kink (a ReLU's zero, a tie of a maximum). There the gradient is a
        convention: it has to lie between the one-sided derivatives, and is compared with the library's.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    kink: bool = False


class Draw:
    """Random arrays of one data type, for building cases.

    Parameters
    ----------
    rng : numpy.random.Generator
    dtype : dtype
        Data type of every array drawn.
    """

    def __init__(self, rng: np.random.Generator, dtype: DTypeLike = np.float64) -> None:
        self.rng = rng
        self.dtype = np.dtype(dtype)

    def normal(self, *shape: int, mean: float = 0.0, scale: float = 1.0) -> Array:
        """Return independent normal values."""
        return (mean + scale * self.rng.standard_normal(shape)).astype(self.dtype)

    def positive(self, *shape: int) -> Array:
        """Return values in [0.5, 2), as variances and scales of batch norm are."""
        return self.rng.uniform(0.5, 2.0, shape).astype(self.dtype)

    def spaced(self, *shape: int, step: float = 0.1, offset: float = 0.03) -> Array:
        """Return shuffled values at least `step` apart and at least `offset` away from zero.

        A step of a difference quotient below half of `step` changes no maximum and no ReLU.
        """
        size = int(np.prod(shape))
        values = (np.arange(size) - size // 2) * step + offset
        return self.rng.permutation(values).reshape(shape).astype(self.dtype)

    def until(self, make: Callable[[], tuple[Any, ...]], accept: Callable[..., bool]) -> tuple[Any, ...]:
        """Return the first of up to 1,000 draws of `make` that `accept` takes.

        Used where a random draw may be blind: a hidden ReLU that is dead for every sample hides all that
        lies behind it.
        """
        for _ in range(1000):
            args = make()
            if accept(*args):
                return args
        raise RuntimeError("no draw in 1,000 was accepted: the case asks for too much")


@dataclass(frozen=True)
class OpSpec:
    """An operation of `senumpy.ops` as the checker sees it.

    Attributes
    ----------
    name : str
        ``NAME_forward`` and ``NAME_backward`` are its functions.
    arguments : tuple of str
        The differentiable arguments in forward's order; `backward` returns their gradients in this order.
    draw : callable
        ``draw(Draw) -> list[Case]``: small cases of odd shapes that together reach every option.
    others : tuple of str
        Positional arguments without a gradient, such as labels.
    pattern : callable or None
        ``pattern(args, kwargs)`` -> the activation pattern: which side of every kink the inputs are on
        (ReLU masks as boolean arrays, positions of maxima as integer arrays). None: no kinks anywhere.
    batched : tuple of str
        Arguments whose first axis counts samples; cut to one sample for the batch of one. Empty where
        that is not possible.
    """

    name: str
    arguments: tuple[str, ...]
    draw: Callable[[Draw], list[Case]]
    others: tuple[str, ...] = ()
    pattern: Pattern | None = None
    batched: tuple[str, ...] = ()

    @property
    def analytic(self) -> bool:
        """Whether the operation has no kinks at all (else it is analytic piece by piece)."""
        return self.pattern is None

    @property
    def forward(self) -> Forward:
        """The library's own forward function."""
        return _library_function(f"{self.name}_forward")

    @property
    def backward(self) -> Backward:
        """The library's own backward function."""
        return _library_function(f"{self.name}_backward")

    def cases(self, *, seed: int = 0, dtype: DTypeLike = np.float64) -> list[Case]:
        """Return the cases that `seed` draws; equal seeds give equal cases, in one order."""
        key = zlib.crc32(self.name.encode())
        return self.draw(Draw(np.random.default_rng([seed, key]), dtype))


def _library_function(name: str) -> Callable[..., Any]:
    return getattr(importlib.import_module("senumpy.ops"), name)
