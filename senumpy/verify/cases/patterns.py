"""Activation patterns: on which side of every kink an input lies, from the formulas.

A pattern is a tuple of arrays: boolean masks of ReLUs, integer positions of maxima. Two inputs with equal
patterns are on the same smooth piece of the function, so a difference quotient between them is safe.
Written from the formulas and not from the library's caches, so that a wrong mask in a cache is seen.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.verify.cases.spec import Array

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


def relu(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the mask of positive inputs."""
    return (args[0] > 0,)


def max_pool2d(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return, for every window, the position of its first maximum."""
    x = args[0]  # (N, C, H, W)
    kernel, padding = _pair(kwargs["kernel"]), _pair(kwargs.get("padding", 0))
    stride = kernel if kwargs.get("stride") is None else _pair(kwargs["stride"])
    # Room for every window that ceil mode may add; surplus windows do no harm to a comparison.
    margins = [(0, 0), (0, 0), *((p, p + s) for p, s in zip(padding, stride, strict=True))]
    padded = np.pad(x, margins, constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1]]  # (N, C, H', W', kh, kw)
    return (windows.reshape(*windows.shape[:4], -1).argmax(-1),)


def global_max_pool(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the position of the first maximum of every channel."""
    x = args[0]
    return (x.reshape(*x.shape[:2], -1).argmax(-1),)


def squeeze(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the positions of the maxima where the operator is "max"; nothing for "avg"."""
    return global_max_pool(args, {}) if kwargs.get("operator", "avg") == "max" else ()


def excitation(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the mask of the hidden ReLU, and of the gate where that is a ReLU."""
    z, w1, b1, w2, b2 = args
    hidden = z @ w1.T + (0 if b1 is None else b1)  # (N, h)
    masks: tuple[Array, ...] = (hidden > 0,)
    if kwargs.get("gate", "sigmoid") == "relu":
        masks += (np.maximum(hidden, 0) @ w2.T + (0 if b2 is None else b2) > 0,)  # (N, C)
    return masks


def squeeze_excite(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the patterns of the squeeze and of the excitation."""
    u, *parameters = args
    operator = kwargs.get("squeeze", "avg")
    z = u.mean((2, 3)) if operator == "avg" else u.max((2, 3))
    gate = kwargs.get("gate", "sigmoid")
    return squeeze((u,), {"operator": operator}) + excitation((z, *parameters), {"gate": gate})


def conv_bn_relu(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the mask of the ReLU behind batch norm, with statistics of the batch or given ones."""
    x, w, *normalisation = args
    return (_normalise(_convolve(x, w, kwargs), normalisation, kwargs) > 0,)


def residual_tail(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the patterns of squeeze and excitation and the mask of the last ReLU."""
    c, *normalisation, w1, b1, w2, b2, shortcut = args
    u = _normalise(c, normalisation, kwargs)
    if w1 is None:
        return (u + shortcut > 0,)
    options: Kwargs = {name: kwargs[name] for name in ("squeeze", "gate") if name in kwargs}
    masks = squeeze_excite((u, w1, b1, w2, b2), options)
    return (*masks, u * _gate(u, w1, b1, w2, b2, options)[:, :, None, None] + shortcut > 0)


def bn_relu_se(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the mask of the ReLU behind batch norm, and the patterns of SE."""
    c, gamma, beta, *se = args
    normed = _normalise(c, [gamma, beta], kwargs)
    return (normed > 0, *squeeze_excite((np.maximum(normed, 0), *se), kwargs))


def concat_se(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the patterns of SE."""
    xs, *se = args
    return squeeze_excite((np.concatenate(xs, axis=1), *se), kwargs)


def se_add(args: Args, kwargs: Kwargs) -> tuple[Array, ...]:
    """Return the patterns of SE."""
    return squeeze_excite(args[:5], kwargs)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _convolve(x: Array, w: Array, kwargs: Kwargs) -> Array:
    """Return the convolution as a sum over windows, one einsum a group."""
    stride, padding = _pair(kwargs.get("stride", 1)), _pair(kwargs.get("padding", 0))
    dilation, groups = _pair(kwargs.get("dilation", 1)), kwargs.get("groups", 1)
    reach = tuple(d * (k - 1) + 1 for d, k in zip(dilation, w.shape[2:], strict=True))
    padded = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    windows = windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]
    parts = zip(np.split(windows, groups, axis=1), np.split(w, groups, axis=0), strict=True)
    return np.concatenate([np.einsum("nchwij,ocij->nohw", a, b) for a, b in parts], axis=1)


def _normalise(c: Array, normalisation: list[Array], kwargs: Kwargs) -> Array:
    """Return batch norm of `c` by (gamma, beta) of the batch or by (gamma, beta, mean, var)."""
    gamma, beta, *statistics = (a[None, :, None, None] for a in normalisation)
    mean = statistics[0] if statistics else c.mean((0, 2, 3), keepdims=True)
    var = statistics[1] if statistics else ((c - mean) ** 2).mean((0, 2, 3), keepdims=True)
    return gamma * (c - mean) / np.sqrt(var + kwargs.get("eps", 1e-5)) + beta


def _gate(u: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None, options: Kwargs) -> Array:
    z = u.mean((2, 3)) if options.get("squeeze", "avg") == "avg" else u.max((2, 3))  # (N, C)
    hidden = np.maximum(z @ w1.T + (0 if b1 is None else b1), 0)  # (N, h)
    logits = hidden @ w2.T + (0 if b2 is None else b2)  # (N, C)
    gate = options.get("gate", "sigmoid")
    return (
        np.tanh(logits)
        if gate == "tanh"
        else np.maximum(logits, 0)
        if gate == "relu"
        else 1 / (1 + np.exp(-logits))
    )
