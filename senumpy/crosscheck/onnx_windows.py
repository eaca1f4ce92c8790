"""ONNX's convolutions and pools as ours: one to three axes, uneven and automatic paddings, dilated pools.

Where our geometry has it, the call is our operation as it stands. Otherwise the image is padded before it
(convolutions), or what the windows see is laid out side by side, and our operation takes one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.composed import Windows, laid_out_windows, spatial, windows_pool_call
from senumpy.verify.calls import OpCall

Array = NDArray[Any]
Shaped = tuple[OpCall, Callable[[Array], Array]]  # a call, and how a node's result gets its shape


def conv(attributes: dict[str, Any], x: Array, w: Array, b: Array | None) -> Shaped:
    """Return the call that a Conv is.

    Parameters
    ----------
    attributes : dict
        As ONNX names them: strides, pads, dilations, group, auto_pad.
    x : (N, C, ...) array
    w : (O, C/group, ...) array
    b : (O,) array or None
    """
    windows, after = _geometry(attributes, x.shape[2:], w.shape[2:])
    groups = {"groups": int(attributes.get("group", 1))}
    if len(windows.shape) > 2:
        side_by_side = laid_out_windows(x, windows, 0.0)  # (N, C, L, K)
        kernels = w.reshape(*w.shape[:2], 1, -1)
        call = OpCall("conv2d", (side_by_side, kernels, b), {"stride": (1, kernels.shape[3]), **groups})
        return call, lambda y: y.reshape(*y.shape[:2], -1, 1)
    padding = windows.before
    if padding != after:
        x = np.pad(x, ((0, 0), (0, 0), *zip(padding, after, strict=True)))
        padding = (0,) * len(padding)
    options = {"stride": windows.stride, "padding": padding, "dilation": windows.dilation}
    pairs = {name: _pair(value, 0 if name == "padding" else 1) for name, value in options.items()}
    return OpCall("conv2d", (spatial(x), spatial(w), b), {**pairs, **groups}), spatial


def pool(op: str, attributes: dict[str, Any], x: Array) -> Shaped:
    """Return the call that an AveragePool or a MaxPool is.

    Parameters
    ----------
    op : {"max_pool2d", "avg_pool2d"}
    attributes : dict
        As ONNX names them: kernel_shape, strides, pads, dilations, auto_pad, ceil_mode, count_include_pad.
    x : (N, C, ...) array
    """
    windows, after = _geometry(attributes, x.shape[2:], tuple(attributes["kernel_shape"]))
    counted = bool(attributes.get("count_include_pad", 0))
    even = windows.before == after and all(2 * p <= k for p, k in zip(after, windows.kernel, strict=True))
    if even and set(windows.dilation) == {1} and len(windows.shape) <= 2:
        options: dict[str, Any] = {
            "kernel": _pair(windows.kernel, 1),
            "stride": _pair(windows.stride, 1),
            "padding": _pair(windows.before, 0),
            "ceil_mode": bool(attributes.get("ceil_mode", 0)) and not _automatic(attributes),
        }
        if op == "avg_pool2d":
            options["count_include_pad"] = counted
        return OpCall(op, (spatial(x),), options), spatial
    divisor = _taps_that_count(windows, after, counted) if op == "avg_pool2d" else None
    return windows_pool_call(op, x, windows, divisor), np.asarray


def _taps_that_count(windows: Windows, after: tuple[int, ...], counted: bool) -> Array:
    """Return how many taps of each window count: those in the image, or also those in its padding."""
    if not counted:
        return windows.touched()[1].sum(1)
    shape = tuple(p + n + q for p, n, q in zip(windows.before, windows.shape, after, strict=True))
    padded = windows._replace(shape=shape, before=(0,) * len(shape))
    return padded.touched()[1].sum(1)


def _geometry(
    attributes: dict[str, Any], shape: tuple[int, ...], kernel: tuple[int, ...]
) -> tuple[Windows, tuple[int, ...]]:
    """Return the windows of a node, and the padding behind the image."""
    axes = len(shape)
    stride = tuple(attributes.get("strides") or (1,) * axes)
    dilation = tuple(attributes.get("dilations") or (1,) * axes)
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    pads = list(attributes.get("pads") or (0,) * (2 * axes))
    automatic = _automatic(attributes)
    if automatic.startswith("SAME"):
        # As many windows as strides fit into the image; of an odd padding one side gets more.
        out = [-(-n // s) for n, s in zip(shape, stride, strict=True)]
        totals = [
            max((count - 1) * s + span - n, 0)
            for n, s, span, count in zip(shape, stride, spans, out, strict=True)
        ]
        less, more = [t // 2 for t in totals], [t - t // 2 for t in totals]
        pads = less + more if automatic == "SAME_UPPER" else more + less
    elif automatic == "VALID":
        pads = [0] * (2 * axes)
    before, after = tuple(pads[:axes]), tuple(pads[axes:])
    counts = []
    for n, s, span, p, q in zip(shape, stride, spans, before, after, strict=True):
        room = n + p + q - span
        count = room // s + 1
        # A last, partial window is kept unless it starts in the padding behind the image.
        partial = bool(attributes.get("ceil_mode", 0)) and not automatic and room % s and count * s < n + p
        counts.append(count + int(partial))
    return Windows(tuple(shape), tuple(kernel), stride, dilation, before, tuple(counts)), after


def _automatic(attributes: dict[str, Any]) -> str:
    """Return the automatic padding: empty where the pads are given."""
    mode = attributes.get("auto_pad", "NOTSET")
    return "" if mode == "NOTSET" else str(mode)


def _pair(values: tuple[int, ...], missing: int) -> tuple[int, int]:
    """Return the setting of two axes; `missing` for the second of a single one."""
    first, second = (*values, missing)[:2]
    return int(first), int(second)
