"""IDX files, the format of MNIST and Fashion-MNIST, plain or gzipped.

Layout (http://yann.lecun.com/exdb/mnist): two zero bytes, the type (8: unsigned byte), the number of
dimensions, each dimension as a big-endian 32-bit number, then the bytes in C order.
"""

from __future__ import annotations

import gzip
import io
import math
import zlib

import numpy as np
from numpy.typing import NDArray

from senumpy.data.dataset import Found, Part, as_labels, count_classes
from senumpy.data.messages import one_line
from senumpy.data.trees import Tree
from senumpy.errors import InputError

_TRAIN = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
_TEST = ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

_LARGEST = 2 << 30  # bytes unpacked from one file: no gzip bombs

_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

# MNIST and Fashion-MNIST have the same file names; the first ten training labels tell them apart.
_KNOWN = {
    (5, 0, 4, 1, 9, 2, 1, 3, 1, 4): ("mnist", tuple("0123456789")),
    (9, 0, 0, 3, 0, 2, 7, 2, 5, 5): ("fashion-mnist", _FASHION_CLASSES),
}


def find_idx(tree: Tree) -> str | None:
    """Return the folder of `tree` that holds IDX files by their official names, or None."""
    return tree.folder_with(name for stem in _TRAIN + _TEST for name in _spellings(stem))


def load_idx(tree: Tree, folder: str) -> Found:
    """Read a set in IDX files: training images and labels, and test ones where there are any.

    Raises
    ------
    InputError
        For a missing or corrupt file, images and labels that differ in number, or a label out of range.
    """
    images, labels, where = _pair(tree, folder, _TRAIN)
    name, class_names = _KNOWN.get(tuple(labels[:10].tolist()), (tree.root.name, ()))
    if not class_names:
        class_names = tuple(str(i) for i in range(count_classes(labels, where)))
    train = Part(images, as_labels(labels, len(class_names), where))
    if not any(_locate(tree, folder, stem) for stem in _TEST):
        return Found(name, class_names, train, None)
    images, labels, where = _pair(tree, folder, _TEST)
    if images.shape[1:] != train.images.shape[1:]:
        raise InputError(
            f"{where}: test images are {images.shape[1:]}, training images {train.images.shape[1:]}"
        )
    return Found(name, class_names, train, Part(images, as_labels(labels, len(class_names), where)))


def parse_idx(data: bytes, dimensions: int, where: str) -> NDArray[np.uint8]:
    """Return the array of unsigned bytes in an IDX file, gzipped or plain.

    Raises
    ------
    InputError
        Naming the byte at which the file stops being what it should.
    """
    if data[:2] == b"\x1f\x8b":
        data = _gunzip(data, dimensions, where)
    magic, wanted = data[:4].hex(), f"000008{dimensions:02x}"
    if magic != wanted:
        raise InputError(
            f"{where}: magic number 0x{magic} at byte 0, wanted 0x{wanted} "
            f"(unsigned bytes, dimensions: {dimensions})"
        )
    header = 4 + 4 * dimensions
    shape = _shape(data, dimensions)
    if len(data) < header or len(data) != header + math.prod(shape):
        state = "cut short" if len(data) < header + math.prod(shape) else "too long"
        raise InputError(
            f"{where}: {state}: holds {len(data)} bytes, its header ({'x'.join(map(str, shape))}) "
            f"wants {header + math.prod(shape)}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def _shape(data: bytes, dimensions: int) -> tuple[int, ...]:
    return tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))


def _gunzip(data: bytes, dimensions: int, where: str) -> bytes:
    """Unpack no more than one byte beyond what the header announces, and never more than `_LARGEST`."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = [file.read(4 + 4 * dimensions)]
            rest = math.prod(_shape(unpacked[0], dimensions)) + 1
            if rest > _LARGEST:
                raise InputError(
                    f"{where}: its header announces {rest - 1} bytes, wanted less than {_LARGEST}"
                )
            # In pieces, as memory for all that a damaged header announces may not be had.
            while piece := file.read(min(rest, 1 << 20)):
                unpacked.append(piece)
                rest -= len(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{where}: broken gzip file of {len(data)} bytes: {one_line(error)}") from error
    return b"".join(unpacked)


def _pair(
    tree: Tree, folder: str, stems: tuple[str, str]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], str]:
    """Read images (N, H, W, 1), labels (N,) and the name of the labels' file."""
    names = [_locate(tree, folder, stem) for stem in stems]
    for stem, name in zip(stems, names, strict=True):
        if name is None:
            raise InputError(f"{tree.where(folder + stem)}: missing (wanted it, or the same with .gz)")
    images, labels = (
        parse_idx(tree.read(name), dimensions, tree.where(name))
        for name, dimensions in zip(names, (3, 1), strict=True)
        if name is not None
    )
    where = tree.where(names[1] or "")
    if len(images) != len(labels):
        raise InputError(f"{where}: holds {len(labels)} labels, wanted {len(images)}, one for each image")
    if images.size == 0:
        raise InputError(
            f"{tree.where(names[0] or '')}: holds no images ({'x'.join(map(str, images.shape))})"
        )
    return images[..., np.newaxis], labels, where


def _locate(tree: Tree, folder: str, stem: str) -> str | None:
    return next((folder + name for name in _spellings(stem) if folder + name in tree.names), None)


def _spellings(stem: str) -> list[str]:
    """Return the names a file goes by, the plain one first: with ``-idx`` or ``.idx``, plain or gzipped."""
    return [name + end for end in ("", ".gz") for name in (stem, stem.replace("-idx", ".idx"))]
