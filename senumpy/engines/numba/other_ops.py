"""The engine's other operations: linear layers, excitation, pools, ReLU, sums, the weights' update."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.base import Engine
from senumpy.engines.numba import dense, elementwise, pooling
from senumpy.engines.numba.dense import Excitation
from senumpy.engines.numba.geometry import Array, Geometry, geometry, is_channels_last
from senumpy.engines.numba.runtime import NOTHING, Runtime, flat
from senumpy.engines.numba.tail import image_means
from senumpy.ops.activations import ReLUGradients
from senumpy.ops.arrays import check_array, check_same_dtype, check_upstream
from senumpy.ops.avg_pool import AvgPool2dGradients
from senumpy.ops.excitation import check_gate, check_weights
from senumpy.ops.global_pooling import GlobalAvgPoolGradients, GlobalMaxPoolGradients
from senumpy.ops.linear import LinearGradients, check_linear_arguments
from senumpy.ops.max_pool import MaxPool2dGradients
from senumpy.ops.windows import Window, pool_window


class LinearCache(NamedTuple):
    """What the gradient of a linear layer needs."""

    x: Array  # flat
    w: Array
    has_bias: bool
    shape: tuple[int, int]


class ReLUCache(NamedTuple):
    """The result: its entries are positive where the ReLU was open."""

    y: Array


class MaxPoolCache(NamedTuple):
    """Which tap won each window."""

    winner: Array
    g: Geometry
    dtype: Any


class AvgPoolCache(NamedTuple):
    """What each window's sum was divided by."""

    counts: Array
    g: Geometry
    dtype: Any


class GlobalAvgCache(NamedTuple):
    """Shape and dtype of the argument."""

    shape: tuple[int, int, int, int]
    dtype: Any


