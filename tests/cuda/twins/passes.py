"""Twins of the kernels that go over an activation: `elementwise`, `normalise`, `statistics`."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cuda.twins.compare import Launch, twin

NO_RELU, BY_AFFINE, BY_RESULT = 0, 1, 2


def relu(x: np.ndarray) -> np.ndarray:
    return np.where(x <= 0, 0.0, x)


def _images(launch: Launch, x: np.ndarray, rows: int, vecs: int) -> np.ndarray:
    """Return an activation as (images, rows, channels)."""
    return x.reshape(launch.grid[2], rows, vecs * launch.build.width)


def _over_parts(launch: Launch, x: np.ndarray, rows_a_part: int, reduce: Any) -> np.ndarray:
    """Return `reduce` of each part of (images, rows, channels) over its rows: (images, parts, channels)."""
    starts = range(0, x.shape[1], rows_a_part)
    assert len(starts) == launch.grid[1]
    return np.stack([reduce(x[:, start : start + rows_a_part]) for start in starts], axis=1)


@twin
def activate(launch, x, other, vecs, with_relu):
    y = x if other is None else x + other
    return relu(y) if with_relu else y


@twin
def activate_back(launch, dy, y, vecs):
    return np.where(y > 0, dy, 0.0)


@twin
def rescale(launch, x, rows, vecs, rows_a_part, bias, s, shift, addend, with_relu):
    images, channels = launch.grid[2], vecs * launch.build.width
    y = np.zeros((images, rows, channels)) if x is None else _images(launch, x, rows, vecs)
    y = y if bias is None else y + bias
    y = y if s is None else y * s.reshape(images, 1, channels)
    y = y if shift is None else y + shift.reshape(images, 1, channels)
    y = y if addend is None else y + addend.reshape(y.shape)
    return relu(y) if with_relu else y


# -- statistics --------------------------------------------------------------------------------------------


@twin
def part_moments(launch, x, rows, vecs, rows_a_part):
    x = _images(launch, x, rows, vecs)
    mean = _over_parts(launch, x, rows_a_part, lambda part: part.mean(axis=1))
    square = _over_parts(
        launch, x, rows_a_part, lambda part: ((part - part.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    )
    return mean, square


@twin
def batch_moments(
    launch, part_mean, part_square, images, parts, rows, rows_a_part, channels, gamma, beta, eps, *absent
):
    counts = np.minimum(rows - np.arange(parts) * rows_a_part, rows_a_part)[:, None]
    part_mean, part_square = (a.reshape(images, parts, channels) for a in (part_mean, part_square))
    of_image = (counts * part_mean).sum(axis=1) / rows
    mean = of_image.mean(axis=0)
    squares = (part_square + counts * (part_mean - mean) ** 2).sum(axis=(0, 1))
    var = squares / (images * rows)
    rstd = 1 / np.sqrt(var + eps)
    xhat_mean = (of_image - mean) * rstd
    found = mean, var, rstd, gamma * rstd
    return found if absent else (*found, xhat_mean, xhat_mean * gamma + beta)


@twin
def part_sums(launch, x, y, rows, vecs, rows_a_part, factor):
    product = _images(launch, x if y is None else x * y, rows, vecs)
    return factor * _over_parts(launch, product, rows_a_part, lambda part: part.sum(axis=1))


@twin
def column_sums(launch, x, count, channels):
    return x.reshape(launch.grid[1], count, channels).sum(axis=1)


# -- batch norm --------------------------------------------------------------------------------------------


@twin
def move_running(launch, mean, var, channels, unbiased, momentum, running_mean, running_var):
    return (
        (1 - momentum) * running_mean + momentum * mean,
        (1 - momentum) * running_var + momentum * unbiased * var,
    )


@twin
def normalise(launch, x, rows, vecs, rows_a_part, mean, scale, bias, step, shortcut, with_relu):
    x = _images(launch, x, rows, vecs)
    of_images = (launch.grid[2] if step else 1), 1, x.shape[2]
    y = (x - (0 if mean is None else mean)) * scale.reshape(of_images) + bias.reshape(of_images)
    y = y if shortcut is None else y + shortcut.reshape(y.shape)
    return relu(y) if with_relu else y


def _opened(dy, x, y, gate, mean, scale, bias):
    """Return the gradient behind the ReLU."""
    if gate == BY_AFFINE:
        return np.where((x - mean) * scale + bias > 0, dy, 0.0)
    return np.where(y.reshape(x.shape) > 0, dy, 0.0) if gate == BY_RESULT else dy


@twin
def gradient_sums(launch, dy, x, y, rows, vecs, rows_a_part, gate, mean, rstd, scale, bias):
    x, dy = (_images(launch, a, rows, vecs) for a in (x, dy))
    g = _opened(dy, x, y, gate, mean, scale, bias)
    return tuple(
        _over_parts(launch, terms, rows_a_part, lambda part: part.sum(axis=1))
        for terms in (g, g * (x - mean) * rstd)
    )


@twin
def parameter_gradients(launch, g0, g1, s, dz, xhat_mean, count, channels, values):
    if s is not None:
        g0, g1 = s * g0 + dz, s * g1 + dz * xhat_mean
    dbeta, dgamma = (g.reshape(count, channels).sum(axis=0) for g in (g0, g1))
    return dgamma, dbeta, dgamma / values, dbeta / values


@twin
def normalise_back(
    launch, dy, x, y, rows, vecs, rows_a_part, gate, mean, rstd, scale, bias, dbeta_share, dgamma_share, s,
    dz, *absent,
):  # fmt: skip
    x, dy = (_images(launch, a, rows, vecs) for a in (x, dy))
    g = dv = _opened(dy, x, y, gate, mean, scale, bias)
    if s is not None:
        of_images = launch.grid[2], 1, x.shape[2]
        dv = s.reshape(of_images) * g + dz.reshape(of_images) / rows
    if dbeta_share is not None:
        dv = dv - dbeta_share - (x - mean) * rstd * dgamma_share
    return scale * dv if absent else (scale * dv, g)
