"""What a run does where the user doesn't say: a model and a recipe that fit the images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from senumpy.data import Dataset
from senumpy.engines import default_engine
from senumpy.errors import InputError
from senumpy.training.config import TrainConfig

_TINY, _SMALL = 16, 64  # sides of images in pixels


def complete_settings(given: Mapping[str, Any], train: Dataset) -> TrainConfig:
    """Return `given` settings, completed by defaults for the training data.

    The recipe is that of ResNets on CIFAR (He et al. 2016): momentum 0.9, weight decay 1e-4, learning rate
    0.1 for batches of 128, with a warm-up and a cosine. Tiny images, which are few as a rule, get smaller
    batches and more weight decay. The learning rate is in proportion to the batch size (Goyal et al. 2017).
    The engine is `numba` where it is installed.

    Raises
    ------
    InputError
        A setting is out of range, or the batch is larger than the data.
    """
    height, width, _ = train.image_shape
    side = max(height, width)
    in_memory = isinstance(train.images, np.ndarray)
    defaults: dict[str, Any] = {"augment": train.augmentable, "workers": 0 if in_memory else 2}
    if side <= _TINY:
        defaults |= {"model": "se_resnet8_cifar", "epochs": 15, "batch_size": 32, "weight_decay": 1e-3}
        lr_per_image = 0.1 / 32
    elif side <= _SMALL:
        defaults |= {"model": "se_resnet20_cifar", "epochs": 20, "batch_size": 128}
        lr_per_image = 0.1 / 128
    else:
        defaults |= {"model": "se_resnet18", "epochs": 20, "batch_size": 32}
        lr_per_image = 0.1 / 128
    defaults["engine"] = default_engine()
    if side <= _SMALL and given.get("engine", defaults["engine"]) == "numpy":
        defaults["threads"] = 1  # see `limited_threads`
    defaults["batch_size"] = min(defaults["batch_size"], len(train))
    settings = {**defaults, **given}
    settings.setdefault("lr", lr_per_image * settings["batch_size"])
    config = TrainConfig(**settings)
    if config.batch_size > len(train):
        raise InputError(
            f"batch_size: got {config.batch_size}, wanted at most {len(train)}, "
            f"the number of training images in {train.name}"
        )
    return config
