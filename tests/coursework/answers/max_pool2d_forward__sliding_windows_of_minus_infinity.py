import numpy as np

from senumpy.ops.windows import pool_window


def max_pool2d_forward(x, *, kernel, stride=None, padding=0, ceil_mode=False):
    window, (ho, wo) = pool_window(x, kernel, stride, padding, ceil_mode)
    (kh, kw), (sh, sw), (ph, pw), _ = window
    more = kh * 2, kw * 2  # enough for a last window that hangs over
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph + more[0]), (pw, pw + more[1])), constant_values=-np.inf)
    view = np.lib.stride_tricks.sliding_window_view(padded, (kh, kw), (2, 3))[:, :, ::sh, ::sw][:, :, :ho, :wo]
    flat = view.reshape(*view.shape[:4], -1)
    winner = flat.argmax(-1)
    return np.take_along_axis(flat, winner[..., None], -1)[..., 0], winner
