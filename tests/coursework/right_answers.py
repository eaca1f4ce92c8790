"""Right answers to the subjects, written otherwise than the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest

from senumpy import ops
from senumpy.ops.winograd import input_transform, kernel_transform, output_transform

RIGHT = []


def right(name, **functions):
    """Note an answer; its functions have the exercise's name where nothing else is said."""
    RIGHT.append(pytest.param(name, functions, id=f"{name}-{len(RIGHT)}"))


def answer(function):
    """Note an answer of one function, named as the exercise and anything after two underscores."""
    name = function.__name__.partition("__")[0]
    right(name, **{name: function})
    return function


# -- derivatives -------------------------------------------------------------------------------------------


@answer
def complex_step(f, x, v, h=1e-30):
    z = np.empty(x.shape, complex)
    z.real, z.imag = x, v * h
    return np.imag(f(z)).flatten() / h


@answer
def complex_step__scaled(f, x, v, h=1e-30):
    return np.ravel((f(x + v * h * 1j) / (1j * h)).real)


@answer
def central_difference(f, x, v, h):
    ahead, behind = f(x + v * h), f(x - v * h)
    return 0.5 * ((ahead - behind) / h).flatten()


@answer
def central_difference__two_sides(f, x, v, h):
    y = np.asarray(f(x + h * v)).reshape(-1) / h - np.asarray(f(x + (-h) * v)).reshape(-1) / h
    return y / 2


# -- windows -----------------------------------------------------------------------------------------------


@answer
def output_size__counted(size, window, *, ceil_mode=False):
    counts = []
    for n, k, s, p, d in zip(size, *window, strict=True):
        starts = [start for start in range(-p, n + p, s) if start + d * (k - 1) <= n + p - 1]
        if not starts:
            raise ValueError("too large")
        nxt = starts[-1] + s
        if ceil_mode and nxt < n and starts[-1] + d * (k - 1) < n + p - 1:
            starts.append(nxt)
        counts.append(len(starts))
    return tuple(counts)


@answer
def output_size__ceil(size, window, *, ceil_mode=False):
    n, k, s, p, d = (np.array(value) for value in (size, *window))
    room = n + 2 * p - (d * (k - 1) + 1)
    if np.any(room < 0):
        raise ValueError("the window is too large")
    count = np.floor(room / s).astype(int) + 1
    if ceil_mode:
        up = np.ceil(room / s).astype(int) + 1
        count = np.where((up - 1) * s >= n + p, up - 1, up)
    return [int(c) for c in count]


# -- convolution -------------------------------------------------------------------------------------------


@answer
def conv2d_loops__im2col(x, w, b=None, **settings):
    return ops.conv2d_forward(x, w, b, **settings)[0]


@answer
def conv2d_loops__padded(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    def two(value):
        return value if isinstance(value, tuple) else (value, value)

    s, p, d = two(stride), two(padding), two(dilation)
    x = np.pad(x, ((0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])))
    parts = []
    kh, kw = w.shape[2:]
    for xs, ws in zip(np.split(x, groups, 1), np.split(w, groups, 0), strict=True):
        windows = np.lib.stride_tricks.sliding_window_view(
            xs, (d[0] * (kh - 1) + 1, d[1] * (kw - 1) + 1), axis=(2, 3)
        )
        seen = windows[:, :, :: s[0], :: s[1], :: d[0], :: d[1]]
        parts.append(np.einsum("nchwpq,ocpq->nohw", seen, ws))
    y = np.concatenate(parts, 1)
    return y if b is None else y + b[:, None, None]


# -- running statistics ------------------------------------------------------------------------------------


@answer
def running_statistics(running_mean, running_var, mean, var, *, count, momentum=0.1):
    unbiased = var * count / (count - 1)
    return (
        running_mean + momentum * (mean - running_mean),
        running_var + momentum * (unbiased - running_var),
    )


@answer
def running_statistics__loops(running_mean, running_var, mean, var, *, count, momentum=0.1):
    new_mean, new_var = [], []
    for c in range(len(mean)):
        new_mean.append((1 - momentum) * running_mean[c] + momentum * mean[c])
        new_var.append((1 - momentum) * running_var[c] + momentum * var[c] / (1 - 1 / count))
    return [np.array(new_mean), np.array(new_var)]


# -- SGD ---------------------------------------------------------------------------------------------------


