"""Data sets, transforms and the loader that deals them out in batches."""

from __future__ import annotations

from senumpy.data.dataset import Dataset, DataSplits
from senumpy.data.load import DATA_NAMES, load_data
from senumpy.data.loader import Batch, Loader
from senumpy.data.raw import RawBatch, RawLoader
from senumpy.data.transforms import (
    Augmentation,
    Compose,
    FixedCrop,
    Normalize,
    RandomCrop,
    RandomFlip,
    Transform,
    eval_transform,
    train_augmentation,
    train_transform,
)

__all__ = [
    "DATA_NAMES",
    "Augmentation",
    "Batch",
    "Compose",
    "DataSplits",
    "Dataset",
    "FixedCrop",
    "Loader",
    "Normalize",
    "RandomCrop",
    "RandomFlip",
    "RawBatch",
    "RawLoader",
    "Transform",
    "eval_transform",
    "load_data",
    "train_augmentation",
    "train_transform",
]
