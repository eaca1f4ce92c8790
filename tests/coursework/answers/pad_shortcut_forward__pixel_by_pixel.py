import math

import numpy as np


def pad_shortcut_forward(x, *, channels, stride=2):
    sv, sh = stride if isinstance(stride, tuple) else (stride, stride)
    n_img, c_in, h, w = x.shape
    a = (channels - c_in) // 2
    y = np.zeros((n_img, channels, math.ceil(h / sv), math.ceil(w / sh)), x.dtype)
    for n in range(n_img):
        for c in range(c_in):
            for i in range(y.shape[2]):
                for j in range(y.shape[3]):
                    y[n, a + c, i, j] = x[n, c, i * sv, j * sh]
    return y, {}
