"""Loaders as a run needs them: shuffled and augmented for training, plain for evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from senumpy.data import Compose, Dataset, FixedCrop, Loader, Normalize, Transform, train_transform
from senumpy.training.config import TrainConfig


def set_name(dataset: Dataset) -> str:
    """Return a data set's name without its part: "digits" of "digits/train"."""
    return dataset.name.rpartition("/")[0]


def training_loader(train: Dataset, config: TrainConfig) -> Loader:
    """Return the loader of a run's training images."""
    return Loader(
        train,
        config.batch_size,
        transform=train_transform(train, config.augment),
        shuffle=True,
        seed=config.seed,
        workers=config.workers,
    )


def evaluation_loader(
    test: Dataset,
    batch_size: int,
    *,
    mean: Sequence[float],
    std: Sequence[float],
    workers: int,
    crop: FixedCrop | None = None,
) -> Loader:
    """Return the loader of test images in order, cropped, and normalised as the training images were."""
    transform: Transform = Normalize(mean, std)
    if crop is not None:
        transform = Compose(crop, transform)
    return Loader(test, min(batch_size, len(test)), transform=transform, workers=workers)
