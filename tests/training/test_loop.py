"""The plain loop of an epoch, against the trainer, and against its parts."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy.training import SGD, Trainer, constant
from senumpy.training.loop import train_epoch

from .conftest import ArrayBatches, small_model


@pytest.fixture
def uneven(batches):
    """Batches of 16, 16 and 8 images, in float32 as loaders give them."""
    return ArrayBatches(batches.x, batches.labels, 16)


def test_an_epoch_is_the_trainers(uneven):
    ours, theirs = small_model(), small_model()
    rows = []
    Trainer(theirs, SGD(theirs, weight_decay=0.01), constant(0.05), uneven, uneven, epochs=1).run(
        after_epoch=rows.append
    )
    loss = train_epoch(ours, uneven.epoch(0), SGD(ours, weight_decay=0.01), 0.05)
    assert loss == rows[0].train_loss
    want = theirs.state_dict()
    for name, value in ours.state_dict().items():
        np.testing.assert_array_equal(value, want[name], err_msg=name)


def test_epochs_lower_the_loss(uneven):
    model = small_model()
    sgd = SGD(model)
    losses = [train_epoch(model, uneven.epoch(k), sgd, 0.05) for k in range(6)]
    assert losses[-1] < 0.3 * losses[0]


def test_the_mean_is_over_images(uneven):
    """With a learning rate of 0 the model stays as it is, so batches may be cut in any way."""
    pieces = [uneven.x[:16], uneven.x[16:32], uneven.x[32:]]
    labels = [uneven.labels[:16], uneven.labels[16:32], uneven.labels[32:]]
    model = small_model()
    losses = [train_epoch(model, [pair], SGD(model), 0.0) for pair in zip(pieces, labels, strict=True)]
    whole = train_epoch(model, zip(pieces, labels, strict=True), SGD(model), 0.0)
    assert whole == pytest.approx(np.dot(losses, [16, 16, 8]) / 40, rel=1e-12)
    assert abs(whole - np.mean(losses)) > 1e-4
