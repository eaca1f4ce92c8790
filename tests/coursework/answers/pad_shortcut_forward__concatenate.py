import numpy as np

from senumpy.ops.windows import pair


def zeros_of(image, how_many):
    n, _, h, w = image.shape
    return np.zeros((n, how_many, h, w), dtype=image.dtype)


def pad_shortcut_forward(x, *, channels, stride=2):
    s = pair("stride", stride, 1)
    small = x[:, :, :: s[0], :: s[1]]
    if (extra := channels - small.shape[1]) == 0:
        return small, s  # nothing to pad
    return np.concatenate([zeros_of(small, extra // 2), small, zeros_of(small, extra - extra // 2)], axis=1), s
