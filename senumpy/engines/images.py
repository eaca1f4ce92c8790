"""From bytes to what a network takes: crop, mirror, normalise. This is the definition, in NumPy."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Images: TypeAlias = NDArray[np.uint8]
Offsets: TypeAlias = NDArray[np.int64]
Flips: TypeAlias = NDArray[np.bool_]
Factors: TypeAlias = NDArray[np.float32]
RawImages: TypeAlias = tuple[Images, Offsets | None, Flips | None, NDArray[np.int64]]
"""Images (N, H, W, C), offsets (N, 2) and flips (N,) as in `prepared_images`, and labels (N,)."""


def prepared_images(
    images: Images, offsets: Offsets | None, flips: Flips | None, scale: Factors, shift: Factors
) -> NDArray[np.float32]:
    """Return x (N, C, H, W) with x = scale image + shift, of the images cropped and mirrored.

    Bit for bit what `RandomCrop`, `RandomFlip` and `Normalize` of `senumpy.data` make of each image: one
    rounding after the product and one after the sum, no fused multiply-add.

    Parameters
    ----------
    images : array
        (N, H, W, C) uint8.
    offsets : array or None
        (N, 2), (dy, dx) in the image of the corner of its crop, which is of the same size. What is outside of
        the image is 0, then normalised like the rest.
    flips : array or None
        (N,) bool, whether the crop is mirrored left and right.
    scale, shift : array
        (C,) float32.
    """
    if offsets is not None:
        images = _cropped(images, offsets)
    if flips is not None:
        images = np.where(flips[:, None, None, None], images[:, :, ::-1], images)
    return np.ascontiguousarray((images * scale + shift).transpose(0, 3, 1, 2))


def _cropped(images: Images, offsets: Offsets) -> Images:
    count, height, width, _ = images.shape
    edge = int(np.abs(offsets).max())
    padded = np.pad(images, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    rows = edge + offsets[:, :1] + np.arange(height)  # (N, H)
    columns = edge + offsets[:, 1:] + np.arange(width)  # (N, W)
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
