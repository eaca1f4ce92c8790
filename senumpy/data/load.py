"""`load_data`: a data set by name or path, its format recognised by what is there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from senumpy.data.cifar import find_cifar, load_cifar
from senumpy.data.dataset import Dataset, DataSplits, Found, Part, channel_statistics, stratified_split, take
from senumpy.data.digits import load_digits
from senumpy.data.folders import load_folder
from senumpy.data.idx import find_idx, load_idx
from senumpy.data.images import resize_array
from senumpy.data.npz import load_npz
from senumpy.data.trees import open_tree
from senumpy.errors import InputError, unknown_name

DATA_NAMES = ("digits",)
"""Sets known by name, without a path."""


def load_data(
    name_or_path: str | os.PathLike[str], *, image_size: int | None = None, split: bool = True
) -> DataSplits:
    """Load a data set's training and test parts.

    ========================================  =====================================================
    what is there                             what it is read as
    ========================================  =====================================================
    the name ``digits``                       scikit-learn's 1,797 handwritten digits, 8x8
    ``*-ubyte``, ``*-ubyte.gz``               IDX: MNIST, Fashion-MNIST and sets named like them
    ``data_batch_*``, ``train`` and ``test``  CIFAR-10, CIFAR-100, pickled or binary (``.bin``)
    ``.npz``                                  ``x`` (N, H, W, C) uint8, ``y`` (N,)
    anything else                             images ``CLASS/FILE`` or ``train/CLASS/FILE``
    ========================================  =====================================================

    All but the first two may lie in a folder, a ``.zip`` or a ``.tar.gz``; archives are not unpacked.

    Parameters
    ----------
    name_or_path
        A name or a path.
    image_size
        Resize each image's shorter side to this and take the middle square. Needed where sizes differ.
    split
        How to treat a set without a test part of its own: True splits it 80/20 (`stratified_split`, the same
        each time); False gives the whole set as both parts, for evaluating a model on all of it.

    Raises
    ------
    InputError
        For an unknown name (the nearest is suggested), a path that does not exist, or data that is missing,
        damaged or contradicts itself; the message names file, what was found and what was wanted.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"image size {image_size}: wanted at least 1")
    found = _find(name_or_path, image_size)
    if len(found.class_names) < 2:
        raise InputError(f"{name_or_path}: found {len(found.class_names)} class, wanted at least 2")
    train, test = found.train, found.test
    if test is None:
        train, test = _split(found) if split else (found.train, found.train)
    if image_size is not None:
        train, test = _resized(train, image_size), _resized(test, image_size)
    mean, std = channel_statistics(train.images)
    height, width, channels = train.images.shape[-3:]

    def dataset(part: Part, which: str) -> Dataset:
        return Dataset(
            name=f"{found.name}/{which}",
            images=part.images,
            labels=part.labels,
            class_names=found.class_names,
            image_shape=(height, width, channels),
            mean=mean,
            std=std,
            # Grey sets may well be digits or letters, which mirroring turns into something else.
            augmentable=channels == 3 or found.name == "fashion-mnist",
        )

    return DataSplits(dataset(train, "train"), dataset(test, "test"))


def _find(name_or_path: str | os.PathLike[str], image_size: int | None) -> Found:
    if name_or_path == "digits":
        return load_digits()
    path = Path(name_or_path).expanduser()
    if not path.exists():
        text = os.fspath(name_or_path)
        if os.sep in text or path.suffix:
            raise InputError(f"no data at {path}: no such file or folder")
        raise InputError(
            f"{unknown_name('data set', text, DATA_NAMES)}; no file or folder has this name either"
        )
    if path.suffix.lower() == ".npz":
        return load_npz(path)
    tree = open_tree(path)
    if (folder := find_idx(tree)) is not None:
        return load_idx(tree, folder)
    if (cifar := find_cifar(tree)) is not None:
        return load_cifar(tree, cifar)
    return load_folder(tree, image_size)


def _split(found: Found) -> tuple[Part, Part]:
    train, test = stratified_split(found.train.labels, found.class_names, found.name)
    return take(found.train, train), take(found.train, test)


def _resized(part: Part, image_size: int) -> Part:
    if isinstance(part.images, np.ndarray):
        return Part(resize_array(part.images, image_size), part.labels)
    return part  # files are resized as they are decoded
