"""The engine's other operations: linear layers, ReLU, sums, structure, the loss, the weights' update."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy as cp

from senumpy.engines.base import Engine
from senumpy.engines.cupy import passes
from senumpy.engines.cupy.pool_ops import PoolOps
from senumpy.engines.cupy.products import Matrix, multiply
from senumpy.engines.cupy.runtime import REAL, as_image, in_order, lines, width
from senumpy.engines.cupy.sources import THREADS, Build
from senumpy.engines.cupy.update import Update
from senumpy.ops.activations import ReLUGradients
from senumpy.ops.arrays import Array, check_array, check_same_dtype, check_upstream
from senumpy.ops.linear import LinearGradients, check_linear_arguments
from senumpy.ops.loss import SoftmaxCrossEntropyGradients, check_loss_arguments, check_scalar
from senumpy.ops.residual_add import ResidualAddCache, ResidualAddGradients


class LinearCache(NamedTuple):
    """What the gradient of a linear layer needs; flat."""

    x: Array
    w: Array
    has_bias: bool
    shape: tuple[int, int, int]  # N, I, O


class ReLUCache(NamedTuple):
    """The result, as it lies in memory: its entries are positive where the ReLU was open."""

    y: Array
    shape: tuple[int, ...]
    is_image: bool


class LossCache(NamedTuple):
    """Probabilities (N, K), labels, and label smoothing."""

    p: Array
    labels: Array
    label_smoothing: float


class OtherOps(PoolOps):
    """What is neither convolution, norm, SE nor pool."""

    def linear_forward(self, x, w, b=None):
        """See `senumpy.ops.linear_forward`."""
        check_linear_arguments(x, w, b)
        if x.dtype not in REAL:
            return Engine.linear_forward(x, w, b)
        (n, i), o = x.shape, w.shape[0]
        cache = LinearCache(in_order(x), in_order(w), b is not None, (n, i, o))
        y = cp.empty((n, o), x.dtype)
        multiply(self.runtime, Matrix(cache.x, i), Matrix(cache.w, i, turned=True), Matrix(y, o), n, o, i)
        if b is not None:
            build = Build("excite", x.dtype.name, 1)
            self.runtime.launch(build, "add_bias", *lines(n * o), y, in_order(b), n * o, o, False)
        return y, cache

    def linear_backward(self, dy, cache):
        """See `senumpy.ops.linear_backward`."""
        if not isinstance(cache, LinearCache):
            return Engine.linear_backward(dy, cache)
        n, i, o = cache.shape
        check_upstream(dy, (n, o), cache.x.dtype)
        rows = in_order(dy)
        dx, dw = cp.empty((n, i), dy.dtype), cp.empty((o, i), dy.dtype)
        multiply(self.runtime, Matrix(rows, o), Matrix(cache.w, i), Matrix(dx, i), n, i, o)
        multiply(self.runtime, Matrix(rows, o, turned=True), Matrix(cache.x, i), Matrix(dw, i), o, i, n)
        db = passes.column_sums(self.runtime, rows, n, o) if cache.has_bias else None
        return LinearGradients(dx, dw, db)

    def relu_forward(self, x):
        """See `senumpy.ops.relu_forward`."""
        check_array("x", x)
        if x.dtype not in REAL:
            return Engine.relu_forward(x)
        is_image = x.ndim == 4
        line = self._line(x, is_image)
        y = self._activated(line, None, relu=True)
        cache = ReLUCache(y, x.shape, is_image)
        return self._shaped(y, x.shape, is_image), cache

    def relu_backward(self, dy, cache):
        """See `senumpy.ops.relu_backward`."""
        if not isinstance(cache, ReLUCache):
            return Engine.relu_backward(dy, cache)
        check_upstream(dy, cache.shape, cache.y.dtype)
        line = self._line(dy, cache.is_image)
        dx = cp.empty(line.size, line.dtype)
        wide = width(line.dtype, line.size)
        count = line.size // wide
        build = Build("elementwise", line.dtype.name, wide)
        self.runtime.launch(build, "activate_back", *lines(count), line, cache.y, count, dx)
        return ReLUGradients(self._shaped(dx, cache.shape, cache.is_image))

    def residual_add_forward(self, branch, shortcut):
        """See `senumpy.ops.residual_add_forward`."""
        check_array("branch", branch, ("N", "C", "H", "W"))
        check_array("shortcut", shortcut, branch.shape)
        check_same_dtype(branch=branch, shortcut=shortcut)
        if branch.dtype not in REAL:
            return Engine.residual_add_forward(branch, shortcut)
        y = self._activated(self.runtime.rows(branch), self.runtime.rows(shortcut), relu=False)
        return as_image(y, branch.shape), ResidualAddCache(branch.shape, branch.dtype)

    def residual_add_backward(self, dy, cache):
        """See `senumpy.ops.residual_add_backward`."""
        check_upstream(dy, cache.shape, cache.dtype)
        return ResidualAddGradients(self.copied(dy), self.copied(dy))

    def _line(self, x: Array, is_image: bool) -> Array:
        return self.runtime.rows(x) if is_image else in_order(x)

    def _shaped(self, line: Array, shape: Any, is_image: bool) -> Array:
        return as_image(line, shape) if is_image else line.reshape(shape)

    def _activated(self, x: Array, other: Array | None, *, relu: bool) -> Array:
        y = cp.empty(x.size, x.dtype)
        wide = width(x.dtype, x.size)
        count = x.size // wide
        build = Build("elementwise", x.dtype.name, wide)
        self.runtime.launch(build, "activate", *lines(count), x, other, count, relu, y)
        return y

    def softmax_cross_entropy_forward(self, logits, labels, *, label_smoothing=0.0):
        """See `senumpy.ops.softmax_cross_entropy_forward`; labels may be NumPy's."""
        check_loss_arguments(logits, labels, label_smoothing)
        if logits.dtype not in REAL:
            return Engine.softmax_cross_entropy_forward(logits, labels, label_smoothing=label_smoothing)
        n, k = logits.shape
        p, losses = cp.empty((n, k), logits.dtype), cp.empty(n, logits.dtype)
        wide_labels = cp.asarray(labels, dtype="int64")
        self.runtime.launch(
            Build("loss", logits.dtype.name, 1), "cross_entropy", (n,), (THREADS,), in_order(logits),
            wide_labels, k, label_smoothing, p, losses,
        )  # fmt: skip
        loss = passes.column_sums(self.runtime, losses, n, 1).reshape(()) / n
        return loss, LossCache(p, wide_labels, label_smoothing)

    def softmax_cross_entropy_backward(self, dloss, cache):
        """See `senumpy.ops.softmax_cross_entropy_backward`."""
        if not isinstance(cache, LossCache):
            return Engine.softmax_cross_entropy_backward(dloss, cache)
        check_scalar(dloss)
        n, k = cache.p.shape
        dlogits = cp.empty((n, k), cache.p.dtype)
        self.runtime.launch(
            Build("loss", cache.p.dtype.name, 1), "cross_entropy_back", *lines(n * k), cache.p,
            cache.labels, k, n * k, cache.label_smoothing, float(dloss) / n, dlogits,
        )  # fmt: skip
        return SoftmaxCrossEntropyGradients(dlogits)

    def add_gradients(self, total, part):
        """See `Engine.add_gradients`."""
        if total.dtype not in REAL or total.ndim != 4:
            return super().add_gradients(total, part)
        rows = self._activated(self.runtime.rows(total), self.runtime.rows(part), relu=False)
        return as_image(rows, total.shape)

    def move_running(self, running_mean, running_var, mean, var, *, count, momentum):
        """See `Engine.move_running`: one launch."""
        channels = running_mean.size
        self.runtime.launch(
            Build("statistics", running_mean.dtype.name, 1), "move_running", *lines(channels), mean, var,
            channels, count / (count - 1), momentum, running_mean, running_var,
        )  # fmt: skip

    def sgd_update(self, value, gradient, velocity, *, lr, momentum=0.0, nesterov=False, weight_decay=0.0):
        """See `Engine.sgd_update`."""
        self.sgd_update_all(
            [value], [gradient], [velocity], [weight_decay], lr=lr, momentum=momentum, nesterov=nesterov
        )

    def sgd_update_all(self, values, gradients, velocities, decays, *, lr, momentum=0.0, nesterov=False):
        """See `Engine.sgd_update_all`: one launch for all parameters of a precision."""
        for dtype in {value.dtype for value in values}:
            update = self.runtime.updates.setdefault(dtype, Update(self.runtime, dtype))
            chosen = [k for k, value in enumerate(values) if value.dtype == dtype]
            arrays = ([given[k] for k in chosen] for given in (values, gradients, velocities, decays))
            update.step(*arrays, lr=lr, momentum=momentum, nesterov=nesterov)
