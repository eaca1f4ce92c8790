"""dx is the full convolution of the dilated upstream gradient with the flipped kernel."""
import numpy as np


def correlate(x, w, dilation=(1, 1), step=(1, 1)):
    """Plain correlation without padding: (N,C,H,W), (O,C,kh,kw) -> (N,O,H',W')."""
    kh, kw = w.shape[2:]
    view = np.lib.stride_tricks.sliding_window_view(
        x, (dilation[0] * (kh - 1) + 1, dilation[1] * (kw - 1) + 1), axis=(2, 3)
    )[:, :, :: step[0], :: step[1], :: dilation[0], :: dilation[1]]
    return np.einsum("nchwpq,ocpq->nohw", view, w, optimize=True)


def conv2d_backward(dy, cache, *, need_dx=True):
    x, w, has_bias, window, groups, _ = cache
    kernel, stride, padding, dilation = window
    N, C, H, W = x.shape
    # dilate
    big = np.zeros((N, len(w), (dy.shape[2] - 1) * stride[0] + 1, (dy.shape[3] - 1) * stride[1] + 1), dy.dtype)
    big[:, :, :: stride[0], :: stride[1]] = dy
    reach = [dilation[k] * (kernel[k] - 1) for k in (0, 1)]
    full = np.pad(big, ((0, 0), (0, 0), (reach[0],) * 2, (reach[1],) * 2))
    xpad = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    dx, dw = [], []
    for wg, fullg, dyg, xg in zip(
        np.split(w, groups), np.split(full, groups, 1), np.split(dy, groups, 1), np.split(xpad, groups, 1)
    ):
        flipped = np.flip(wg, (2, 3)).transpose(1, 0, 2, 3)
        part = np.zeros_like(xg)
        found = correlate(fullg, flipped, dilation)
        part[:, :, : found.shape[2], : found.shape[3]] = found  # rows that no window reached stay zero
        dx.append(part[:, :, padding[0] : padding[0] + H, padding[1] : padding[1] + W])
        # dw: the image is correlated with dy as a kernel, dilated by the stride; images are the channels
        rows = (dyg.shape[2] - 1) * stride[0] + reach[0] + 1
        cols = (dyg.shape[3] - 1) * stride[1] + reach[1] + 1
        both = correlate(
            xg[:, :, :rows, :cols].transpose(1, 0, 2, 3), dyg.transpose(1, 0, 2, 3), stride, dilation
        )
        dw.append(both.transpose(1, 0, 2, 3))
    return np.concatenate(dx, 1), np.concatenate(dw, 0), dy.sum(axis=(0, 2, 3)) if has_bias else None
