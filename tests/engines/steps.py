"""A batch, and a step of training, for tests of engines."""

from __future__ import annotations

import numpy as np


def train_step(model, x, labels, sgd=None):
    """Return the loss and the gradient of the images."""
    loss, cache = model.engine.softmax_cross_entropy_forward(model.forward(x), labels)
    dx = model.backward(model.engine.softmax_cross_entropy_backward(1.0, cache).dlogits)
    if sgd:
        sgd.step(0.05)
    return float(loss), dx


def batch(rng, n=4, channels=3, size=32, dtype=np.float32):
    return rng.normal(size=(n, channels, size, size)).astype(dtype), np.arange(n) % 10
