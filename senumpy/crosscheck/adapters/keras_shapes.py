"""Between Keras's orders of axes and words for padding, and ours."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np

from senumpy.crosscheck.adapters.options import ALIASES, pair
from senumpy.crosscheck.exchange import all_options
from senumpy.verify.calls import OpCall
from senumpy.verify.cases import op_spec


def channels_last(op: str, layer: Any) -> bool:
    """Whether a layer's images are (N, H, W, C)."""
    if op == "concat":
        return False  # its axis says it all
    for part in layer._flatten_layers():
        if isinstance(part, keras.layers.BatchNormalization):
            return part.axis not in (1, -3)
        layout = getattr(part, "data_format", None)
        if layout is not None:
            return bool(layout == "channels_last")
    return bool(keras.config.image_data_format() == "channels_last")


def to_last(array: Any) -> Any:
    """Return an image as (N, H, W, C); other arrays as they are."""
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def to_ours(array: Any, owner: Any = None) -> Any:
    """Return a layer's image as (N, C, H, W), or the weight of `owner` as (O, I, kh, kw) or (O, I)."""
    if owner is None:
        return array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
    if array.ndim == 2:
        return array.T
    if array.ndim != 4:
        return array
    if _depthwise(owner):
        return array.transpose(2, 3, 0, 1).reshape(-1, 1, *array.shape[:2])
    return array.transpose(3, 2, 0, 1)


def to_layer(array: Any, shape: tuple[int, ...], owner: Any) -> Any:
    """Return a weight of ours in the shape that `owner` keeps it in."""
    if len(shape) == 2:
        return array.T
    if len(shape) != 4:
        return array.reshape(shape)
    if _depthwise(owner):
        return array.reshape(shape[2], shape[3], *shape[:2]).transpose(2, 3, 0, 1)
    return array.reshape(shape[3], shape[2], *shape[:2]).transpose(2, 3, 1, 0)


def _depthwise(layer: Any) -> bool:
    return isinstance(layer, keras.layers.DepthwiseConv2D)


def padding_mode(call: OpCall) -> str:
    """Return the word for a call's padding: "valid" where there is none, else "same"."""
    return "same" if any(pair(all_options(call).get("padding", 0))) else "valid"


def padding_reason(call: OpCall, mode: str | None) -> str:
    """Return why a call's padding is not what Keras does in a mode; empty where it is."""
    options = all_options(call)
    padding = pair(options["padding"])
    if mode == "valid":
        return f"it pads nothing, and by {options['padding']} here" if any(padding) else ""
    named = dict(zip(call.names, call.args, strict=True))
    kernel = named["w"].shape[2:] if "w" in named else pair(options["kernel"])
    dilations, strides = pair(options.get("dilation", 1)), pair(options["stride"])
    sizes = zip(call.args[0].shape[2:], kernel, strides, dilations, padding, strict=True)
    for size, k, stride, dilation, pad in sizes:
        total = max((-(-size // stride) - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        if total != 2 * pad:
            return f"its padding 'same' adds {total} to a size of {size}, where {2 * pad} are wanted"
    if any(padding) and options.get("count_include_pad"):
        return "its average doesn't count what it pads"
    return ""


def fixed_options(op: str, layer: Any) -> dict[str, Any]:
    """Return the options that a layer has, in our words; padding where it doesn't depend on the image."""
    found: dict[str, Any] = {}
    for p in inspect.signature(op_spec(op).forward).parameters.values():
        if p.kind is not p.KEYWORD_ONLY or p.name == "padding":
            continue
        value = None
        for part in layer._flatten_layers():
            for name in (p.name, *ALIASES.get(p.name, ())):
                value = getattr(part, name, None) if value is None else value
        if isinstance(value, bool | int | float | str | tuple | list):
            found[p.name] = tuple(value) if isinstance(value, list) else value
        elif p.default not in (p.empty, None) and p.name != "count_include_pad":
            found[p.name] = p.default
    mode = getattr(layer, "padding", None)
    if mode == "valid":
        found["padding"] = 0
    elif mode == "same" and "padding" in inspect.signature(op_spec(op).forward).parameters:
        kernel = getattr(layer, "kernel_size", None) or layer.pool_size
        total = [d * (k - 1) for k, d in zip(kernel, pair(getattr(layer, "dilation_rate", 1)), strict=True)]
        if pair(layer.strides) == (1, 1) and not any(t % 2 for t in total):
            found["padding"] = tuple(int(np.int64(t // 2)) for t in total)
        if op == "avg_pool2d":
            found["count_include_pad"] = False
    return found
