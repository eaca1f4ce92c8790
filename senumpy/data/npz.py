"""NumPy archives: ``x`` (N, H, W, C) uint8 and ``y`` (N,), with ``x_test`` and ``y_test`` or without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.data.dataset import Found, Part, as_labels, count_classes
from senumpy.data.messages import one_line
from senumpy.errors import InputError


def load_npz(path: Path) -> Found:
    """Read a set from an .npz file. Grey images may be (N, H, W); ``x_train``, ``y_train`` may be so called.

    Raises
    ------
    InputError
        For a truncated or corrupt file, a missing field, or one of the wrong shape or dtype.
    """
    fields = _read(path)
    images, labels = _pair(fields, ("x", "x_train"), ("y", "y_train"), path)
    classes = count_classes(labels, f"{path}, field y")
    train = Part(images, as_labels(labels, classes, f"{path}, field y"))
    test = None
    if "x_test" in fields or "y_test" in fields:
        images, labels = _pair(fields, ("x_test",), ("y_test",), path)
        if images.shape[1:] != train.images.shape[1:]:
            raise InputError(
                f"{path}: test images are {images.shape[1:]}, training images {train.images.shape[1:]}"
            )
        test = Part(images, as_labels(labels, classes, f"{path}, field y_test"))
    return Found(path.stem, tuple(str(i) for i in range(classes)), train, test)


def _read(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # zip, zlib, NumPy's header parser and pickled content raise each their own
        raise InputError(f"{path}: not a whole .npz file of plain arrays: {one_line(error)}") from error


def _pair(
    fields: dict[str, NDArray[Any]], image_fields: tuple[str, ...], label_fields: tuple[str, ...], path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """Return images (N, H, W, C) and labels (N,), checked."""
    x, y = (next((name for name in names if name in fields), None) for names in (image_fields, label_fields))
    if x is None or y is None:
        missing = image_fields[0] if x is None else label_fields[0]
        raise InputError(f"{path}: field {missing} is missing: found {', '.join(fields) or 'none'}")
    images, labels = fields[x], fields[y]
    if images.ndim == 3:
        images = images[..., np.newaxis]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or images.size == 0:
        raise InputError(
            f"{path}: field {x} is {images.shape} {images.dtype}, wanted (N, H, W, C) uint8 with C = 1 or 3"
        )
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{path}: field {y} is {labels.shape} {labels.dtype}, wanted ({len(images)},) integers"
        )
    return images, labels
