import itertools

import numpy as np


def conv2d_forward(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    if groups > 1:  # each group is a convolution of its own
        biases = [None] * groups if b is None else np.split(b, groups)
        every = [
            conv2d_forward(xg, wg, bg, stride=stride, padding=padding, dilation=dilation)[0]
            for xg, wg, bg in zip(np.split(x, groups, 1), np.split(w, groups, 0), biases)
        ]
        return np.concatenate(every, axis=1), None

    def pair(v):
        try:
            a, b = v
        except TypeError:
            a = b = v
        return a, b

    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    n, c, H, W = x.shape
    o, _, kh, kw = w.shape
    big = np.zeros((n, c, H + 2 * ph, W + 2 * pw), x.dtype)
    big[:, :, ph : ph + H, pw : pw + W] = x
    ho = 1 + (H + 2 * ph - 1 - dh * (kh - 1)) // sh
    wo = 1 + (W + 2 * pw - 1 - dw * (kw - 1)) // sw
    y = 0
    for p, q in itertools.product(range(kh), range(kw)):
        seen = big[:, :, p * dh : p * dh + (ho - 1) * sh + 1 : sh, q * dw : q * dw + (wo - 1) * sw + 1 : sw]
        y = y + np.tensordot(w[:, :, p, q], seen, axes=(1, 1))
    y = y.transpose(1, 0, 2, 3)
    return (y if b is None else y + b.reshape(1, -1, 1, 1)), {"x": x, "w": w}
