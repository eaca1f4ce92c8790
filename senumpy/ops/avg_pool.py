"""Average over sliding windows, for each channel.

    y[n,c,i,j] = 1/D[i,j] sum_{p,q} x[n, c, i*s + p - pad, j*s + q - pad]        x is zero outside the image

D is the number of taps inside the padded image, or inside the image alone with `count_include_pad=False`; it
is smaller than the window where that hangs over the edge (`ceil_mode`). The conventions are PyTorch's.
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.arrays import Array, check_upstream, contiguous, zeros
from senumpy.ops.windows import IntOrPair, Pair, Window, pad, padded_size, pool_window, taps, unpad


class AvgPool2dCache(NamedTuple):
    """The number of taps that count in each window, and the geometry."""

    divisor: Array  # (1, 1, H', W')
    window: Window
    shape: tuple[int, ...]
    out: Pair


class AvgPool2dGradients(NamedTuple):
    """Gradient of the one array argument."""

    dx: Array


def avg_pool2d_forward(
    x: Array,
    *,
    kernel: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> tuple[Array, AvgPool2dCache]:
    """Take the average of each window.

    Parameters
    ----------
    x : (N, C, H, W) array, float32 or float64
    kernel, stride, padding, ceil_mode
        As in `max_pool2d_forward`.
    count_include_pad : bool
        Whether the divisor counts padding entries. What hangs over the padded image never counts.

    Returns
    -------
    y : (N, C, H', W') array
    cache : AvgPool2dCache
    """
    window, out = pool_window(x, kernel, stride, padding, ceil_mode)
    n, c, h, w = x.shape
    padded = pad(x, window, out)
    counted = zeros((1, 1, *padded.shape[2:]), x)
    (ph, pw) = window.padding
    if count_include_pad:
        counted[:, :, : h + 2 * ph, : w + 2 * pw] = 1.0
    else:
        counted[:, :, ph : ph + h, pw : pw + w] = 1.0

    total, divisor = zeros((n, c, *out), x), zeros((1, 1, *out), x)
    for _, _, (rows, cols) in taps(window, out):
        total += padded[:, :, rows, cols]
        divisor += counted[:, :, rows, cols]
    return total / divisor, AvgPool2dCache(divisor, window, x.shape, out)


# y is linear in x: each entry gives 1/D to every window that it lies in, and collects dy/D from each.
def avg_pool2d_backward(dy: Array, cache: AvgPool2dCache) -> AvgPool2dGradients:
    """Return the gradient of `avg_pool2d_forward` for an upstream gradient `dy` (N, C, H', W')."""
    divisor, window, (n, c, h, w), out = cache
    check_upstream(dy, (n, c, *out), divisor.dtype)
    # exercise avg_pool2d_backward: 2 points, level 2, lesson 9 "The average, backwards";
    #   given: contiguous, padded_size, taps, unpad, zeros
    share = dy / divisor
    padded = zeros((n, c, *padded_size((h, w), window, out)), dy)
    for _, _, (rows, cols) in taps(window, out):
        padded[:, :, rows, cols] += share
    return AvgPool2dGradients(contiguous(unpad(padded, window, (h, w))))
    # end of exercise
