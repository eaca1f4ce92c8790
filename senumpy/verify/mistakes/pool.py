"""Mistakes in pooling over windows and over the image."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.windows import pad, padded_size, pair, taps, unpad
from senumpy.verify.mistakes.registry import wrong_arguments, wrong_backward, wrong_forward, wrong_gradients


def _swapped(value: Any) -> tuple[int, int]:
    vertical, horizontal = pair("value", value, 0)
    return horizontal, vertical


@wrong_forward("max_pool2d", "padding-wins", "Padding counts as zero, which beats negative inputs.")
def _(x: Any, *, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> Any:
    _, cache = ops.max_pool2d_forward(x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
    window, (rows, columns) = cache.window, cache.out
    whole, _ = ops.max_pool2d_forward(pad(x, window, cache.out), kernel=window.kernel, stride=window.stride)
    return whole[:, :, :rows, :columns], cache


@wrong_arguments("max_pool2d", "swapped-kernel", "The kernel pair is taken as (horizontal, vertical).")
def _(x: Any, *, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False) -> Any:
    stride = kernel if stride is None else stride
    others = {"stride": stride, "padding": padding, "ceil_mode": ceil_mode}
    return (x,), {"kernel": _swapped(kernel), **others}


@wrong_arguments("max_pool2d", "default-stride-1", "The stride is 1 where it should default to the kernel.")
def _(x: Any, *, kernel: Any, stride: Any = None, **settings: Any) -> Any:
    return (x,), {"kernel": kernel, "stride": 1 if stride is None else stride, **settings}


@wrong_arguments(
    "max_pool2d", "ceil-mode-ignored", "The last, partial window is dropped in spite of ceil_mode."
)
def _(x: Any, *, ceil_mode: bool = False, **settings: Any) -> Any:
    return (x,), settings


def _scatter(dy: Any, cache: Any, share: Any, *, add: bool) -> Any:
    """Give each tap of each window share(tap) of dy, added or assigned."""
    padded = np.zeros((*dy.shape[:2], *padded_size(cache.size, cache.window, cache.out)), dy.dtype)
    for tap, (_p, _q, (rows, cols)) in enumerate(taps(cache.window, cache.out)):
        given = np.where(cache.winner == tap, dy, 0.0) if share is None else share(tap)
        if add:
            padded[:, :, rows, cols] += given
        else:
            padded[:, :, rows, cols] = np.where(cache.winner == tap, given, padded[:, :, rows, cols])
    return unpad(padded, cache.window, cache.size).copy()


@wrong_backward("max_pool2d", "assigned", "dx is assigned (=) instead of added (+=) where windows overlap.")
def _(dy: Any, cache: Any) -> Any:
    return ops.max_pool2d_backward(dy, cache)._replace(dx=_scatter(dy, cache, None, add=False))


@wrong_backward(
    "max_pool2d", "spread-evenly", "Every entry of a window takes a share; only the maximum should."
)
def _(dy: Any, cache: Any) -> Any:
    kh, kw = cache.window.kernel
    dx = _scatter(dy, cache, lambda tap: dy / (kh * kw), add=True)
    return ops.max_pool2d_backward(dy, cache)._replace(dx=dx)


@wrong_gradients(
    "max_pool2d", "unpadded-slices", "Windows are cut from the image without its padding: dx is shifted."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dx=np.roll(gradients.dx, [-p for p in cache.window.padding], axis=(2, 3)))


@wrong_backward(
    "max_pool2d", "dx-doubled-at-overlap", "An entry that wins two windows is counted four times."
)
def _(dy: Any, cache: Any) -> Any:
    wins = _scatter(np.ones_like(dy), cache, None, add=True)
    gradients = ops.max_pool2d_backward(dy, cache)
    return gradients._replace(dx=gradients.dx * np.maximum(wins, 1.0))


@wrong_arguments("avg_pool2d", "pad-count-inverted", "count_include_pad is taken the wrong way round.")
def _(x: Any, *, count_include_pad: bool = True, **settings: Any) -> Any:
    return (x,), {"count_include_pad": not count_include_pad, **settings}


for _counted, _name, _text in (
    (True, "pad-always-counted", "count_include_pad is ignored: zeros around the image always count."),
    (False, "pad-never-counted", "count_include_pad is ignored: zeros around the image never count."),
):

    @wrong_arguments("avg_pool2d", _name, _text)
    def _(x: Any, *, count_include_pad: bool = True, _counted: bool = _counted, **settings: Any) -> Any:
        return (x,), {"count_include_pad": _counted, **settings}


@wrong_forward(
    "avg_pool2d", "full-divisor", "The divisor is kh kw even where the window hangs over the edge."
)
def _(x: Any, *, kernel: Any, **settings: Any) -> Any:
    y, cache = ops.avg_pool2d_forward(x, kernel=kernel, **settings)
    kh, kw = cache.window.kernel
    return y * cache.divisor / (kh * kw), cache


@wrong_arguments("avg_pool2d", "swapped-stride", "The stride pair is taken as (horizontal, vertical).")
def _(x: Any, *, kernel: Any, stride: Any = None, **settings: Any) -> Any:
    stride = kernel if stride is None else stride
    return (x,), {"kernel": kernel, "stride": _swapped(stride), **settings}


@wrong_backward("avg_pool2d", "not-divided", "The gradient is not divided by the number of taps.")
def _(dy: Any, cache: Any) -> Any:
    return ops.avg_pool2d_backward(dy * cache.divisor, cache)


@wrong_backward("avg_pool2d", "assigned", "dx is assigned (=) instead of added (+=) where windows overlap.")
def _(dy: Any, cache: Any) -> Any:
    padded = np.zeros((*dy.shape[:2], *padded_size(cache.shape[2:], cache.window, cache.out)), dy.dtype)
    for _p, _q, (rows, cols) in taps(cache.window, cache.out):
        padded[:, :, rows, cols] = dy / cache.divisor
    dx = unpad(padded, cache.window, cache.shape[2:]).copy()
    return ops.avg_pool2d_backward(dy, cache)._replace(dx=dx)


@wrong_forward("global_avg_pool", "sum", "The pixels are summed, not averaged.")
def _(x: Any) -> Any:
    return x.sum((2, 3)), ops.global_avg_pool_forward(x)[1]


@wrong_gradients("global_avg_pool", "not-divided", "dx lacks 1 / (H W).")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dx=gradients.dx * (cache.shape[2] * cache.shape[3]))


@wrong_gradients("global_avg_pool", "divided-by-height", "dx is divided by H alone.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dx=gradients.dx * cache.shape[3])


@wrong_gradients(
    "global_max_pool", "spread-evenly", "The gradient goes to all pixels evenly, as for an average."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(
        dx=np.broadcast_to(gradients.dx.mean((2, 3), keepdims=True), cache.won.shape).copy()
    )


@wrong_backward(
    "global_max_pool", "last-pixel", "The gradient goes to the last pixel instead of the largest."
)
def _(dy: Any, cache: Any) -> Any:
    dx = np.zeros(cache.won.shape, dy.dtype)
    dx[:, :, -1, -1] = dy
    return ops.global_max_pool_backward(dy, cache)._replace(dx=dx)
