"""The 1,797 handwritten digits that come with scikit-learn: real images, no download."""

from __future__ import annotations

import numpy as np

from senumpy.data.dataset import Found, Part
from senumpy.errors import InputError


def load_digits() -> Found:
    """Return the digits: (1797, 8, 8, 1) uint8, ten classes, no test part of their own.

    The test part of the UCI set "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998;
    CC BY 4.0): counts 0 to 16 of dark pixels in 4x4 blocks, scaled here to 0 to 255.
    """
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise InputError('the digits come with scikit-learn: pip install "senumpy[train]"') from None
    bunch = load()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]  # (1797, 8, 8, 1)
    labels = bunch.target.astype(np.int64)
    return Found("digits", tuple("0123456789"), Part(images, labels), None)
