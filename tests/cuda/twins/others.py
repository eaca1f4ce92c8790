"""Twins of the other kernels: `pooling`, `loss`, `excite`, `images`, `sgd`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.cuda.twins.compare import twin

SIGMOID, TANH, RELU = 0, 1, 2


def _taps(size: Any, out: Any, kernel: Any, stride: Any, pad: Any) -> Iterator[tuple[int, ...]]:
    """Yield (tap, i, j, row, col) in the order of taps, where the pixel is inside."""
    for p, q, i, j in np.ndindex(*kernel, *out):
        row, col = i * stride[0] + p - pad[0], j * stride[1] + q - pad[1]
        if 0 <= row < size[0] and 0 <= col < size[1]:
            yield p * kernel[1] + q, i, j, row, col


@twin
def max_pool(launch, x, h, w, vecs, out_h, out_w, kh, kw, sh, sw, pad_h, pad_w, pixels):
    channels = vecs * launch.build.width
    x = x.reshape(-1, h, w, channels)
    best = np.zeros((len(x), out_h, out_w, channels))
    winner = np.full(best.shape, -1)
    for tap, i, j, row, col in _taps((h, w), (out_h, out_w), (kh, kw), (sh, sw), (pad_h, pad_w)):
        rival = x[:, row, col]
        wins = (winner[:, i, j] < 0) | (rival > best[:, i, j]) | np.isnan(rival)
        best[:, i, j] = np.where(wins, rival, best[:, i, j])
        winner[:, i, j] = np.where(wins, tap, winner[:, i, j])
    return best, winner


@twin
def max_pool_back(launch, dy, winner, h, w, vecs, out_h, out_w, kh, kw, sh, sw, pad_h, pad_w, pixels):
    channels = vecs * launch.build.width
    dy, winner = (a.reshape(-1, out_h, out_w, channels) for a in (dy, winner))
    dx = np.zeros((len(dy), h, w, channels))
    for tap, i, j, row, col in _taps((h, w), (out_h, out_w), (kh, kw), (sh, sw), (pad_h, pad_w)):
        dx[:, row, col] += np.where(winner[:, i, j] == tap, dy[:, i, j], 0.0)
    return dx


@twin
def avg_pool(launch, x, counts, h, w, vecs, out_h, out_w, kh, kw, sh, sw, pad_h, pad_w, pixels):
    channels = vecs * launch.build.width
    x = x.reshape(-1, h, w, channels)
    sums = np.zeros((len(x), out_h, out_w, channels))
    for _, i, j, row, col in _taps((h, w), (out_h, out_w), (kh, kw), (sh, sw), (pad_h, pad_w)):
        sums[:, i, j] += x[:, row, col]
    return sums / counts.reshape(out_h, out_w, 1)


@twin
def avg_pool_back(launch, dy, counts, h, w, vecs, out_h, out_w, kh, kw, sh, sw, pad_h, pad_w, pixels):
    channels = vecs * launch.build.width
    shares = dy.reshape(-1, out_h, out_w, channels) / counts.reshape(out_h, out_w, 1)
    dx = np.zeros((len(shares), h, w, channels))
    for _, i, j, row, col in _taps((h, w), (out_h, out_w), (kh, kw), (sh, sw), (pad_h, pad_w)):
        dx[:, row, col] += shares[:, i, j]
    return dx


@twin
def global_max(launch, x, rows, vecs, images):
    channels = vecs * launch.build.width
    x = x.reshape(-1, rows, channels)
    winner = x.argmax(axis=1)  # the first; NumPy takes NaN for the largest
    return np.take_along_axis(x, winner[:, None], axis=1), winner


@twin
def global_max_back(launch, dy, winner, h, w, vecs, pixels):
    channels = vecs * launch.build.width
    dy, winner = (a.reshape(-1, 1, channels) for a in (dy, winner))
    return np.where(np.arange(h * w)[:, None] == winner, dy, 0.0)


# -- loss --------------------------------------------------------------------------------------------------


def _wanted(labels: np.ndarray, classes: int, smoothing: float) -> np.ndarray:
    return (1 - smoothing) * (labels[:, None] == np.arange(classes)) + smoothing / classes


@twin
def cross_entropy(launch, logits, labels, classes, smoothing):
    a = logits.reshape(-1, classes)
    a = a - a.max(axis=1, keepdims=True)
    log_p = a - np.log(np.exp(a).sum(axis=1, keepdims=True))
    q = _wanted(labels, classes, smoothing)
    terms = np.multiply(q, log_p, out=np.zeros_like(q), where=q > 0)  # 0 log 0 is 0
    return np.exp(log_p), -terms.sum(axis=1)


@twin
def cross_entropy_back(launch, p, labels, classes, count, smoothing, factor):
    return (p.reshape(-1, classes) - _wanted(labels, classes, smoothing)) * factor


# -- SE's excitation ---------------------------------------------------------------------------------------


@twin
def add_bias(launch, x, b, count, channels, with_relu):
    y = x.reshape(-1, channels) + (0 if b is None else b)
    return np.maximum(y, 0) if with_relu else y


@twin
def gates(launch, logits, b, count, channels, kind, scale, bias, *absent):
    a = logits.reshape(-1, channels) + (0 if b is None else b)
    with np.errstate(over="ignore"):
        s = {SIGMOID: lambda: 1 / (1 + np.exp(-a)), TANH: lambda: np.tanh(a), RELU: lambda: np.maximum(a, 0)}[
            kind
        ]()
    return s if absent else (s, s * scale, s * bias)


@twin
def gates_back(launch, g0, g1, gamma, beta, s, count, channels, kind):
    g1, s = g1.reshape(-1, channels), s.reshape(-1, channels)
    ds = g1 if gamma is None else gamma * g1 + beta * g0.reshape(-1, channels)
    if kind == RELU:
        return np.where(s > 0, ds, 0.0)
    return ds * (s * (1 - s) if kind == SIGMOID else 1 - s * s)


# -- images and weights ------------------------------------------------------------------------------------


@twin
def prepare_images(launch, images, offsets, flips, scale, shift, h, w, channels, count):
    images = images.reshape(-1, h, w, channels)
    offsets = np.zeros((len(images), 2), int) if offsets is None else offsets.reshape(-1, 2)
    cropped = np.zeros(images.shape)
    for k, row, col in np.ndindex(images.shape[:3]):
        from_row, from_col = row + offsets[k, 0], col + offsets[k, 1]
        if 0 <= from_row < h and 0 <= from_col < w:
            cropped[k, row, col] = images[k, from_row, from_col]
    if flips is not None:
        cropped = np.where(flips.astype(bool)[:, None, None, None], cropped[:, :, ::-1], cropped)
    return cropped * scale + shift


@twin
def sgd(launch, values, gradients, velocities, decays, lr, momentum, nesterov):
    """Return new values and velocities; lists instead of the kernel's addresses."""
    found_values, found_velocities = [], []
    for value, gradient, velocity, decay in zip(values, gradients, velocities, decays, strict=True):
        g = gradient + decay * value
        v = momentum * velocity + g
        found_velocities.append(v)
        found_values.append(value - lr * (g + momentum * v if nesterov else v))
    return found_values, found_velocities