@answer
def sgd_update(value, gradient, velocity, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    g = gradient + weight_decay * value
    velocity[...] = momentum * velocity + g
    value[...] = value - lr * g - lr * momentum * velocity if nesterov else value - lr * velocity


@answer
def sgd_update__entries(value, gradient, velocity, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
    for at in np.ndindex(value.shape):
        g = gradient[at] + weight_decay * value[at]
        velocity[at] = velocity[at] * momentum + g
        value[at] -= lr * (g + velocity[at] * momentum if nesterov else velocity[at])
    return value


# -- the schedule ------------------------------------------------------------------------------------------


@answer
def cosine(lr, steps):
    def rate(step):
        if step >= steps:
            return 0.0
        return lr * math.cos(math.pi * step / (2 * steps)) ** 2

    return rate


@answer
def cosine__class(lr, steps):
    class Schedule:
        def __call__(self, step):
            return np.array([lr * (1 + np.cos(np.pi * np.clip(step / steps, 0, 1))) / 2])

    return Schedule()


# -- the loop ----------------------------------------------------------------------------------------------


@answer
def train_epoch(model, batches, sgd, lr):
    losses, sizes = [], []
    for x, labels in batches:
        loss, cache = model.engine.softmax_cross_entropy_forward(model.forward(x), labels)
        model.backward(model.engine.softmax_cross_entropy_backward(1.0, cache).dlogits, need_dx=False)
        sgd.step(lr)
        losses.append(loss)
        sizes.append(len(labels))
    return np.average(losses, weights=sizes)


@answer
def train_epoch__own_loss(model, batches, sgd, lr):
    model.train()
    every = []
    for x, labels in batches:
        logits = model(x)
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        rows = np.arange(len(labels))
        every.extend(-np.log(p[rows, labels]))
        p[rows, labels] -= 1
        model.backward(p / len(labels))
        sgd.step(lr=lr)
    return float(np.mean(every))


# -- Winograd ----------------------------------------------------------------------------------------------

_POINTS = [0, 1, -1, 2, -2]
_A = np.array([[p**k for k in range(4)] for p in _POINTS] + [[0, 0, 0, 1]], float)
_V = np.array([[p**k for k in range(3)] for p in _POINTS] + [[0, 0, 1]], float)
# The inverse of evaluating polynomials of six coefficients takes the products back to coefficients.
_C = np.linalg.inv(np.array([[p**k for k in range(6)] for p in _POINTS] + [[0, 0, 0, 0, 0, 1]], float))

right(
    "winograd_transforms",
    kernel_transform=lambda w: _V @ w @ _V.T,
    input_transform=lambda d: _C.T @ d @ _C,
    output_transform=lambda m: _A.T @ m @ _A,
)
right(
    "winograd_transforms",
    kernel_transform=lambda w: np.einsum("ui,vj,ocij->ocuv", _V, _V, w),
    input_transform=lambda d: np.einsum("iu,jv,...ij->...uv", _C, _C, d),
    output_transform=lambda m: np.einsum("ui,vj,...uv->...ij", _A, _A, m),
)


@answer
def winograd_conv2d__tile_by_tile(x, w, *, padding=1):
    ph, pw = padding if isinstance(padding, tuple) else (padding, padding)
    n, _, h, width = x.shape
    out_h, out_w = h + 2 * ph - 2, width + 2 * pw - 2
    y = np.zeros((n, len(w), out_h, out_w), x.dtype)
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph + 4), (pw, pw + 4)))
    u = kernel_transform(w)
    for k in range(n):
        for top in range(0, out_h, 4):
            for left in range(0, out_w, 4):
                v = input_transform(padded[k, :, top : top + 6, left : left + 6])
                tile = output_transform((u * v).sum(1))
                y[k, :, top : top + 4, left : left + 4] = tile[:, : out_h - top, : out_w - left]
    return y


@answer
def winograd_conv2d__smaller_tiles(x, w, *, padding=1):
    """F(2x2, 3x3), with matrices of its own."""
    g = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
    bt = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
    at = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
    ph, pw = padding if isinstance(padding, tuple) else (padding, padding)
    out_h, out_w = x.shape[2] + 2 * ph - 2, x.shape[3] + 2 * pw - 2
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph + 2), (pw, pw + 2)))
    u = g @ w @ g.T
    y = np.zeros((len(x), len(w), out_h + 1, out_w + 1))
    for i in range(0, out_h, 2):
        for j in range(0, out_w, 2):
            v = bt @ padded[:, :, i : i + 4, j : j + 4] @ bt.T
            y[:, :, i : i + 2, j : j + 2] = at @ np.einsum("ocij,ncij->noij", u, v) @ at.T
    return y[:, :, :out_h, :out_w]
