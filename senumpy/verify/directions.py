"""Where to look: directions of differentiation and upstream gradients, structured on purpose.

One random direction lets systematic errors through: an error that is the same at every pixel and small at
each (a dropped gate path, a missing mean term) drowns in the noise of a Gaussian direction and adds up in
one that is constant over space. So both are used, beside single coordinates and signs; on small arrays
every coordinate is. Upstream gradients are random and signed: an all-ones one makes the gradient of batch
norm vanish, and a positive one hides a mask taken from the sign of the upstream gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

ALL_COORDINATES = 72  # arrays up to this size are checked coordinate by coordinate
SAMPLED_COORDINATES = 20
ALL_OUTPUTS = 24  # outputs up to this number get one one-hot upstream gradient each: the full Jacobian


@dataclass(frozen=True)
class Direction:
    """A named array; `index` is set where it is one-hot."""

    name: str
    array: Array
    index: tuple[int, ...] | None = None


def directions(shape: tuple[int, ...], rng: np.random.Generator) -> list[Direction]:
    """Return the directions in which an array of `shape` is varied, structured ones first.

    Each has unit length, so that a step means the same along all of them.
    """
    structured = _structured(shape, rng, repeats=1 if np.prod(shape) <= ALL_COORDINATES else 3)
    unit = [Direction(d.name, d.array / np.sqrt((d.array**2).sum())) for d in structured]
    return unit + _one_hots(shape, rng, everything=ALL_COORDINATES, sample=SAMPLED_COORDINATES)


def upstream_gradients(shape: tuple[int, ...], rng: np.random.Generator) -> list[Direction]:
    """Return signed upstream gradients for a result of `shape`."""
    if not shape:
        return [Direction("scalar", np.array(value)) for value in (1.7, -0.6)]
    return _structured(shape, rng, repeats=2) + _one_hots(shape, rng, everything=ALL_OUTPUTS, sample=2)


def _structured(shape: tuple[int, ...], rng: np.random.Generator, repeats: int) -> list[Direction]:
    found = [Direction("Gaussian", rng.standard_normal(shape)) for _ in range(repeats)]
    if np.prod(shape) > 1:
        found.append(Direction("signs", rng.choice([-1.0, 1.0], shape)))
    if len(shape) >= 3:
        # One value a sample and channel, the same at every pixel; then single channels.
        levels = rng.standard_normal(shape[:2]).reshape(*shape[:2], *[1] * (len(shape) - 2))
        found.append(Direction("constant over space", np.broadcast_to(levels, shape).copy()))
    if len(shape) >= 2:
        for channel in rng.permutation(shape[1])[:repeats]:
            array = np.zeros(shape)
            array[:, channel] = 1.0
            found.append(Direction(f"constant over channel {channel}", array))
    return found


def _one_hots(
    shape: tuple[int, ...], rng: np.random.Generator, everything: int, sample: int
) -> list[Direction]:
    size = int(np.prod(shape))
    flat = range(size) if size <= everything else np.sort(rng.choice(size, sample, replace=False))
    found = []
    for position in flat:
        array = np.zeros(size)
        array[position] = 1.0
        index = tuple(int(i) for i in np.unravel_index(position, shape))
        found.append(Direction(f"one-hot {index}", array.reshape(shape), index))
    return found
