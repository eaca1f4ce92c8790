"""Mistakes in convolution."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.ops.windows import pair, taps
from senumpy.verify.mistakes.registry import wrong_arguments, wrong_backward, wrong_forward, wrong_gradients


def _swapped(value: Any) -> tuple[int, int]:
    vertical, horizontal = pair("value", value, 0)
    return horizontal, vertical


@wrong_forward(
    "conv2d", "flipped-kernel", "The kernel is flipped: this is a convolution, frameworks correlate."
)
def _(x: Any, w: Any, b: Any = None, **settings: Any) -> Any:
    y, _ = ops.conv2d_forward(x, w[:, :, ::-1, ::-1], b, **settings)
    return y, ops.conv2d_forward(x, w, b, **settings)[1]


@wrong_arguments("conv2d", "swapped-stride", "The stride pair is taken as (horizontal, vertical).")
def _(x: Any, w: Any, b: Any = None, *, stride: Any = 1, **settings: Any) -> Any:
    return (x, w, b), {"stride": _swapped(stride), **settings}


@wrong_arguments("conv2d", "swapped-padding", "The padding pair is taken as (horizontal, vertical).")
def _(x: Any, w: Any, b: Any = None, *, padding: Any = 0, **settings: Any) -> Any:
    return (x, w, b), {"padding": _swapped(padding), **settings}


@wrong_arguments("conv2d", "swapped-dilation", "The dilation pair is taken as (horizontal, vertical).")
def _(x: Any, w: Any, b: Any = None, *, dilation: Any = 1, **settings: Any) -> Any:
    return (x, w, b), {"dilation": _swapped(dilation), **settings}


@wrong_arguments(
    "conv2d", "dilation-ignored", "The taps of the kernel stay side by side whatever the dilation."
)
def _(x: Any, w: Any, b: Any = None, *, dilation: Any = 1, **settings: Any) -> Any:
    return (x, w, b), settings


@wrong_forward("conv2d", "edge-padding", "The image is padded with its edge values instead of zeros.")
def _(x: Any, w: Any, b: Any = None, *, padding: Any = 0, **settings: Any) -> Any:
    ph, pw = pair("padding", padding, 0)
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)), mode="edge")
    y, _ = ops.conv2d_forward(padded, w, b, **settings)
    return y, ops.conv2d_forward(x, w, b, padding=padding, **settings)[1]


@wrong_forward(
    "conv2d", "interleaved-groups", "Output channel o is given group o % G instead of o // (O / G)."
)
def _(x: Any, w: Any, b: Any = None, *, groups: int = 1, **settings: Any) -> Any:
    y, cache = ops.conv2d_forward(x, w, b, groups=groups, **settings)
    order = np.arange(w.shape[0]).reshape(groups, -1).T.ravel()
    return y[:, order], cache


@wrong_forward("conv2d", "bias-forgotten", "The bias is not added.")
def _(x: Any, w: Any, b: Any = None, **settings: Any) -> Any:
    return ops.conv2d_forward(x, w, None, **settings)[0], ops.conv2d_forward(x, w, b, **settings)[1]


@wrong_backward("conv2d", "dw-of-one-image", "dw is not summed over the batch: only the first image counts.")
def _(dy: Any, cache: Any) -> Any:
    alone = np.zeros_like(dy)
    alone[:1] = dy[:1]
    return ops.conv2d_backward(dy, cache)._replace(dw=ops.conv2d_backward(alone, cache).dw)


@wrong_gradients(
    "conv2d", "dw-averaged", "dw is averaged over the batch; the mean belongs to the loss alone."
)
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dw=gradients.dw / dy.shape[0])


@wrong_gradients("conv2d", "dw-negative", "dw has the wrong sign.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dw=-gradients.dw)


@wrong_gradients("conv2d", "dw-flipped", "dw is written to the kernel's taps in reverse order.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dw=gradients.dw[:, :, ::-1, ::-1].copy())


@wrong_gradients("conv2d", "db-averaged-over-space", "db is averaged over the pixels instead of summed.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(db=None if gradients.db is None else gradients.db / dy[0, 0].size)


@wrong_backward("conv2d", "dx-assigned", "dx is assigned (=) instead of added (+=) where windows overlap.")
def _(dy: Any, cache: Any) -> Any:
    x, w, _, window, groups, out = cache
    n, o = dy.shape[:2]
    rows_of = dy.reshape(n, groups, o // groups, -1)
    columns = np.swapaxes(w.reshape(groups, o // groups, -1), 1, 2) @ rows_of
    columns = columns.reshape(n, x.shape[1], *window.kernel, *out)
    (ph, pw), (h, width) = window.padding, x.shape[2:]
    padded = np.zeros((n, x.shape[1], h + 2 * ph, width + 2 * pw), x.dtype)
    for p, q, (rows, cols) in taps(window, out):
        padded[:, :, rows, cols] = columns[:, :, p, q]
    return ops.conv2d_backward(dy, cache)._replace(dx=padded[:, :, ph : ph + h, pw : pw + width].copy())


@wrong_gradients("conv2d", "dx-shifted", "The padding is cut off dx at the end only, so dx is shifted.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dx=np.roll(gradients.dx, cache.window.padding, axis=(2, 3)))


@wrong_backward(
    "conv2d", "dx-with-flipped-kernel", "dx spreads dy with the flipped kernel: it is not the adjoint."
)
def _(dy: Any, cache: Any) -> Any:
    flipped = cache._replace(w=np.ascontiguousarray(cache.w[:, :, ::-1, ::-1]))
    return ops.conv2d_backward(dy, cache)._replace(dx=ops.conv2d_backward(dy, flipped).dx)


@wrong_gradients("conv2d", "float32-inside", "A buffer is float32 whatever the dtype of the arguments.")
def _(gradients: Any, dy: Any, cache: Any) -> Any:
    return gradients._replace(dx=gradients.dx.astype(np.float32))
