"""The training loop at its plainest: one epoch, with nothing around it.

`Trainer` does the same, and keeps tallies, resumes, evaluates and reports besides.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from senumpy.models import Network
from senumpy.ops.arrays import Array
from senumpy.training.sgd import SGD


def train_epoch(
    model: Network, batches: Iterable[tuple[Array, np.ndarray[Any, Any]]], sgd: SGD, lr: float
) -> float:
    """Train for one epoch and return the mean loss over all images.

    For each batch: the logits ``model.forward(x)``, their softmax cross-entropy (`model.engine` has
    ``softmax_cross_entropy_forward(logits, labels) -> (loss, cache)`` and
    ``softmax_cross_entropy_backward(1.0, cache).dlogits``), ``model.backward(dlogits)``, which sets the
    gradients of all parameters, and ``sgd.step(lr)``, which updates them.

    Parameters
    ----------
    model : Network
    batches : iterable of (x (N, C, H, W), labels (N,))
        N may differ from batch to batch. It can be a generator: it is gone through once.
    sgd : SGD
        Of this model.
    lr : float

    Returns
    -------
    float
        Each image's loss counts once, whatever batch it is in, as it was before the batch's update.
    """
    # exercise train_epoch: 3 points, level 2, lesson 15 "The whole loop"
    engine = model.engine
    total, images = 0.0, 0
    for x, labels in batches:
        logits = model.forward(x)
        loss, cache = engine.softmax_cross_entropy_forward(logits, labels)
        model.backward(engine.softmax_cross_entropy_backward(1.0, cache).dlogits)
        sgd.step(lr)
        total += float(loss) * len(labels)  # `loss` is the batch's mean
        images += len(labels)
    return total / images
    # end of exercise
