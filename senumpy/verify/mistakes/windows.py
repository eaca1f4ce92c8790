"""Conventions of windows that move over an image: where padding goes, where the first window starts."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.conv2d import check_conv_arguments
from senumpy.ops.windows import Window, pair, pool_window
from senumpy.verify.mistakes.registry import (
    wrong_arguments,
    wrong_backward,
    wrong_forward,
    wrong_gradients,
    wrong_result,
)

_UNEVEN = (
    "Padding goes the way of TensorFlow's SAME, the odd one at the end (0, 1), where it is (1, 1) here and "
    "in PyTorch: at stride 2 the same size, other values."
)
_FROM_THE_END = "Windows are aligned with the end of the image; the first one starts at its first pixel."


def _reach(size: int, out: int, axis: int, window: Window) -> int:
    """Return how many entries all windows together cover, over the image's size; at least 0."""
    k, s, _, d = (setting[axis] for setting in window)
    return max((out - 1) * s + d * (k - 1) + 1 - size, 0)


def _uneven(x: Any, window: Window, out: Any, value: float = 0.0) -> Any:
    """Return the image padded as SAME does for as many windows: half in front, the larger half behind."""
    total = [_reach(x.shape[2 + axis], out[axis], axis, window) for axis in (0, 1)]
    room = [(t // 2, t - t // 2) for t in total]
    return np.pad(x, ((0, 0), (0, 0), *room), constant_values=value)


def _from_the_end(x: Any, window: Window, value: float = 0.0) -> Any:
    """Return the padded image without the rows and columns in front that windows from the end leave over."""
    spare = []
    for axis in (0, 1):
        k, s, p, d = (setting[axis] for setting in window)
        spare.append((x.shape[2 + axis] + 2 * p - d * (k - 1) - 1) % s)
    (ph, pw), (h, w) = window.padding, spare
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), constant_values=value)
    return padded[:, :, h:, w:]


# -- convolution -------------------------------------------------------------------------------------------


def _geometry(x: Any, w: Any, b: Any, settings: dict[str, Any]) -> tuple[Window, Any]:
    options = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | settings
    return check_conv_arguments(x, w, b, **options)


@wrong_forward("conv2d", "same-uneven", _UNEVEN)
def _(x: Any, w: Any, b: Any = None, **settings: Any) -> Any:
    window, out = _geometry(x, w, b, settings)
    y, _ = ops.conv2d_forward(_uneven(x, window, out), w, b, **settings | {"padding": 0})
    return y, ops.conv2d_forward(x, w, b, **settings)[1]


@wrong_forward("conv2d", "windows-from-the-end", _FROM_THE_END)
def _(x: Any, w: Any, b: Any = None, **settings: Any) -> Any:
    window, _ = _geometry(x, w, b, settings)
    y, _ = ops.conv2d_forward(_from_the_end(x, window), w, b, **settings | {"padding": 0})
    return y, ops.conv2d_forward(x, w, b, **settings)[1]


@wrong_forward(
    "conv2d", "last-of-each-stride", "Of each stride's pixels the last is kept instead of the first."
)
def _(x: Any, w: Any, b: Any = None, *, stride: Any = 1, **settings: Any) -> Any:
    y, _ = ops.conv2d_forward(x, w, b, **settings)
    sh, sw = pair("stride", stride, 1)
    cache = ops.conv2d_forward(x, w, b, stride=stride, **settings)[1]
    return y[:, :, sh - 1 :: sh, sw - 1 :: sw].copy(), cache


@wrong_forward("conv2d", "circular-padding", "The image is continued on its other side instead of by zeros.")
def _(x: Any, w: Any, b: Any = None, *, padding: Any = 0, **settings: Any) -> Any:
    ph, pw = pair("padding", padding, 0)
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), mode="wrap")
    y, _ = ops.conv2d_forward(padded, w, b, **settings)
    return y, ops.conv2d_forward(x, w, b, padding=padding, **settings)[1]


@wrong_forward("conv2d", "reflected-padding", "The image is padded with its reflection instead of zeros.")
def _(x: Any, w: Any, b: Any = None, *, padding: Any = 0, **settings: Any) -> Any:
    ph, pw = pair("padding", padding, 0)
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), mode="reflect")
    y, _ = ops.conv2d_forward(padded, w, b, **settings)
    return y, ops.conv2d_forward(x, w, b, padding=padding, **settings)[1]


@wrong_arguments("conv2d", "padding-ignored", "The image is not padded.")
def _(x: Any, w: Any, b: Any = None, *, padding: Any = 0, **settings: Any) -> Any:
    return (x, w, b), settings


@wrong_arguments("conv2d", "stride-ignored", "The stride is 1 whatever was asked for.")
def _(x: Any, w: Any, b: Any = None, *, stride: Any = 1, **settings: Any) -> Any:
    return (x, w, b), settings


@wrong_arguments("conv2d", "kernel-transposed", "The kernel's height and width are exchanged.")
def _(x: Any, w: Any, b: Any = None, **settings: Any) -> Any:
    if w.shape[2] != w.shape[3]:
        raise ValueError("w: a transposed kernel would have another shape")
    return (x, np.ascontiguousarray(w.swapaxes(2, 3)), b), settings


