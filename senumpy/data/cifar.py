"""CIFAR-10 and CIFAR-100 in the two forms that https://www.cs.toronto.edu/~kriz/cifar.html describes.

Python form: pickled dictionaries with ``data`` (N, 3072) uint8, the red plane first, and ``labels`` or
``fine_labels``. Binary form: records of one label byte (CIFAR-100: two, coarse and fine) and 3,072 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.data.dataset import Found, Part, as_labels
from senumpy.data.trees import Tree
from senumpy.data.unpickle import unpickle_arrays
from senumpy.errors import InputError

_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_BATCHES = tuple(f"data_batch_{i}" for i in range(1, 6))
_PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class _Form:
    """One of the four: two data sets, each pickled or binary."""

    name: str
    classes: int
    train: tuple[str, ...]
    test: str
    binary: bool
    markers: tuple[str, ...]  # any of these file names tells that a folder holds this form


_FORMS = (
    _Form("cifar10", 10, _BATCHES, "test_batch", False, (*_BATCHES, "test_batch")),
    _Form(
        "cifar10",
        10,
        tuple(f"{name}.bin" for name in _BATCHES),
        "test_batch.bin",
        True,
        (*(f"{name}.bin" for name in _BATCHES), "test_batch.bin"),
    ),
    _Form("cifar100", 100, ("train",), "test", False, ("train", "test")),
    _Form("cifar100", 100, ("train.bin",), "test.bin", True, ("train.bin", "test.bin")),
)


def find_cifar(tree: Tree) -> tuple[_Form, str] | None:
    """Return which form of CIFAR `tree` holds, and in which folder, or None."""
    for form in _FORMS:
        if (folder := tree.folder_with(form.markers)) is not None:
            return form, folder
    return None


def load_cifar(tree: Tree, found: tuple[_Form, str]) -> Found:
    """Read what `find_cifar` found.

    Raises
    ------
    InputError
        For a missing or corrupt file, a pickle that names more than arrays, or a label out of range.
    """
    form, folder = found
    if missing := [name for name in (*form.train, form.test) if folder + name not in tree.names]:
        raise InputError(f"{tree.where(folder)}: incomplete {form.name}: {', '.join(missing)} missing")
    batches = [_read(tree, folder + name, form) for name in form.train]
    if len(sizes := {len(labels) for _, labels in batches}) > 1:
        raise InputError(
            f"{tree.where(folder)}: training batches hold {', '.join(map(str, sorted(sizes)))} images, "
            "wanted the same number in each: a batch is cut short"
        )
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    test = Part(*_read(tree, folder + form.test, form))
    return Found(form.name, _class_names(tree, folder, form), Part(images, labels), test)


def _read(tree: Tree, name: str, form: _Form) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read images (N, 32, 32, 3) and labels (N,)."""
    data, where = tree.read(name), tree.where(name)
    pixels, labels = _binary(data, where, form) if form.binary else _pickled(data, where, form)
    if len(pixels) == 0:
        raise InputError(f"{where}: holds no images")
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (N, 3, 32, 32) -> (N, 32, 32, 3)
    return np.ascontiguousarray(images), as_labels(labels, form.classes, where)


def _binary(data: bytes, where: str, form: _Form) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    label_bytes = 1 if form.classes == 10 else 2
    record = label_bytes + _PIXELS
    if rest := len(data) % record:
        raise InputError(
            f"{where}: cut short: holds {len(data)} bytes, wanted whole records of {record} "
            f"(the one at byte {len(data) - rest} has {rest})"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return records[:, label_bytes:], records[:, label_bytes - 1]


def _pickled(data: bytes, where: str, form: _Form) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    fields = _by_text(unpickle_arrays(data, where))
    label_field = "labels" if form.classes == 10 else "fine_labels"
    for field in ("data", label_field):
        if field not in fields:
            raise InputError(f"{where}: field {field!r} is missing: found {', '.join(map(str, fields))}")
    pixels, labels = fields["data"], fields[label_field]
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (_PIXELS,):
        found = f"{pixels.shape} {pixels.dtype}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise InputError(f"{where}: field 'data' is {found}, wanted an array (N, {_PIXELS}) uint8")
    if isinstance(labels, list) and all(type(label) is int for label in labels):
        labels = np.array(labels)
    if not isinstance(labels, np.ndarray) or labels.shape != (len(pixels),):
        count = len(labels) if isinstance(labels, (list, np.ndarray)) else type(labels).__name__
        raise InputError(
            f"{where}: field {label_field!r} holds {count} labels, wanted {len(pixels)} integers"
        )
    return pixels, labels


def _class_names(tree: Tree, folder: str, form: _Form) -> tuple[str, ...]:
    """Return the names of the classes; CIFAR-100's stand in a file, numbers where it is missing."""
    if form.classes == 10:
        return _CIFAR10_CLASSES
    name = folder + ("fine_label_names.txt" if form.binary else "meta")
    if name not in tree.names:
        return tuple(str(i) for i in range(form.classes))
    data, where = tree.read(name), tree.where(name)
    if form.binary:
        names: Any = data.decode("utf-8", "replace").split()
    else:
        names = _by_text(unpickle_arrays(data, where)).get("fine_label_names", [])
    if not isinstance(names, list) or len(names) != form.classes:
        raise InputError(f"{where}: wanted the names of {form.classes} classes")
    return tuple(_text(item) for item in names)


def _by_text(fields: dict[Any, Any]) -> dict[str, Any]:
    return {_text(key): value for key, value in fields.items()}


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
