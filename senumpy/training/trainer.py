"""The training loop: forward, loss, backward, update; then evaluation; epoch after epoch."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from senumpy.models import Network
from senumpy.ops.arrays import Array
from senumpy.training.errors import TrainingError
from senumpy.training.evaluate import Batches, Tally, check_images, evaluate, forward_loss
from senumpy.training.memory import fed_within_memory, within_memory
from senumpy.training.schedules import Schedule
from senumpy.training.sgd import SGD


@dataclass
class Position:
    """Where a run stands, between two updates; with weights and velocities it determines all that follows.

    Attributes
    ----------
    epoch : int
        Epochs finished.
    batch : int
        Batches used of the epoch under way.
    step : int
        Updates in all.
    tally : Tally
        Over the epoch under way.
    training_seconds, seconds : float
        Time of the epoch under way, without and with evaluation and pauses for checkpoints.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    tally: Tally = field(default_factory=Tally)
    training_seconds: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class EpochMetrics:
    """One line of `metrics.jsonl`.

    Attributes
    ----------
    epoch, step : int
        Epochs and updates finished.
    lr : float
        Learning rate of the epoch's last update.
    train_loss, train_accuracy : float
        Means over the epoch's batches, each before its update, in training mode.
    test_loss, test_accuracy : float
        After the epoch, by running statistics.
    images_per_second : float
        Of training, without evaluation.
    seconds : float
        The whole epoch, evaluation included.
    """

    epoch: int
    step: int
    lr: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    images_per_second: float
    seconds: float


class Trainer:
    """Train a model on one loader and evaluate it on another.

    Parameters
    ----------
    model : Network
    sgd : SGD
        Of this model.
    schedule : Schedule
        Learning rate by step.
    train, test : Batches
        Loaders. The training one gives the same batches whenever it is asked for the same epoch.
    epochs : int
        Where to stop.
    label_smoothing : float
        Of the training loss; the test loss has none.
    seed : int
        Of what layers draw (dropout, Shake-Shake): a function of seed and step, so that it resumes exactly.
    position : Position, optional
        Where to begin; `model` and `sgd` have to be in the state that belongs to it.
    """

    def __init__(
        self,
        model: Network,
        sgd: SGD,
        schedule: Schedule,
        train: Batches,
        test: Batches,
        *,
        epochs: int,
        label_smoothing: float = 0.0,
        seed: int = 0,
        position: Position | None = None,
    ):
        self.model = model
        self.sgd = sgd
        self.schedule = schedule
        self.train_loader = train
        self.test_loader = test
        self.epochs = epochs
        self.label_smoothing = label_smoothing
        self.seed = seed
        self.position = position or Position()
        self._clock = time.perf_counter()

    def run(
        self,
        *,
        after_step: Callable[[], None] = lambda: None,
        after_test_batch: Callable[[Tally], None] = lambda tally: None,
        after_epoch: Callable[[EpochMetrics], None] = lambda metrics: None,
    ) -> None:
        """Train up to `epochs`.

        The three functions are called when the state is whole: a checkpoint taken inside them, or after an
        exception raised from them, resumes exactly.

        Raises
        ------
        TrainingError
            A loss is not finite, or a device's memory is full.
        """
        while self.position.epoch < self.epochs:
            self._clock = time.perf_counter()
            self._train(after_step)
            metrics = self._finish(after_test_batch)
            after_epoch(metrics)

    def _train(self, after_step: Callable[[], None]) -> None:
        """Do what is left of the epoch's updates."""
        position = self.position
        if position.batch >= len(self.train_loader):
            return  # interrupted during evaluation
        self.model.train()
        self.model.release_caches()
        # A generator of our own can be closed, whatever the loader returns: its threads end with it.
        epoch = self.train_loader.epoch(position.epoch, start_batch=position.batch)
        with contextlib.closing(fed_within_memory(self.model, epoch)) as stream:
            for x, labels in stream:
                within_memory(self.model, self._update, x, labels, trial=self._try)
                position.training_seconds += self._lap()
                after_step()
                self._lap()

    def _update(self, model: Network, x: Array, labels: np.ndarray[Any, Any]) -> None:
        """Do one update and count it. Raises before anything is changed if the loss is not finite."""
        position, lr = self.position, self.schedule(self.position.step)
        model.seed_draws(self.seed, position.step)
        loss, logits, cache = forward_loss(model, x, labels, label_smoothing=self.label_smoothing)
        if not np.isfinite(loss):
            where = f"batch {position.batch} of epoch {position.epoch + 1}"
            check_images(model.engine.to_numpy(x), where)
            raise TrainingError(
                f"the loss is {loss} at step {position.step} ({where}), learning rate {lr:.3g}: "
                "wanted a finite number; use a smaller learning rate or a longer warm-up"
            )
        with np.errstate(over="ignore", invalid="ignore"):  # the next loss tells
            _backward(model, cache)
            self.sgd.step(lr)
        position.tally.add(loss, logits, labels)
        position.batch += 1
        position.step += 1

    def _try(self, model: Network, x: Array, labels: np.ndarray[Any, Any]) -> None:
        """Do what takes memory in an update, but no update."""
        _backward(model, forward_loss(model, x, labels, label_smoothing=self.label_smoothing)[2])

    def _finish(self, after_test_batch: Callable[[Tally], None]) -> EpochMetrics:
        """Evaluate, and move to the next epoch."""
        position = self.position
        test = evaluate(self.model, self.test_loader, after_batch=after_test_batch)
        self._lap()
        metrics = EpochMetrics(
            epoch=position.epoch + 1,
            step=position.step,
            lr=self.schedule(position.step - 1),
            train_loss=position.tally.mean_loss,
            train_accuracy=position.tally.accuracy,
            test_loss=test.mean_loss,
            test_accuracy=test.accuracy,
            images_per_second=position.tally.images / max(1e-9, position.training_seconds),
            seconds=position.seconds,
        )
        self.position = Position(epoch=position.epoch + 1, step=position.step)
        return metrics

    def _lap(self) -> float:
        """Add the time since the last lap to the epoch, and return it."""
        now = time.perf_counter()
        lap, self._clock = now - self._clock, now
        self.position.seconds += lap
        return lap


def _backward(model: Network, cache: Any) -> None:
    """Set the gradients for the loss of this cache."""
    dlogits = model.engine.softmax_cross_entropy_backward(1.0, cache).dlogits
    model.backward(dlogits, need_dx=False)