@wrong_result("conv2d", "bias-subtracted", "The bias is subtracted.")
def _(y: Any, x: Any, w: Any, b: Any = None, **settings: Any) -> Any:
    return y if b is None else y - 2.0 * b[:, None, None]


@wrong_result("conv2d", "bias-twice", "The bias is added twice.")
def _(y: Any, x: Any, w: Any, b: Any = None, **settings: Any) -> Any:
    return y if b is None else y + b[:, None, None]


@wrong_gradients(
    "conv2d", "db-averaged", "db is averaged over the batch; the mean belongs to the loss alone."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(db=None if gradients.db is None else gradients.db / dy.shape[0])


@wrong_gradients("conv2d", "dw-averaged-over-windows", "dw is averaged over the windows instead of summed.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dw=gradients.dw / dy[0, 0].size)


@wrong_gradients(
    "conv2d", "dx-averaged", "dx is divided by the batch size; the mean belongs to the loss alone."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dx=gradients.dx / dy.shape[0])


# -- pooling -----------------------------------------------------------------------------------------------


def _settings(
    x: Any, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False, **_: Any
) -> tuple[Window, Any]:
    return pool_window(x, kernel, stride, padding, ceil_mode)


_LOWEST = -1e30  # stands for -inf, which complex steps don't survive


@wrong_forward("max_pool2d", "same-uneven", _UNEVEN)
def _(x: Any, **settings: Any) -> Any:
    window, out = _settings(x, **settings)
    return _pooled("max", _uneven(x, window, out, _LOWEST), window), ops.max_pool2d_forward(x, **settings)[1]


@wrong_forward("max_pool2d", "windows-from-the-end", _FROM_THE_END)
def _(x: Any, **settings: Any) -> Any:
    window, _ = _settings(x, **settings)
    return _pooled("max", _from_the_end(x, window, _LOWEST), window), ops.max_pool2d_forward(x, **settings)[1]


@wrong_forward("avg_pool2d", "same-uneven", _UNEVEN)
def _(x: Any, *, count_include_pad: bool = True, **settings: Any) -> Any:
    window, out = _settings(x, **settings)
    total = _pooled("avg", _uneven(x, window, out), window)
    if not count_include_pad:
        inside = _uneven(np.ones((1, 1, *x.shape[2:]), x.dtype), window, out)
        total = total / _pooled("avg", inside, window)
    return total, ops.avg_pool2d_forward(x, count_include_pad=count_include_pad, **settings)[1]


@wrong_forward("avg_pool2d", "windows-from-the-end", _FROM_THE_END)
def _(x: Any, *, count_include_pad: bool = True, **settings: Any) -> Any:
    window, _ = _settings(x, **settings)
    total = _pooled("avg", _from_the_end(x, window), window)
    if not count_include_pad:
        inside = _from_the_end(np.ones((1, 1, *x.shape[2:]), x.dtype), window)
        total = total / _pooled("avg", inside, window)
    return total, ops.avg_pool2d_forward(x, count_include_pad=count_include_pad, **settings)[1]


def _pooled(kind: str, padded: Any, window: Window) -> Any:
    pool = ops.max_pool2d_forward if kind == "max" else ops.avg_pool2d_forward
    return pool(padded, kernel=window.kernel, stride=window.stride)[0]


@wrong_arguments("avg_pool2d", "swapped-kernel", "The kernel pair is taken as (horizontal, vertical).")
def _(x: Any, *, kernel: Any, stride: Any = None, **settings: Any) -> Any:
    vertical, horizontal = pair("kernel", kernel, 1)
    return (x,), {
        "kernel": (horizontal, vertical),
        "stride": kernel if stride is None else stride,
        **settings,
    }


@wrong_arguments("avg_pool2d", "default-stride-1", "The stride is 1 where it should default to the kernel.")
def _(x: Any, *, kernel: Any, stride: Any = None, **settings: Any) -> Any:
    return (x,), {"kernel": kernel, "stride": 1 if stride is None else stride, **settings}


@wrong_arguments(
    "avg_pool2d", "ceil-mode-ignored", "The last, partial window is dropped in spite of ceil_mode."
)
def _(x: Any, *, ceil_mode: bool = False, **settings: Any) -> Any:
    return (x,), settings


for _op in ("max_pool2d", "avg_pool2d"):

    @wrong_arguments(_op, "always-ceil-mode", "A last, partial window is kept though ceil_mode is off.")
    def _(x: Any, *, ceil_mode: bool = False, **settings: Any) -> Any:
        return (x,), {"ceil_mode": True, **settings}

    @wrong_arguments(_op, "padding-ignored", "The image is not padded.")
    def _(x: Any, *, padding: Any = 0, **settings: Any) -> Any:
        return (x,), settings


@wrong_backward("avg_pool2d", "full-divisor-back", "The backward divides by kh kw even at the border.")
def _(dy: Any, cache: Any) -> Any:
    kh, kw = cache.window.kernel
    return ops.avg_pool2d_backward(dy * cache.divisor / (kh * kw), cache)
