"""What a data set is: images by index, labels, names of the classes, and the numbers that normalise it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from senumpy.data.images import FileImages
from senumpy.errors import InputError

Images: TypeAlias = NDArray[np.uint8] | FileImages
"""(N, H, W, C) uint8 in memory, or files that are decoded when asked for: `images[i]` is (H, W, C) uint8."""


class Part(NamedTuple):
    """Images (N, H, W, C) and their labels (N,) int64."""

    images: Images
    labels: NDArray[np.int64]


class Found(NamedTuple):
    """What a reader found in its files; `test` is None where the set has no test part of its own."""

    name: str
    class_names: tuple[str, ...]
    train: Part
    test: Part | None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels of one part of a data set.

    Attributes
    ----------
    name
        The set and the part, for messages: ``"digits/train"``.
    images
        `images[i]` is (H, W, C) uint8.
    labels
        (N,) int64, 0 to `num_classes` - 1.
    class_names
        One name a class.
    image_shape
        (H, W, C), the same for all images.
    mean, std
        Of each channel over the *training* part, pixels scaled to 0..1. Over all its images when they are in
        memory; over `STATISTICS_SAMPLE` of them, evenly spaced, when they are in files.
    augmentable
        Whether shifting and mirroring an image keeps its class: not so for digits and letters.
    """

    name: str
    images: Images
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentable: bool

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def describe(self, index: int) -> str:
        """Say which image `index` is: its file, where it has one."""
        return (
            self.images.where(index) if isinstance(self.images, FileImages) else f"{self.name}, image {index}"
        )


class DataSplits(NamedTuple):
    """A data set's two parts."""

    train: Dataset
    test: Dataset


STATISTICS_SAMPLE = 500


def channel_statistics(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return each channel's mean and standard deviation, pixels scaled to 0..1; of a constant one, std 1.

    Sums are integers, hence exact and the same on every machine.
    """
    channels = images.shape[-1]
    pixels, total, squares = 0, np.zeros(channels, np.int64), np.zeros(channels, np.int64)
    for chunk in _chunks(images):  # (n, H, W, C)
        values = chunk.reshape(-1, channels).astype(np.int64)  # (n*H*W, C)
        pixels += len(values)
        total += values.sum(axis=0)
        squares += (values * values).sum(axis=0)
    mean = total / pixels
    variance = squares / pixels - mean * mean
    std = np.sqrt(np.where(variance > 1e-6, variance, 255.0**2))  # a constant channel leaves rounding noise
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _chunks(images: Images) -> Iterator[NDArray[np.uint8]]:
    if isinstance(images, np.ndarray):
        yield from (images[start : start + 64] for start in range(0, len(images), 64))
    else:
        yield from (images[int(i)][np.newaxis] for i in evenly_spaced(len(images), STATISTICS_SAMPLE))


def evenly_spaced(count: int, wanted: int) -> NDArray[np.intp]:
    """Return at most `wanted` different indices below `count`, evenly spaced, from the first to the last."""
    return np.linspace(0, count - 1, min(count, wanted)).round().astype(np.intp)


def stratified_split(
    labels: NDArray[np.int64], class_names: Sequence[str], name: str
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split 80/20 with the same share of every class in both parts; the same split each time.

    One image in five is for testing, rounded up in total; each class gives a fifth of its images, rounded
    down, and the classes with the largest remainders give one more, lower classes first. Which images, a
    fixed seed decides.

    Returns
    -------
    train, test
        Sorted indices.

    Raises
    ------
    InputError
        For a class with a single image, which cannot be in both parts.
    """
    counts = np.bincount(labels, minlength=len(class_names))
    if (single := np.flatnonzero(counts == 1)).size:
        raise InputError(
            f"{name}: class {class_names[single[0]]!r} has 1 image, wanted at least 2 to split the set "
            "into training and test images (or give it train/ and test/ folders)"
        )
    shares = counts // 5
    missing = -(-len(labels) // 5) - shares.sum()
    shares[np.argsort(-(counts % 5), kind="stable")[:missing]] += 1
    rng = np.random.default_rng(0)
    members = [rng.permutation(np.flatnonzero(labels == c)) for c in range(len(class_names))]
    train = np.concatenate([m[share:] for m, share in zip(members, shares, strict=True)])
    test = np.concatenate([m[:share] for m, share in zip(members, shares, strict=True)])
    return np.sort(train), np.sort(test)


def take(part: Part, indices: NDArray[np.intp]) -> Part:
    """Return the chosen images and labels."""
    images = part.images
    chosen = images[indices] if isinstance(images, np.ndarray) else images.take(indices)
    return Part(chosen, part.labels[indices])


def as_labels(values: Sequence[int] | NDArray[np.integer], classes: int, where: str) -> NDArray[np.int64]:
    """Return labels as int64, each checked to be 0 to `classes` - 1.

    Raises
    ------
    InputError
        Naming the first label out of range and its position.
    """
    labels = np.asarray(values)
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if outside.size:
        i = outside[0]
        raise InputError(
            f"{where}: label {labels[i]} at index {i} is out of range: wanted 0 to {classes - 1}"
        )
    return labels.astype(np.int64)


def count_classes(labels: NDArray[np.integer], where: str) -> int:
    """Return how many classes the labels of a set without class names have: 0 to the largest, each present.

    Raises
    ------
    InputError
        For a gap below the largest label, which is then most likely out of range; or a negative label.
    """
    classes = int(labels.max()) + 1
    present = np.zeros(classes, dtype=bool)
    present[as_labels(labels, classes, where)] = True
    if not present.all():
        index = int(np.argmax(labels))
        gap = int(np.argmin(present))
        raise InputError(
            f"{where}: label {classes - 1} at index {index} is out of range: label {gap} never occurs, "
            "wanted 0 to the number of classes - 1 without gaps"
        )
    return classes
