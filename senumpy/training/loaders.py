"""Loaders as a run needs them: shuffled and augmented for training, plain for evaluation.

An engine that prepares images itself gets them as bytes, and uploads, crops, mirrors and normalises them. Who
takes batches sees no difference.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np

from senumpy.data import (
    Compose,
    Dataset,
    FixedCrop,
    Loader,
    Normalize,
    RawLoader,
    Transform,
    eval_transform,
    train_augmentation,
    train_transform,
)
from senumpy.engines import Engine
from senumpy.ops.arrays import Array
from senumpy.training.config import TrainConfig
from senumpy.training.evaluate import Batches


class FedBatches:
    """Batches of bytes that an engine makes into arrays of its own: (x (N, C, H, W) float32, labels (N,))."""

    def __init__(self, loader: RawLoader, engine: Engine, normalize: Normalize):
        self._loader, self._engine, self._normalize = loader, engine, normalize

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self._loader)

    def epoch(
        self, epoch: int, start_batch: int = 0
    ) -> Generator[tuple[Array, np.ndarray[Any, Any]], None, None]:
        """Return a generator of the batches of an epoch; closing it closes the loader's."""
        batches = self._loader.epoch(epoch, start_batch)
        return self._engine.feed(batches, self._normalize.scale, self._normalize.shift)


def set_name(dataset: Dataset) -> str:
    """Return a data set's name without its part: "digits" of "digits/train"."""
    return dataset.name.rpartition("/")[0]


def training_loader(train: Dataset, config: TrainConfig, engine: Engine | None = None) -> Batches:
    """Return the loader of a run's training images, for `engine` if it prepares them itself."""
    options: dict[str, Any] = {"shuffle": True, "seed": config.seed, "workers": config.workers}
    if engine is not None and engine.prepares_images:
        augmentation = train_augmentation(train, config.augment)
        raw = RawLoader(train, config.batch_size, augmentation=augmentation, **options)
        return FedBatches(raw, engine, eval_transform(train))
    return Loader(train, config.batch_size, transform=train_transform(train, config.augment), **options)


def evaluation_loader(
    test: Dataset,
    batch_size: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    workers: int,
    crop: FixedCrop | None = None,
    engine: Engine | None = None,
) -> Batches:
    """Return the loader of test images in order, cropped, and normalised as the training images were."""
    normalize, size = Normalize(mean, std), min(batch_size, len(test))
    if crop is None and engine is not None and engine.prepares_images:
        return FedBatches(RawLoader(test, size, workers=workers), engine, normalize)
    transform: Transform = normalize if crop is None else Compose(crop, normalize)
    return Loader(test, size, transform=transform, workers=workers)
