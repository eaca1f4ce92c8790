"""Sliding windows: the output-size arithmetic and the padding that convolution and pooling share.

A window of `kernel` taps, `dilation` apart, moves in steps of `stride` over an axis of `size` entries with
`padding` extra ones at both ends. Tap p of window i touches entry

    i * stride + p * dilation - padding

and there are

    floor((size + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1

windows. Seen from one tap p, all windows together touch a strided slice: that is how the operations loop,
over the few taps in Python and over the many windows in the array module.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from senumpy.ops.arrays import Array, check_array, zeros

Pair: TypeAlias = tuple[int, int]
IntOrPair: TypeAlias = int | Pair


class Window(NamedTuple):
    """Geometry of a window on both spatial axes; all pairs are (vertical, horizontal)."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair


def pair(name: str, value: IntOrPair, least: int) -> Pair:
    """Return `value` as a pair of ints, each at least `least`."""
    both = value if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or any(isinstance(v, bool) or not hasattr(v, "__index__") for v in both):
        raise TypeError(f"{name}: got {value!r}, wanted an int or a pair of ints (vertical, horizontal)")
    if min(both) < least:
        raise ValueError(f"{name}: got {value!r}, wanted at least {least}")
    return int(both[0]), int(both[1])


def output_size(size: Pair, window: Window, *, ceil_mode: bool = False) -> Pair:
    """Return how many windows fit on each axis.

    Parameters
    ----------
    size : (int, int)
        Height and width of the image.
    window : Window
        Its fields `kernel`, `stride`, `padding`, `dilation` are pairs (vertical, horizontal).
    ceil_mode : bool
        Keep a last, partial window (Caffe), unless it would start beyond the image and its leading padding.

    Raises
    ------
    ValueError
        The window is larger than the padded image.
    """
    # exercise output_size: 1 point, level 1, lesson 4 "How many windows fit"; given: Window
    counts = []
    for axis, n in enumerate(size):
        k, s, p, d = (setting[axis] for setting in window)
        span = d * (k - 1) + 1
        if span > n + 2 * p:
            raise ValueError(
                f"kernel: got a window of {span} entries on axis {'HW'[axis]}, "
                f"wanted at most {n + 2 * p} (size {n} + twice the padding {p})"
            )
        count = (n + 2 * p - span) // s + 1
        if ceil_mode and (n + 2 * p - span) % s and count * s < n + p:
            count += 1
        counts.append(count)
    return counts[0], counts[1]
    # end of exercise


def pool_window(
    x: Array, kernel: IntOrPair, stride: IntOrPair | None, padding: IntOrPair, ceil_mode: bool
) -> tuple[Window, Pair]:
    """Check the arguments of a pooling operation; return its window and the output size.

    `stride` is `kernel` where None; `padding` is at most half of `kernel`, so every window meets the image.
    """
    check_array("x", x, ("N", "C", "H", "W"))
    k = pair("kernel", kernel, 1)
    window = Window(
        k, k if stride is None else pair("stride", stride, 1), pair("padding", padding, 0), (1, 1)
    )
    if any(2 * p > size for p, size in zip(window.padding, k, strict=True)):
        raise ValueError(f"padding: got {padding}, wanted at most half of the kernel {kernel}")
    return window, output_size(x.shape[2:], window, ceil_mode=ceil_mode)


def pad(x: Array, window: Window, out: Pair) -> Array:
    """Return a copy of `x` (N, C, H, W) with zeros around it, as far as the windows reach."""
    n, c, h, w = x.shape
    ph, pw = window.padding
    padded = zeros((n, c, *padded_size((h, w), window, out)), x)
    padded[:, :, ph : ph + h, pw : pw + w] = x
    return padded


def unpad(padded: Array, window: Window, size: Pair) -> Array:
    """Return the inside of `pad`'s result: the adjoint of padding with zeros. A view."""
    ph, pw = window.padding
    return padded[:, :, ph : ph + size[0], pw : pw + size[1]]


def padded_size(size: Pair, window: Window, out: Pair) -> Pair:
    """Return the height and width after padding, at least up to the last tap of the last window."""
    sizes = [
        max(n + 2 * p, (count - 1) * s + d * (k - 1) + 1)
        for n, count, k, s, p, d in zip(size, out, *window, strict=True)
    ]
    return sizes[0], sizes[1]


def taps(window: Window, out: Pair) -> Iterator[tuple[int, int, tuple[slice, slice]]]:
    """Yield (p, q, slices) for every tap: where tap (p, q) of all windows lies in the padded image."""
    (kh, kw), (sh, sw), _, (dh, dw) = window
    for p in range(kh):
        for q in range(kw):
            rows = slice(p * dh, p * dh + (out[0] - 1) * sh + 1, sh)
            columns = slice(q * dw, q * dw + (out[1] - 1) * sw + 1, sw)
            yield p, q, (rows, columns)
