"""Batch norm, and what runs in the same passes: ReLU, SE's scale, the shortcut.

Every function here turns the formula into vectors (a number a channel, or a channel of an image) for the four
passes of `passes.py`. The vectors are computed in float64: they are short.

With a = gamma / sqrt(var + eps) and xhat = (x - mean) / sqrt(var + eps):

    y  = (x - mean) a + beta
    dx = a g - a (sum g) / M - a xhat (sum g xhat) / M          M values a channel; without the last two
                                                                terms where mean and var are given
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.numba import passes
from senumpy.engines.numba.geometry import Array, as_image
from senumpy.engines.numba.runtime import NOTHING, Runtime


class Norm(NamedTuple):
    """A normalised activation: what both passes and the gradient need."""

    x: Array  # rows
    shape: tuple[int, int, int, int]
    mean: Array  # (C,), as x
    var: Array
    image_mean: Array  # (N, C), float64; empty where statistics were given
    gamma: Array
    rstd: Array  # (C,), float64
    scale: Array  # gamma rstd, as x
    bias: Array  # beta, as x

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Images, rows of each, channels."""
        n, c, h, w = self.shape
        return n, h * w, c

    @property
    def wide(self) -> int:
        """How many pixels the passes take as one row."""
        _, pixels, c = self.sizes
        return passes.pixels_a_row(c, pixels)

    def widen(self, vector: Array) -> Array:
        """Return a (C,) or (N, C) vector repeated for all pixels of a wide row, flat."""
        rows = vector.reshape(-1, 1, vector.shape[-1])
        return np.repeat(rows, self.wide, axis=1).reshape(-1)

    @property
    def wide_sizes(self) -> tuple[int, int, int]:
        """Images, wide rows of each, numbers of a wide row."""
        n, rows, c = self.sizes
        return n, rows // self.wide, c * self.wide

    def vectors(self) -> tuple[Array, Array, Array]:
        """Return mean, scale and bias for wide rows."""
        return self.widen(self.mean), self.widen(self.scale), self.widen(self.bias)


