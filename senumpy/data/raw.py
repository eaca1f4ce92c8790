"""Batches of bytes and of what augmentation drew for them, for an engine that does the rest itself.

A GPU crops, mirrors and normalises in no time, and bytes are a quarter of what has to reach it otherwise. The
draws are those of the transforms: the same seed gives the same images either way.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from senumpy.data.dataset import Dataset
from senumpy.data.draws import first_two
from senumpy.data.loader import Dealer
from senumpy.data.transforms import Augmentation

_HALF, _LOW, _MIDDLE = np.uint64(32), np.uint64(0xFFFFFFFF), np.uint64(1 << 63)


class RawBatch(NamedTuple):
    """Images and what is to be done with them.

    Attributes
    ----------
    images
        (N, H, W, C) uint8.
    offsets
        (N, 2) int64, (dy, dx) in the original of each crop's corner; None where nothing is cropped.
    flips
        (N,) bool, whether the crop is mirrored; None where nothing is.
    labels
        (N,) int64.
    """

    images: NDArray[np.uint8]
    offsets: NDArray[np.int64] | None
    flips: NDArray[np.bool_] | None
    labels: NDArray[np.int64]


class RawLoader(Dealer[RawBatch]):
    """Deals out images as they are stored, with the draws of their augmentation.

    Parameters
    ----------
    dataset, batch_size, options
        See `Dealer`.
    augmentation
        What is drawn for each image; None for nothing.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, *, augmentation: Augmentation | None = None, **options: Any
    ) -> None:
        super().__init__(dataset, batch_size, **options)
        self.augmentation = augmentation

    def _prepare(
        self, epoch: int, indices: NDArray[np.intp], stop: threading.Event | None = None
    ) -> RawBatch:
        offsets, flips = None, None
        if self.augmentation is not None:
            offsets, flips = self._draw(self.augmentation, epoch, indices)
        stored = self.dataset.images
        if isinstance(stored, np.ndarray):
            images = stored[indices]
        else:
            images = np.stack(self._each(indices, stored.__getitem__, stop))
        return RawBatch(images, offsets, flips, self.dataset.labels[indices])

    def _draw(
        self, augmentation: Augmentation, epoch: int, indices: NDArray[np.intp]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the offsets (N, 2) and flips (N,) that `Augmentation.draw` gives, all in one go.

        A generator makes its two offsets of the halves of its first number: each is multiplied by how many
        offsets there are, and the product's upper half is the draw (Lemire 2019). Where the lower half is
        below that number it may have to draw again: with 9 offsets one image in 200 million, drawn singly.
        """
        padding = augmentation.padding
        first, second = first_two(self.seed, epoch, indices)
        products = np.stack([first & _LOW, first >> _HALF], axis=1) * np.uint64(2 * padding + 1)
        offsets = (products >> _HALF).astype(np.int64) - padding
        flips = (second if padding else first) < _MIDDLE  # without padding there is nothing to draw before
        unsure = ((products & _LOW) <= np.uint64(2 * padding)).any(axis=1)
        for n in np.flatnonzero(unsure).tolist():
            dy, dx, flips[n] = augmentation.draw(self._rng(epoch, int(indices[n])))
            offsets[n] = dy, dx
        return offsets, flips
