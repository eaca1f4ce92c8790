"""Small things that many training tests need: a model, and loaders over arrays instead of files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from senumpy import create_model
from senumpy.training import SGD, Position, Trainer, constant


class ArrayBatches:
    """Batches of arrays, in an order that depends on the epoch alone."""

    def __init__(self, x: np.ndarray, labels: np.ndarray, batch_size: int, *, shuffle: bool = True):
        self.x, self.labels, self.batch_size, self.shuffle = x, labels, batch_size, shuffle

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.arange(len(self.labels))
        if self.shuffle:
            order = np.random.default_rng(epoch).permutation(order)
        for k in range(start_batch, len(self)):
            chosen = order[k * self.batch_size : (k + 1) * self.batch_size]
            yield self.x[chosen], self.labels[chosen]


def small_model(seed: int = 0, **settings: Any) -> Any:
    return create_model("se_resnet8_cifar", num_classes=3, in_channels=1, seed=seed, **settings)


@pytest.fixture
def batches() -> ArrayBatches:
    """Three kinds of 8x8 stripes in noise: easy to tell apart."""
    rng = np.random.default_rng(7)
    labels = rng.integers(3, size=40)
    stripes = np.zeros((3, 1, 8, 8), dtype=np.float32)
    stripes[0, :, ::2] = stripes[1, :, :, ::2] = 2.0
    x = stripes[labels] + 0.3 * rng.standard_normal((40, 1, 8, 8)).astype(np.float32)
    return ArrayBatches(x, labels, 16)


@pytest.fixture
def make_trainer(batches):
    def make(
        model: Any = None,
        lr: float = 0.05,
        epochs: int = 2,
        position: Position | None = None,
        **settings: Any,
    ) -> Trainer:
        model = model or small_model()
        test = ArrayBatches(batches.x, batches.labels, 16, shuffle=False)
        return Trainer(
            model, SGD(model), constant(lr), batches, test, epochs=epochs, position=position, **settings
        )

    return make


@pytest.fixture(scope="session")
def stripes(tmp_path_factory) -> str:
    """A data set on disk: 60 images of 8x8 in three classes, 48 of them for training."""
    rng = np.random.default_rng(3)
    y = np.arange(60) % 3
    stripes = np.zeros((3, 8, 8, 1))
    stripes[0, ::2] = stripes[1, :, ::2] = 120.0
    x = (60 + stripes[y] + rng.normal(0, 25, (60, 8, 8, 1))).clip(0, 255).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "stripes.npz"
    np.savez(path, x=x, y=y)
    return str(path)
