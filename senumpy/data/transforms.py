"""From a stored image to a network's input: normalisation, and the CIFAR recipe of augmentation.

He, Zhang, Ren, Sun, "Deep residual learning for image recognition" (2015), sec. 4.2: "4 pixels are padded on
each side, and a 32x32 crop is randomly sampled from the padded image or its horizontal flip"; the SENet paper
follows it for CIFAR (Hu et al. 2019, sec. 5.2).

A transform is a function of an image (H, W, C) and a random generator. The loader makes a generator for each
image from (seed, epoch, index), so what a transform draws depends on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from senumpy.data.dataset import Dataset

Image: TypeAlias = NDArray[Any]
Transform: TypeAlias = Callable[[Image, np.random.Generator], Image]


class RandomCrop:
    """Pad with zeros on each side and take a crop of the original size, all places equally likely."""

    def __init__(self, padding: int = 4) -> None:
        if padding < 0:
            raise ValueError(f"padding is {padding}, wanted 0 or more")
        self.padding = padding

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Return a crop of the padded image, (H, W, C) as before."""
        dy, dx = self.draw(rng)
        height, width = image.shape[:2]
        crop = np.zeros_like(image)
        rows, columns = _overlap(dy, height), _overlap(dx, width)
        crop[rows[0], columns[0]] = image[rows[1], columns[1]]
        return crop

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """Return where in the original the crop's corner is, each -padding to padding; outside are zeros."""
        dy, dx = rng.integers(-self.padding, self.padding, size=2, endpoint=True)
        return int(dy), int(dx)


class FixedCrop:
    """One of the ten crops of Krizhevsky et al. (2012), sec. 4.1: centre, corners, and their mirror images.

    Parameters
    ----------
    index
        0 is the centre, 1 to 4 the corners (top left, top right, bottom left, bottom right), 5 to 9 the
        mirror images of 0 to 4.
    size
        (height, width) of the crop.
    padding
        Zeros on each side of the image before the crop.
    """

    def __init__(self, index: int, size: tuple[int, int], padding: int = 0) -> None:
        if not 0 <= index < 10:
            raise ValueError(f"crop {index}: wanted 0 to 9")
        self.index = index
        self.size = size
        self.padding = padding

    def __call__(self, image: Image, rng: np.random.Generator | None = None) -> Image:
        """Return the crop; nothing is random here."""
        p = self.padding
        padded = np.pad(image, ((p, p), (p, p), (0, 0)))
        spare = [have - want for have, want in zip(padded.shape, self.size, strict=False)]
        if min(spare) < 0:
            raise ValueError(f"image is {padded.shape[:2]} with padding, wanted at least {self.size}")
        place = self.index % 5
        top = spare[0] // 2 if place == 0 else spare[0] * (place > 2)
        left = spare[1] // 2 if place == 0 else spare[1] * (place % 2 == 0)
        crop = padded[top : top + self.size[0], left : left + self.size[1]]
        return crop[:, ::-1] if self.index >= 5 else crop


class RandomFlip:
    """Mirror left and right with probability 1/2."""

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Return the image or its mirror image, which is a view."""
        return image[:, ::-1] if self.draw(rng) else image

    def draw(self, rng: np.random.Generator) -> bool:
        """Return whether the image is mirrored."""
        return rng.random() < 0.5


@dataclass(frozen=True)
class Augmentation:
    """The recipe for CIFAR: a random crop, then a random flip.

    Attributes
    ----------
    padding : int
        Zeros on each side before the crop.
    """

    padding: int = 4

    def transform(self) -> Compose:
        """Return what crops and flips an image."""
        return Compose(RandomCrop(self.padding), RandomFlip())

    def draw(self, rng: np.random.Generator) -> tuple[int, int, bool]:
        """Return (dy, dx, flip) as `transform` draws them."""
        return *RandomCrop(self.padding).draw(rng), RandomFlip().draw(rng)


class Normalize:
    """``(pixel / 255 - mean) / std`` for each channel, and (H, W, C) -> (C, H, W) float32.

    Attributes
    ----------
    scale, shift : array
        (C,) float32: the same as ``pixel * scale + shift``, in which form it is computed.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        if len(mean) != len(std) or not all(value > 0 for value in std):
            raise ValueError(f"mean {mean} and std {std}: wanted one of each a channel, every std above 0")
        self.scale = (1 / (255 * np.asarray(std, dtype=np.float64))).astype(np.float32)
        self.shift = (-np.asarray(mean, dtype=np.float64) / np.asarray(std, dtype=np.float64)).astype(
            np.float32
        )

    def __call__(self, image: Image, rng: np.random.Generator | None = None) -> NDArray[np.float32]:
        """Return the image as (C, H, W) float32; nothing is random here."""
        if image.shape[-1] != len(self.scale):
            raise ValueError(f"image is {image.shape}, wanted (H, W, {len(self.scale)})")
        normalized = image * self.scale + self.shift  # (H, W, C) float32
        return np.ascontiguousarray(normalized.transpose(2, 0, 1))


class Compose:
    """Several transforms, one after the other."""

    def __init__(self, *transforms: Transform) -> None:
        self.transforms = transforms

    def __call__(self, image: Image, rng: np.random.Generator) -> Image:
        """Return what the last transform makes of the image."""
        for transform in self.transforms:
            image = transform(image, rng)
        return image


def train_augmentation(dataset: Dataset, augment: bool | None = None) -> Augmentation | None:
    """Return how training images are augmented, or None for not at all.

    Parameters
    ----------
    dataset
        The training part.
    augment
        None lets the data set say: CIFAR, Fashion-MNIST and sets in colour are augmented, digits, MNIST and
        other grey sets are not (a mirrored 2 is no digit).
    """
    return Augmentation() if (dataset.augmentable if augment is None else augment) else None


def train_transform(dataset: Dataset, augment: bool | None = None) -> Transform:
    """Return the transform for training: crop and flip if wanted, then normalisation.

    Parameters
    ----------
    dataset
        The training part: its mean and std normalise.
    augment
        See `train_augmentation`.
    """
    augmentation = train_augmentation(dataset, augment)
    normalize = eval_transform(dataset)
    return normalize if augmentation is None else Compose(augmentation.transform(), normalize)


def eval_transform(dataset: Dataset) -> Normalize:
    """Return the transform for evaluation: normalisation alone."""
    return Normalize(dataset.mean, dataset.std)


def _overlap(offset: int, size: int) -> tuple[slice, slice]:
    """Return where a window moved by `offset` overlaps its original: in the window, and in the original."""
    length = max(0, size - abs(offset))
    return slice(max(0, -offset), max(0, -offset) + length), slice(max(0, offset), max(0, offset) + length)