class OtherOps(Engine):
    """Everything but convolution and batch norm."""

    runtime: Runtime

    def linear_forward(self, x, w, b=None):
        """See `senumpy.ops.linear_forward`."""
        check_linear_arguments(x, w, b)
        if x.dtype not in NOTHING:
            return Engine.linear_forward(x, w, b)
        line = flat(x)
        y = dense.linear(self.runtime, line, w, b)
        return y.reshape(x.shape[0], w.shape[0]), LinearCache(line, w, b is not None, x.shape)

    def linear_backward(self, dy, cache):
        """See `senumpy.ops.linear_backward`."""
        if not isinstance(cache, LinearCache):
            return Engine.linear_backward(dy, cache)
        check_upstream(dy, (cache.shape[0], cache.w.shape[0]), cache.x.dtype)
        dx, dw, db = dense.linear_gradients(self.runtime, flat(dy), cache.x, cache.w, cache.has_bias)
        return LinearGradients(dx.reshape(cache.shape), dw, db)

    def excitation_forward(self, z, w1, b1, w2, b2, *, gate="sigmoid"):
        """See `senumpy.ops.excitation_forward`."""
        check_gate(gate)
        check_array("z", z, ("N", "C"))
        check_weights(z.shape[1], w1, b1, w2, b2)
        check_same_dtype(z=z, w1=w1, b1=b1, w2=w2, b2=b2)
        if z.dtype not in NOTHING:
            return Engine.excitation_forward(z, w1, b1, w2, b2, gate=gate)
        cache = dense.excitation(self.runtime, z, w1, b1, w2, b2, gate)
        return cache.s.copy(), cache

    def excitation_backward(self, dy, cache):
        """See `senumpy.ops.excitation_backward`."""
        if not isinstance(cache, Excitation):
            return Engine.excitation_backward(dy, cache)
        check_upstream(dy, cache.s.shape, cache.s.dtype)
        return dense.excitation_gradients(self.runtime, np.asarray(dy), cache)

    def relu_forward(self, x):
        """See `senumpy.ops.relu_forward`."""
        check_array("x", x)
        line = _in_memory_order(x)
        if line is None or x.dtype not in NOTHING:
            return Engine.relu_forward(x)
        y = self.runtime.empty(x.size, x.dtype)
        self.runtime.run(elementwise.relu, line, y)
        result = _like(y, x)
        return result, ReLUCache(result)

    def relu_backward(self, dy, cache):
        """See `senumpy.ops.relu_backward`."""
        if not isinstance(cache, ReLUCache):
            return Engine.relu_backward(dy, cache)
        check_upstream(dy, cache.y.shape, cache.y.dtype)
        y, line = _in_memory_order(cache.y), _in_memory_order(_ordered_like(dy, cache.y))
        dx = self.runtime.empty(dy.size, dy.dtype)
        self.runtime.run(elementwise.relu_back, line, y, dx)
        return ReLUGradients(_like(dx, cache.y))

    def residual_add_forward(self, branch, shortcut):
        """See `senumpy.ops.residual_add_forward`."""
        check_array("branch", branch, ("N", "C", "H", "W"))
        check_array("shortcut", shortcut, branch.shape)
        check_same_dtype(branch=branch, shortcut=shortcut)
        if branch.dtype not in NOTHING:
            return Engine.residual_add_forward(branch, shortcut)
        rows, y = self.runtime.image_like(branch)
        self.runtime.run(elementwise.add, self.runtime.rows(branch), self.runtime.rows(shortcut), rows)
        return y, GlobalAvgCache(branch.shape, branch.dtype)

    def add_gradients(self, total, part):
        """See `Engine.add_gradients`."""
        if total.dtype not in NOTHING or not is_channels_last(total):
            return super().add_gradients(total, part)
        rows = self.runtime.rows(total)
        self.runtime.run(elementwise.add, rows, self.runtime.rows(part), rows)
        return total

    def global_avg_pool_forward(self, x):
        """See `senumpy.ops.global_avg_pool_forward`."""
        check_array("x", x, ("N", "C", "H", "W"))
        if x.dtype not in NOTHING:
            return Engine.global_avg_pool_forward(x)
        n, c, h, w = x.shape
        return image_means(self.runtime, self.runtime.rows(x), n, h * w, c), GlobalAvgCache(x.shape, x.dtype)

    def global_avg_pool_backward(self, dy, cache):
        """See `senumpy.ops.global_avg_pool_backward`."""
        if not isinstance(cache, GlobalAvgCache):
            return Engine.global_avg_pool_backward(dy, cache)
        n, c, h, w = cache.shape
        check_upstream(dy, (n, c), cache.dtype)
        rows, dx = self.runtime.image(n, c, h, w, cache.dtype)
        self.runtime.run(elementwise.spread, flat(dy), n, h * w, c, 1.0 / (h * w), rows)
        return GlobalAvgPoolGradients(dx)

    def global_max_pool_forward(self, x):
        """See `senumpy.ops.global_max_pool_forward`."""
        check_array("x", x, ("N", "C", "H", "W"))
        if x.dtype not in NOTHING:
            return Engine.global_max_pool_forward(x)
        y, cache = self._max_pool(x, Window(x.shape[2:], (1, 1), (0, 0), (1, 1)), (1, 1))
        return y.reshape(x.shape[:2]), cache

    def global_max_pool_backward(self, dy, cache):
        """See `senumpy.ops.global_max_pool_backward`."""
        if not isinstance(cache, MaxPoolCache):
            return Engine.global_max_pool_backward(dy, cache)
        check_upstream(dy, (cache.g.n, cache.g.c), cache.dtype)
        return GlobalMaxPoolGradients(self._max_pool_back(flat(dy), cache))

    def max_pool2d_forward(self, x, *, kernel, stride=None, padding=0, ceil_mode=False):
        """See `senumpy.ops.max_pool2d_forward`."""
        window, out = pool_window(x, kernel, stride, padding, ceil_mode)
        if x.dtype not in NOTHING:
            return Engine.max_pool2d_forward(
                x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode
            )
        return self._max_pool(x, window, out)

    def max_pool2d_backward(self, dy, cache):
        """See `senumpy.ops.max_pool2d_backward`."""
        if not isinstance(cache, MaxPoolCache):
            return Engine.max_pool2d_backward(dy, cache)
        g = cache.g
        check_upstream(dy, (g.n, g.c, g.out_h, g.out_w), cache.dtype)
        return MaxPool2dGradients(self._max_pool_back(self.runtime.rows(dy), cache))

    def _max_pool(self, x: Array, window: Window, out: tuple[int, int]) -> tuple[Array, MaxPoolCache]:
        g = geometry(x, x.shape[1], window, out)
        rows, y = self.runtime.image(g.n, g.c, g.out_h, g.out_w, x.dtype)
        small = g.taps <= np.iinfo(np.uint8).max
        winner = self.runtime.empty(rows.size, np.dtype(np.uint8 if small else np.int32))
        self.runtime.run(pooling.max_forward, self.runtime.rows(x), g, rows, winner)
        return y, MaxPoolCache(winner, g, x.dtype)

    def _max_pool_back(self, dy: Array, cache: MaxPoolCache) -> Array:
        g = cache.g
        rows, dx = self.runtime.image(g.n, g.c, g.h, g.w, cache.dtype)
        self.runtime.run(pooling.max_backward, dy, cache.winner, g, rows)
        return dx

    def avg_pool2d_forward(
        self, x, *, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True
    ):
        """See `senumpy.ops.avg_pool2d_forward`."""
        window, out = pool_window(x, kernel, stride, padding, ceil_mode)
        if x.dtype not in NOTHING:
            return Engine.avg_pool2d_forward(
                x, kernel=kernel, stride=stride, padding=padding, ceil_mode=ceil_mode,
                count_include_pad=count_include_pad,
            )  # fmt: skip
        g = geometry(x, x.shape[1], window, out)
        rows, y = self.runtime.image(g.n, g.c, g.out_h, g.out_w, x.dtype)
        counts = np.empty(g.out_h * g.out_w, np.int64)
        self.runtime.run(pooling.avg_forward, self.runtime.rows(x), g, bool(count_include_pad), rows, counts)
        return y, AvgPoolCache(counts, g, x.dtype)

    def avg_pool2d_backward(self, dy, cache):
        """See `senumpy.ops.avg_pool2d_backward`."""
        if not isinstance(cache, AvgPoolCache):
            return Engine.avg_pool2d_backward(dy, cache)
        g = cache.g
        check_upstream(dy, (g.n, g.c, g.out_h, g.out_w), cache.dtype)
        rows, dx = self.runtime.image(g.n, g.c, g.h, g.w, cache.dtype)
        self.runtime.run(pooling.avg_backward, self.runtime.rows(dy), cache.counts, g, rows)
        return AvgPool2dGradients(dx)

    def sgd_update(self, value, gradient, velocity, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        """See `Engine.sgd_update`."""
        if not (value.flags.c_contiguous and velocity.flags.c_contiguous and value.dtype in NOTHING):
            Engine.sgd_update(
                self, value, gradient, velocity,
                lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay,
            )  # fmt: skip
            return
        self.runtime.run(
            elementwise.sgd, value.reshape(-1), flat(gradient), velocity.reshape(-1),
            float(lr), float(momentum), bool(nesterov), float(weight_decay),
        )  # fmt: skip


def _in_memory_order(x: Array) -> Array | None:
    """Return all entries of `x` as they lie in memory, or None if there are gaps."""
    if x.flags.c_contiguous:
        return flat(x)
    if x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        return flat(x.transpose(0, 2, 3, 1))
    return None


def _like(line: Array, x: Array) -> Array:
    """Return entries in the memory order of `x` as an array of its shape."""
    if x.flags.c_contiguous:
        return line.reshape(x.shape)
    n, c, h, w = x.shape
    return line.reshape(n, h, w, c).transpose(0, 3, 1, 2)


def _ordered_like(dy: Array, y: Array) -> Array:
    """Return `dy` in the memory order of `y`."""
    if dy.strides == y.strides:
        return dy
    ordered = np.empty_like(y)
    ordered[...] = dy
    return ordered
