"""Image files: decoding, resizing, cropping; every way in which a file can be broken is one clear line."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.data.messages import one_line
from senumpy.data.trees import Tree
from senumpy.errors import InputError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp")
_GREY_MODES = ("L", "LA", "1")
_WARNINGS = threading.Lock()  # Python's filters of warnings belong to all threads
_DEEP_MODES = ("I", "F")  # and "I;16", ...: more than 8 bits a pixel


class FileImages:
    """Images in files, decoded when asked for: `images[i]` is (H, W, C) uint8. Any thread may ask.

    Parameters
    ----------
    tree, names
        Where the files are, and which.
    shape
        (H, W, C) of every image. C is 1 only for sets that are all grey; in a set with colour a grey image
        becomes RGB.
    image_size
        Each image's shorter side is resized to this (bilinear, antialiased), and the middle square is taken.
        None: all images must have the size that `shape` says.
    """

    def __init__(
        self, tree: Tree, names: Sequence[str], shape: tuple[int, int, int], image_size: int | None
    ) -> None:
        self.tree = tree
        self.names = tuple(names)
        self.shape = shape
        self.image_size = image_size

    def __len__(self) -> int:
        return len(self.names)

    def where(self, index: int) -> str:
        """Return the name of an image's file, for messages."""
        return self.tree.where(self.names[index])

    def take(self, indices: NDArray[np.intp]) -> FileImages:
        """Return the chosen images."""
        return FileImages(self.tree, [self.names[i] for i in indices], self.shape, self.image_size)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        height, width, channels = self.shape
        with opened(self.tree.read(self.names[index]), self.where(index)) as image:
            if channels == 1 and not is_grey(image):
                raise InputError(
                    f"{self.where(index)}: is in colour, but this set is grey (no colour in a sample of it): "
                    "convert this file to grey or the others to RGB"
                )
            if self.image_size is None and image.size != (width, height):
                raise InputError(different_sizes(self.where(index), image.size, "others", (width, height)))
            image = image.convert("L" if channels == 1 else "RGB")
            if self.image_size is not None:
                image = resized_and_cropped(image, self.image_size)
            return np.array(image, dtype=np.uint8).reshape(self.shape)


def different_sizes(name: str, size: tuple[int, int], other_name: str, other: tuple[int, int]) -> str:
    """Return the message for two images, sizes as (width, height), that cannot be in one array."""
    return (
        f"{name} is {size[0]}x{size[1]}, {other_name} {other[0]}x{other[1]}: wanted images of one size, "
        "or an image size to resize and crop them to"
    )


@contextlib.contextmanager
def opened(data: bytes, where: str) -> Iterator[Any]:
    """Open an image file for the `with` block; what goes wrong in it is an InputError that names the file."""
    module = pillow()
    try:
        with _WARNINGS, warnings.catch_warnings():  # of sizes that are refused here
            warnings.simplefilter("ignore", module.DecompressionBombWarning)
            found = module.open(io.BytesIO(data))
        with found as image:
            width, height = image.size
            if width * height > module.MAX_IMAGE_PIXELS:
                raise InputError(
                    f"{where}: claims {width}x{height} pixels, wanted at most {module.MAX_IMAGE_PIXELS}"
                )
            if image.mode.startswith(_DEEP_MODES):
                raise InputError(f"{where}: has more than 8 bits a pixel (mode {image.mode}), wanted 8")
            yield image
    except InputError as error:
        if where in str(error):
            raise
        raise InputError(f"{where}: {error}") from None
    except module.DecompressionBombError:
        raise InputError(
            f"{where}: claims more than {2 * module.MAX_IMAGE_PIXELS} pixels, wanted at most "
            f"{module.MAX_IMAGE_PIXELS}"
        ) from None
    except module.UnidentifiedImageError:
        raise InputError(
            f"{where}: not an image: its {len(data)} bytes are in no format Pillow knows"
        ) from None
    except Exception as error:  # the decoders raise nearly anything on damaged files
        raise InputError(f"{where}: broken image of {len(data)} bytes: {one_line(error)}") from error


def is_grey(image: Any) -> bool:
    """Tell whether a Pillow image has no colour channels."""
    return image.mode in _GREY_MODES


def resized_and_cropped(image: Any, size: int, crop: int | None = None) -> Any:
    """Resize a Pillow image's shorter side to `size` and take the middle square, as torchvision does.

    The square has the side `crop`, `size` where not given.
    """
    width, height = image.size
    short = min(width, height)
    resized = (int(size * width / short), int(size * height / short))
    if resized[0] * resized[1] > pillow().MAX_IMAGE_PIXELS:
        raise InputError(
            f"an image of {width}x{height}: too long for its width, wanted at most "
            f"{pillow().MAX_IMAGE_PIXELS} pixels when its shorter side has {size}"
        )
    if resized != image.size:
        # A reducing resize in Pillow averages over all pixels it replaces (antialiasing).
        image = image.resize(resized, pillow().Resampling.BILINEAR)
    crop = size if crop is None else crop
    left, top = round((resized[0] - crop) / 2), round((resized[1] - crop) / 2)
    return image.crop((left, top, left + crop, top + crop))


def resize_array(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize and crop images (N, H, W, C) to (N, size, size, C)."""
    if images.shape[1:3] == (size, size):
        return images
    module, channels = pillow(), images.shape[3]
    planes = images[..., 0] if channels == 1 else images
    small = [np.asarray(resized_and_cropped(module.fromarray(plane), size)) for plane in planes]
    return np.stack(small).reshape(len(images), size, size, channels)


def pillow() -> Any:
    """Return Pillow's `Image` module.

    Raises
    ------
    InputError
        Where it is not installed, saying how to.
    """
    try:
        from PIL import Image
    except ImportError:
        raise InputError('reading and resizing images needs Pillow: pip install "senumpy[train]"') from None
    return Image
