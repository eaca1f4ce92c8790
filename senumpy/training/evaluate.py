"""Loss and accuracy: sums over batches, and the evaluation of a model on a data set."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from senumpy.models import Network
from senumpy.ops.arrays import Array
from senumpy.training.errors import TrainingError
from senumpy.training.memory import fed_within_memory, within_memory

Batch = tuple[Array, np.ndarray[Any, Any]]


class Batches(Protocol):
    """What training and evaluation need of a loader: batches (x (N, C, H, W) float32, labels (N,)).

    Labels are in NumPy, and x is too or an array of the model's engine already.
    """

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        ...

    def epoch(self, epoch: int, start_batch: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, which depend on `epoch` alone, from `start_batch` on."""
        ...


@dataclass
class Tally:
    """Sums over the images seen; means come from them, so batches may differ in size.

    Attributes
    ----------
    images : int
    loss : float
        Sum of the images' losses.
    top1, top5 : int
        Images whose label is the first, or among the first five, by descending logit.
    """

    images: int = 0
    loss: float = 0.0
    top1: int = 0
    top5: int = 0

    def add(self, loss: float, logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> None:
        """Count a batch: its mean loss, logits (N, K) and labels (N,)."""
        rank = label_ranks(logits, labels)
        self.images += len(labels)
        self.loss += loss * len(labels)
        self.top1 += int((rank < 1).sum())
        self.top5 += int((rank < 5).sum())

    @property
    def mean_loss(self) -> float:
        """Loss by image."""
        return self.loss / max(1, self.images)

    @property
    def accuracy(self) -> float:
        """Fraction of the images classified correctly."""
        return self.top1 / max(1, self.images)

    @property
    def top5_accuracy(self) -> float:
        """Fraction of the images whose label is among the first five."""
        return self.top5 / max(1, self.images)


def label_ranks(logits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return how many classes (N,) come before each label by descending logit; of equal ones, the first wins.

    This agrees with argmax: the rank is 0 exactly where argmax gives the label.
    """
    own = np.take_along_axis(logits, labels[:, None], axis=1)  # (N, 1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]  # (N, K)
    return ((logits > own) | ((logits == own) & earlier)).sum(axis=1)


def forward_loss(
    model: Network, x: Array, labels: np.ndarray[Any, Any], *, label_smoothing: float = 0.0
) -> tuple[float, np.ndarray[Any, Any], Any]:
    """Return the mean loss, the logits as a NumPy array and the loss's cache for one batch.

    Numbers that overflow are not reported here: the caller looks at the loss.
    """
    engine = model.engine
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        logits: Array = model.forward(engine.asarray(x, dtype=model.dtype))
        # Labels as they are: an engine on a device checks them here, without waiting for the device.
        loss, cache = engine.softmax_cross_entropy_forward(logits, labels, label_smoothing=label_smoothing)
    return float(loss), engine.to_numpy(logits), cache


def evaluate(
    model: Network, loader: Batches, *, after_batch: Callable[[Tally], None] = lambda tally: None
) -> Tally:
    """Return loss and accuracies of `model` over all batches of `loader`, by running statistics.

    The loss is the plain cross-entropy, without label smoothing.

    Raises
    ------
    TrainingError
        A loss is not finite; the message says whether the images or the weights are to blame. Or a device's
        memory is full; it says which batch would fit.
    """
    tally = Tally()
    with model.inference(), contextlib.closing(fed_within_memory(model, loader.epoch(0))) as batches:
        for number, (x, labels) in enumerate(batches):
            loss, logits, _ = within_memory(model, forward_loss, x, labels)
            if not np.isfinite(loss):
                check_images(model.engine.to_numpy(x), f"test batch {number}")
                raise TrainingError(
                    f"the loss on test batch {number} is {loss}: weights or running statistics overflowed; "
                    "wanted a finite number. Train again with a smaller learning rate"
                )
            tally.add(loss, logits, labels)
            after_batch(tally)
    return tally


def evaluate_crops(model: Network, loaders: Sequence[Batches]) -> Tally:
    """Return loss and accuracies of the mean of the softmax over several views of the same images.

    Parameters
    ----------
    model : Network
    loaders : sequence of Batches
        One a view; all give the same images in the same order.

    Raises
    ------
    TrainingError
        As in `evaluate`.
    """
    tally = Tally()
    with model.inference(), contextlib.ExitStack() as stack:
        views = [
            stack.enter_context(contextlib.closing(fed_within_memory(model, loader.epoch(0))))
            for loader in loaders
        ]
        for number, batches in enumerate(zip(*views, strict=True)):
            labels = batches[0][1]
            mean = np.mean([within_memory(model, _probabilities, *b) for b in batches], axis=0)  # (N, K)
            with np.errstate(divide="ignore"):
                loss = float(-np.log(np.take_along_axis(mean, labels[:, None], axis=1)).mean())
            if not np.isfinite(loss):
                check_images(model.engine.to_numpy(batches[0][0]), f"test batch {number}")
                raise TrainingError(f"the loss on test batch {number} is {loss}: wanted a finite number")
            tally.add(loss, mean, labels)
    return tally


def _probabilities(model: Network, x: Array, labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the softmax of the logits (N, K) in float64."""
    logits = model.engine.to_numpy(model.forward(model.engine.asarray(x, dtype=model.dtype)))
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def check_images(x: np.ndarray[Any, Any], where: str) -> None:
    """Raise TrainingError if an image (N, C, H, W) holds a number that is not finite, and say where."""
    bad = ~np.isfinite(x)
    if bad.any():
        n, c, h, w = (int(i) for i in np.argwhere(bad)[0])
        kind = "NaN" if np.isnan(x[n, c, h, w]) else "infinity"
        raise TrainingError(
            f"the input holds {kind} at image {n}, channel {c}, row {h}, column {w} of {where}: "
            "wanted finite pixels; mend the data"
        )
