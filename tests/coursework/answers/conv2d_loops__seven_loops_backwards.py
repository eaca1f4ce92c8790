import numpy as np


def conv2d_loops(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    (s0, s1), (p0, p1), (d0, d1) = ((t, t) if isinstance(t, int) else t for t in (stride, padding, dilation))
    images, _, height, width = x.shape
    outputs, channels, kh, kw = w.shape
    h_out = (height + 2 * p0 - d0 * (kh - 1) - 1) // s0 + 1
    w_out = (width + 2 * p1 - d1 * (kw - 1) - 1) // s1 + 1
    y = np.zeros((images, outputs, h_out, w_out))
    for q in reversed(range(kw)):
        for p in reversed(range(kh)):
            for c in reversed(range(channels)):
                for o in range(outputs):
                    for i in range(h_out):
                        for j in range(w_out):
                            r, t = i * s0 + p * d0 - p0, j * s1 + q * d1 - p1
                            if 0 <= r < height and 0 <= t < width:
                                g = o * groups // outputs
                                for n in range(images):
                                    y[n, o, i, j] += w[o, c, p, q] * x[n, g * channels + c, r, t]
    if b is not None:
        for o in range(outputs):
            y[:, o] += b[o]
    return y
