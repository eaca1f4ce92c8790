"""The parameter-free shortcut of CIFAR ResNets (He et al. 2016, arXiv 1512.03385, sec. 4.2, option A).

    y[n, a + c, i, j] = x[n, c, i*s, j*s]         other channels are zero

Where a stage halves the image and doubles the channels, the identity skips pixels and pads channels with
zeros: a = (channels - C) // 2 of them before, the rest behind.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.arrays import Array, check_array, check_upstream, zeros
from senumpy.ops.windows import IntOrPair, Pair, pair


class PadShortcutCache(NamedTuple):
    """Shapes, dtype and stride."""

    shape: tuple[int, ...]
    out_shape: tuple[int, ...]
    dtype: Any
    stride: Pair


class PadShortcutGradients(NamedTuple):
    """Gradient of the one array argument."""

    dx: Array


def pad_shortcut_forward(x: Array, *, channels: int, stride: IntOrPair = 2) -> tuple[Array, PadShortcutCache]:
    """Take every `stride`-th pixel of `x` (N, C, H, W) and pad with zeros to `channels` channels.

    Returns
    -------
    y : (N, channels, ceil(H/stride), ceil(W/stride)) array
    cache : PadShortcutCache
    """
    sh, sw, before, out_shape = shortcut_arguments(x, channels, stride)
    # exercise pad_shortcut_forward: 1 point, level 1, lesson 1 "Slices and zeros"; given: zeros
    y = zeros(out_shape, x)
    y[:, before : before + x.shape[1]] = x[:, :, ::sh, ::sw]
    return y, PadShortcutCache(x.shape, out_shape, x.dtype, (sh, sw))
    # end of exercise


# Copied entries take their gradient back; skipped pixels had no effect and get zero.
def pad_shortcut_backward(dy: Array, cache: PadShortcutCache) -> PadShortcutGradients:
    """Return the gradient of `pad_shortcut_forward` for an upstream gradient `dy`."""
    check_upstream(dy, cache.out_shape, cache.dtype)
    sh, sw = cache.stride
    c = cache.shape[1]
    before = (cache.out_shape[1] - c) // 2
    dx = zeros(cache.shape, dy)
    dx[:, :, ::sh, ::sw] = dy[:, before : before + c]
    return PadShortcutGradients(dx)


def shortcut_arguments(
    x: Array, channels: int, stride: IntOrPair
) -> tuple[int, int, int, tuple[int, int, int, int]]:
    """Check the arguments; return both strides, the channels before those of `x`, and the result's shape."""
    check_array("x", x, ("N", "C", "H", "W"))
    n, c, h, w = x.shape
    if channels < c:
        raise ValueError(f"channels: got {channels}, wanted at least the {c} channels of x")
    sh, sw = pair("stride", stride, 1)
    return sh, sw, (channels - c) // 2, (n, channels, -(-h // sh), -(-w // sw))
