"""Engines that break one promise each."""

from __future__ import annotations

import numpy as np

from senumpy import ops
from senumpy.engines import Engine


class WrongSign(Engine):
    """The images' gradient of a convolution is negative."""

    def conv2d_backward(self, dy, cache, **settings):
        found = ops.conv2d_backward(dy, cache, **settings)
        return found if found.dx is None else found._replace(dx=-found.dx)


class DroppedMean(Engine):
    """Batch norm's gradient lacks the term through the mean."""

    def batchnorm2d_forward(self, x, gamma, beta, *, eps=1e-5):
        y, cache = ops.batchnorm2d_forward(x, gamma, beta, eps=eps)
        self.gamma, self.eps = gamma, eps
        return y, cache

    def batchnorm2d_backward(self, dy, cache):
        found = ops.batchnorm2d_backward(dy, cache)
        scale = self.gamma / np.sqrt(cache.var + self.eps)
        missing = (scale * dy.mean((0, 2, 3)))[:, None, None]
        return found._replace(dx=(found.dx + missing).astype(dy.dtype))


class ChangesItsInput(Engine):
    """ReLU works in place."""

    @staticmethod
    def relu_forward(x):
        y, cache = ops.relu_forward(x)
        x[...] = y
        return y, cache


class Alias(Engine):
    """Where nothing is dropped, dropout returns its argument."""

    @staticmethod
    def dropout_forward(x, *, p=0.5, rng):
        y, cache = ops.dropout_forward(x, p=p, rng=rng)
        return (x if p == 0.0 else y), cache


class Widens(Engine):
    """The gradient of a sigmoid is always float64."""

    @staticmethod
    def sigmoid_backward(dy, cache):
        found = ops.sigmoid_backward(dy, cache)
        return found._replace(dx=found.dx.astype(np.float64))


class TakesInts(Engine):
    """A linear layer makes floats of whatever it gets."""

    @staticmethod
    def linear_forward(x, w, b=None):
        as_floats = [a.astype(float) if a is not None and a.dtype == np.int64 else a for a in (x, w, b)]
        return ops.linear_forward(*as_floats)


class LastMaximum(Engine):
    """Of equal maxima the last takes the gradient."""

    @staticmethod
    def max_pool2d_forward(x, **settings):
        y, cache = ops.max_pool2d_forward(x, **settings)
        later = 1e-9 * np.arange(x.shape[2] * x.shape[3]).reshape(x.shape[2:])
        _, other = ops.max_pool2d_forward(x + later, **settings)
        return y, cache._replace(winner=other.winner)


class NeverTheSame(Engine):
    """The last bits depend on how often one has asked."""

    def __init__(self):
        self.calls = 0

    def global_avg_pool_forward(self, x):
        self.calls += 1
        y, cache = ops.global_avg_pool_forward(x)
        return y * y.dtype.type(1 + self.calls % 2 * 4 * np.finfo(y.dtype).eps), cache


class LosesNaN(Engine):
    """ReLU of NaN is 0."""

    @staticmethod
    def relu_forward(x):
        _, cache = ops.relu_forward(x)
        return np.fmax(x, x.dtype.type(0)), cache


class Raises(Engine):
    """There is no tanh."""

    @staticmethod
    def tanh_forward(x):
        raise RuntimeError("out of tanh")
