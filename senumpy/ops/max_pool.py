"""Maximum over sliding windows, for each channel.

    y[n,c,i,j] = max_{p,q} x[n, c, i*s + p - pad, j*s + q - pad]        over the taps inside the image

Padding never wins. `padding=1` is PyTorch's form in ResNets; `padding=0, ceil_mode=True` is Caffe's, whose
last window may hang over the edge: the same output size, other values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.arrays import Array, check_upstream, contiguous, namespace, zeros
from senumpy.ops.windows import IntOrPair, Pair, Window, pad, padded_size, pool_window, taps, unpad


class MaxPool2dCache(NamedTuple):
    """Which tap won each window, and the geometry."""

    winner: Array  # (N, C, H', W') ints
    window: Window
    size: Pair
    out: Pair
    dtype: Any


class MaxPool2dGradients(NamedTuple):
    """Gradient of the one array argument."""

    dx: Array


def max_pool2d_forward(
    x: Array,
    *,
    kernel: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
) -> tuple[Array, MaxPool2dCache]:
    """Take the maximum of each window; NaN wins.

    Parameters
    ----------
    x : (N, C, H, W) array, float32 or float64
    kernel, stride, padding : int or pair
        `stride` is `kernel` where not given; `padding` is at most half of `kernel`.
    ceil_mode : bool
        Keep a last, partial window.

    Returns
    -------
    y : (N, C, H', W') array
    cache : MaxPool2dCache
    """
    window, out = pool_window(x, kernel, stride, padding, ceil_mode)
    # exercise max_pool2d_forward: 2 points, level 2, lesson 9 "The maximum of a window";
    #   given: pad, taps, zeros
    xp = namespace(x)
    n, c, h, w = x.shape
    padded = pad(x, window, out)
    inside = pad(xp.ones((1, 1, h, w)), window, out) > 0

    y = zeros((n, c, *out), x)
    winner = xp.full(y.shape, -1)
    for tap, (_, _, (rows, cols)) in enumerate(taps(window, out)):
        rival = padded[:, :, rows, cols]
        better = (winner < 0) | (rival.real > y.real) | xp.isnan(rival)  # ">": the first maximum wins
        better = better & inside[:, :, rows, cols]
        y = xp.where(better, rival, y)
        winner = xp.where(better, tap, winner)
    return y, MaxPool2dCache(winner, window, (h, w), out, x.dtype)
    # end of exercise


# y copies one entry of its window, which therefore takes the whole upstream gradient. Windows may overlap: an
# entry that won several collects from all of them (+=, not =).
def max_pool2d_backward(dy: Array, cache: MaxPool2dCache) -> MaxPool2dGradients:
    """Return the gradient of `max_pool2d_forward` for an upstream gradient `dy` (N, C, H', W')."""
    winner, window, size, out, dtype = cache
    check_upstream(dy, winner.shape, dtype)
    # exercise max_pool2d_backward: 2 points, level 2, lesson 9 "Ties and overlaps";
    #   given: contiguous, padded_size, taps, unpad, zeros
    xp = namespace(dy)
    padded = zeros((*dy.shape[:2], *padded_size(size, window, out)), dy)
    for tap, (_, _, (rows, cols)) in enumerate(taps(window, out)):
        padded[:, :, rows, cols] += xp.where(winner == tap, dy, xp.zeros_like(dy))
    return MaxPool2dGradients(contiguous(unpad(padded, window, size)))
    # end of exercise
