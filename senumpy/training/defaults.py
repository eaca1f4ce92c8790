"""What a run does where the user doesn't say: a model and a recipe that fit the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from senumpy.data import Dataset
from senumpy.errors import InputError
from senumpy.training.config import TrainConfig

_TINY, _SMALL = 16, 64  # sides of images in pixels


def complete_settings(given: Mapping[str, Any], train: Dataset) -> TrainConfig:
    """Return `given` settings, completed by defaults for the training data.

    The recipe is that of ResNets on CIFAR (He et al. 2016): momentum 0.9, weight decay 1e-4, learning rate
    0.1 for batches of 128 and in proportion for others (Goyal et al. 2017), with a warm-up and a cosine.

    Raises
    ------
    InputError
        A setting is out of range, or the batch is larger than the data.
    """
    height, width, _ = train.image_shape
    side = max(height, width)
    defaults: dict[str, Any] = {"augment": train.augmentable, "epochs": 20, "batch_size": 128}
    if side <= _TINY:
        defaults |= {"model": "se_resnet8_cifar", "batch_size": 32}
    elif side <= _SMALL:
        defaults |= {"model": "se_resnet20_cifar"}
    else:
        defaults |= {"model": "se_resnet18", "batch_size": 32}
    defaults["batch_size"] = min(defaults["batch_size"], len(train))
    settings = {**defaults, **given}
    settings.setdefault("lr", 0.1 * settings["batch_size"] / 128)
    config = TrainConfig(**settings)
    if config.batch_size > len(train):
        raise InputError(
            f"batch_size: got {config.batch_size}, wanted at most {len(train)}, "
            f"the number of training images in {train.name}"
        )
    return config