def normalise(
    runtime: Runtime, x: Array, shape: tuple[int, int, int, int], gamma: Array, beta: Array, eps: float
) -> Norm:
    """Take the statistics of the batch; x is rows of an activation of this shape."""
    n, c, h, w = shape
    wide = passes.pixels_a_row(c, h * w)
    rows = h * w // wide
    size = n * -(-rows // passes.BLOCK_ROWS) * wide * c
    mean, deviation = runtime.empty(size, x.dtype), runtime.empty(size, x.dtype)
    runtime.run(passes.statistics, x, n, rows, wide * c, mean, deviation)
    image_mean, total_mean, var = np.empty((n, c)), np.empty(c), np.empty(c)
    passes.combine(mean, deviation, n, rows, c, wide, image_mean, total_mean, var)
    rstd = 1.0 / np.sqrt(var + eps)
    dtype = x.dtype
    return Norm(
        x, shape, total_mean.astype(dtype), var.astype(dtype), image_mean, np.array(gamma), rstd,
        (gamma * rstd).astype(dtype), np.array(beta),
    )  # fmt: skip


def given(
    x: Array, shape: tuple[int, int, int, int], gamma: Array, beta: Array, mean: Array, var: Array, eps: float
) -> Norm:
    """Take given statistics."""
    rstd = 1.0 / np.sqrt(var.astype(np.float64) + eps)
    return Norm(
        x, shape, np.array(mean), np.array(var), np.empty((0, 0)), np.array(gamma), rstd,
        (gamma * rstd).astype(x.dtype), np.array(beta),
    )  # fmt: skip


def transform(runtime: Runtime, norm: Norm, *, relu: bool) -> Array:
    """Return y, or relu(y), as rows."""
    y = runtime.empty(norm.x.size, norm.x.dtype)
    nothing = NOTHING[norm.x.dtype]
    runtime.run(passes.transform, norm.x, *norm.wide_sizes, *norm.vectors(), 0, nothing, relu, y)
    return y


def sums(runtime: Runtime, dy: Array, norm: Norm, gate: int, y: Array | None = None) -> tuple[Array, Array]:
    """Return the sums over each image of g and g xhat, (N, C) in float64."""
    n, rows, c = norm.wide_sizes
    shape = n, -(-rows // passes.BLOCK_ROWS) * norm.wide, norm.shape[1]
    g0, g1 = (runtime.empty(prod(shape), norm.x.dtype).reshape(shape) for _ in range(2))
    runtime.run(
        passes.reduce, dy, norm.x, n, rows, c, *norm.vectors(), gate,
        NOTHING[norm.x.dtype] if y is None else y, g0.reshape(-1), g1.reshape(-1),
    )  # fmt: skip
    return g0.sum(axis=1, dtype=np.float64), g1.sum(axis=1, dtype=np.float64) * norm.rstd


def open_sums(runtime: Runtime, norm: Norm) -> tuple[Array, Array]:
    """Return the sums over each image of 1 and of xhat where a ReLU after it is open, (N, C) in float64."""
    n, rows, c = norm.wide_sizes
    shape = n, -(-rows // passes.BLOCK_ROWS) * norm.wide, norm.shape[1]
    count, off = (runtime.empty(prod(shape), norm.x.dtype).reshape(shape) for _ in range(2))
    vectors = norm.vectors()
    runtime.run(passes.open_sums, norm.x, n, rows, c, *vectors, count.reshape(-1), off.reshape(-1))
    return count.sum(axis=1, dtype=np.float64), off.sum(axis=1, dtype=np.float64) * norm.rstd


class Gradients(NamedTuple):
    """Of batch norm's arguments; the last two only where statistics were given."""

    dx: Array
    dgamma: Array
    dbeta: Array
    dmean: Array | None
    dvar: Array | None


def gradients(runtime: Runtime, dy: Array, norm: Norm, *, relu: bool) -> Gradients:
    """Return the gradients for rows of an upstream gradient of y, or of relu(y)."""
    gate = passes.RELU if relu else passes.NO_RELU
    g0, g1 = sums(runtime, dy, norm, gate)
    dbeta, dgamma = g0.sum(axis=0), g1.sum(axis=0)
    dx, _ = pass_back(runtime, dy, norm, dgamma, dbeta, gate)
    return Gradients(dx, *parameter_gradients(norm, dgamma, dbeta))


def pass_back(
    runtime: Runtime,
    dy: Array,
    norm: Norm,
    dgamma: Array,
    dbeta: Array,
    gate: int,
    y: Array | None = None,
    factor: Array | None = None,
    extra: Array | None = None,
    inner: Array | None = None,
) -> tuple[Array, Array]:
    """Return dx and the shortcut's gradient, as rows.

    The gradient of batch norm's result is factor g + extra: SE's gate and what comes back through the
    squeeze, both (N, C); 1 and 0 where not given. With `inner` (N, C) it is factor g + inner where the ReLU
    was open: SE that comes after the ReLU.
    """
    n, rows, c = norm.sizes
    dtype, nothing = norm.x.dtype, NOTHING[norm.x.dtype]
    a = norm.gamma * norm.rstd
    batch = norm.image_mean.size > 0
    m = n * rows
    shift = (0.0 if extra is None else extra) - (dbeta / m if batch else 0.0)
    shift = np.broadcast_to(a * shift, (c,) if factor is None else (n, c)).astype(dtype)
    weight = (a if factor is None else a * factor).astype(dtype)
    slope = (-a * norm.rstd * dgamma / m).astype(dtype) if batch else nothing
    dx = runtime.empty(norm.x.size, dtype)
    dshortcut = runtime.empty(norm.x.size, dtype) if gate == passes.RELU_BY_RESULT else nothing
    step = 0 if factor is None else norm.wide_sizes[2]
    runtime.run(
        passes.gradient, dy, norm.x, *norm.wide_sizes, *norm.vectors(), gate,
        nothing if y is None else y, norm.widen(weight),
        nothing if inner is None else norm.widen((a * inner).astype(dtype)), norm.widen(shift), step,
        norm.widen(slope) if batch else nothing, dx, dshortcut,
    )  # fmt: skip
    return dx, dshortcut


def parameter_gradients(
    norm: Norm, dgamma: Array, dbeta: Array
) -> tuple[Array, Array, Array | None, Array | None]:
    """Return dgamma and dbeta, and dmean and dvar where these were given, in the dtype of x."""
    dmean = dvar = None
    if not norm.image_mean.size:
        a = norm.gamma * norm.rstd
        dmean = (-a * dbeta).astype(norm.x.dtype)
        dvar = (-0.5 * a * norm.rstd * dgamma).astype(norm.x.dtype)
    return dgamma.astype(norm.x.dtype), dbeta.astype(norm.x.dtype), dmean, dvar


def as_result(rows: Array, norm: Norm) -> Any:
    """Return rows as an array of the activation's shape."""
    n, c, h, w = norm.shape
    return as_image(rows, n, c, h, w)
