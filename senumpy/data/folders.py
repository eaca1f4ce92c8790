"""Image folders: ``class/image.jpg``, below ``train/`` and ``test/`` or not, on disk or in an archive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from senumpy.data.dataset import Found, Part, evenly_spaced
from senumpy.data.images import EXTENSIONS, FileImages, different_sizes, is_grey, opened
from senumpy.data.trees import Tree
from senumpy.errors import InputError

_TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first that is there, if several are
_ANNOTATIONS = "val/val_annotations.txt"  # Tiny-ImageNet's list of validation images
_SAMPLE = 256  # files whose size and colour are looked at before training starts


class _Image(NamedTuple):
    """One file: where it lies in the tree, and its class."""

    name: str
    label: str


class _Layout(NamedTuple):
    """Which files are for training, and which for testing (None: the set does not say)."""

    train: list[_Image]
    test: list[_Image] | None


def load_folder(tree: Tree, image_size: int | None) -> Found:
    """Find classes and images by the names of folders; nothing is decoded yet but a sample.

    The class of an image is its first folder below ``train/`` and ``test/`` (or ``val``, ``valid``,
    ``validation``), or below the root. A folder around everything is looked through. Files outside of a class
    folder and files that are not images are left aside. Tiny-ImageNet's own layout is known:
    ``train/WNID/images/*.JPEG``, and ``val/images/*.JPEG`` with their classes in ``val/val_annotations.txt``.

    Parameters
    ----------
    tree
        The files.
    image_size
        Size to resize and crop to; None wants all images of one size.

    Raises
    ------
    InputError
        When there are no images, or classes differ between training and test, or sizes differ.
    """
    layout = _tiny_imagenet(tree) or _by_folders(tree)
    class_names = tuple(sorted({image.label for image in layout.train}))
    if layout.test is not None:
        _check_classes(tree, class_names, {image.label for image in layout.test})
    shape = _survey(tree, [image.name for image in layout.train], image_size)

    def part(images: Sequence[_Image]) -> Part:
        numbers = {label: i for i, label in enumerate(class_names)}
        labels = np.array([numbers[image.label] for image in images], dtype=np.int64)
        return Part(FileImages(tree, [image.name for image in images], shape, image_size), labels)

    test = None if layout.test is None else part(layout.test)
    return Found(tree.root.stem, class_names, part(layout.train), test)


def _by_folders(tree: Tree) -> _Layout:
    images = [tuple(name.split("/")) for name in tree.names if _is_image(name)]
    if not images:
        raise InputError(
            f"{tree.root}: no images found: wanted CLASS/IMAGE with an ending of {', '.join(EXTENSIONS)}, "
            "or the files of an IDX or CIFAR set"
        )
    depth = _common_depth(images)
    parts: dict[str, list[_Image]] = {}
    classes: list[_Image] = []
    for image in images:
        inner = image[depth:]
        if len(inner) >= 3 and inner[0] in ("train", *_TEST_FOLDERS):
            parts.setdefault(inner[0], []).append(_Image("/".join(image), inner[1]))
        elif len(inner) >= 2:
            classes.append(_Image("/".join(image), inner[0]))
    if not parts:
        return _Layout(classes, None)
    if "train" not in parts:
        raise InputError(
            f"{tree.root}: found {', '.join(sorted(parts))}/ without train/: wanted both, or neither"
        )
    return _Layout(parts["train"], next((parts[name] for name in _TEST_FOLDERS if name in parts), None))


def _common_depth(images: Sequence[tuple[str, ...]]) -> int:
    """Return how many folders lie around everything: a parent, or `train` where there is no test part."""
    depth = 0
    while True:
        inside = [image for image in images if len(image) >= depth + 2]  # those in a folder at this depth
        if len({image[depth] for image in inside}) != 1 or all(len(image) == depth + 2 for image in inside):
            return depth
        depth += 1


def _tiny_imagenet(tree: Tree) -> _Layout | None:
    listed = [name for name in tree.names if name == _ANNOTATIONS or name.endswith("/" + _ANNOTATIONS)]
    if not listed:
        return None
    base = listed[0].removesuffix(_ANNOTATIONS)
    present = set(tree.names)
    prefix = f"{base}train/"
    train = [
        _Image(name, name.removeprefix(prefix).split("/")[0])
        for name in tree.names
        if name.startswith(prefix) and _is_image(name)
    ]
    test = []
    lines = tree.read(listed[0]).decode("utf-8", "replace").splitlines()
    for number, line in enumerate(lines, start=1):
        where = f"{tree.where(listed[0])}, line {number}"
        fields = line.split("\t")
        if len(fields) < 2:
            raise InputError(f"{where}: found {line[:60]!r}, wanted FILE, tab, CLASS")
        name = f"{base}val/images/{fields[0]}"
        if name not in present:
            raise InputError(f"{where}: {tree.where(name)} is missing")
        test.append(_Image(name, fields[1]))
    if not train or not test:
        raise InputError(
            f"{tree.root}: {'training' if test else 'validation'} images of Tiny-ImageNet missing"
        )
    return _Layout(train, test)


def _check_classes(tree: Tree, train: Iterable[str], test: set[str]) -> None:
    differences = [
        f"{', '.join(sorted(names)[:5])} only in {part}"
        for names, part in ((set(train) - test, "training"), (test - set(train), "test"))
        if names
    ]
    if differences:
        raise InputError(
            f"{tree.root}: training and test images differ in classes, wanted the same: "
            + "; ".join(differences)
        )


def _survey(tree: Tree, names: Sequence[str], image_size: int | None) -> tuple[int, int, int]:
    """Return the shape (H, W, C) of all images, from the headers of a sample of them."""
    chosen = [names[i] for i in evenly_spaced(len(names), _SAMPLE)]
    first_size: tuple[int, int] | None = None
    grey = True
    for name in chosen:
        with opened(tree.read(name), tree.where(name)) as image:
            grey = grey and is_grey(image)
            first_size = first_size or image.size
            if image_size is None and image.size != first_size:
                raise InputError(
                    different_sizes(tree.where(name), image.size, tree.where(chosen[0]), first_size)
                )
    channels = 1 if grey else 3
    if image_size is not None:
        return image_size, image_size, channels
    width, height = first_size or (0, 0)
    return height, width, channels


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS)
