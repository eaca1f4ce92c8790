"""Images to the GPU while it trains: how many a second, and how long it waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from senumpy.bench import ours
from senumpy.bench.gpu.rows import Goal, Result, Row
from senumpy.bench.gpu.session import Contender, Prepared, Session
from senumpy.data import Augmentation, Dataset, Normalize, RawLoader
from senumpy.training.loaders import FedBatches

IMAGES_A_SECOND = 10_000
_CLASSES = 10
FEED, FED, THERE = "feed alone", "training, fed", "training, the same images again"


def measure_feeding(session: Session) -> None:
    """Measure the feed alone, training with it, and training on one batch that is there already."""
    settings = session.settings
    precision, steps, batch = "tf32", settings.small_steps, settings.small_batch
    made = session.engine(precision)
    title = f"{settings.small_model}, batch {batch}, {settings.small_size}x{settings.small_size}, {precision}"
    title = f"feeding, {title}"

    def feed() -> Prepared:
        return Prepared(_epochs(session, made, lambda x, labels: None))

    def fed() -> Prepared:
        return Prepared(_epochs(session, made, ours.training_step(made, settings.small_model, _CLASSES)))

    def there() -> Prepared:
        step = ours.training_step(made, settings.small_model, _CLASSES)
        batches = _loader(session, made).epoch(0)
        x, labels = next(batches)
        batches.close()

        def run() -> None:
            for _ in range(steps):
                step(x, labels)

        return Prepared(run)

    contenders = [
        Contender(name, prepare, steps * batch, batch)
        for name, prepare in ((FEED, feed), (FED, fed), (THERE, there))
    ]
    results = session.alternate(title, contenders)
    session.add(Row("cifar", title, precision, *_judged(results, steps)))


def _judged(results: list[Result], steps: int) -> tuple[list[Result], list[Goal], list[str]]:
    """Return results by step, goals, and how long the GPU waits."""
    found = {result.contender: result for result in results}
    goals = [
        Goal(f"images/s, {name}", found[name].images_per_second or 0.0, IMAGES_A_SECOND)
        for name in (FEED, FED)
        if name in found
    ]
    remarks = [f"ms a step of {steps} steps; images as bytes in memory, cropped and mirrored on the GPU"]
    with_feed, without = (found[name].seconds if name in found else None for name in (FED, THERE))
    if with_feed and without:
        waiting = max(0.0, 1 - without / with_feed)
        remarks.append(f"the GPU waits for images {100 * waiting:.1f} % of the time")
    by_step = [replace(r, seconds=r.seconds / steps if r.seconds else None) for r in results]
    return by_step, goals, remarks


def _epochs(session: Session, made: Any, step: Callable[[Any, Any], None]) -> Callable[[], None]:
    """Return a run of one epoch after the other."""
    loader = _loader(session, made)
    number = 0

    def run() -> None:
        nonlocal number
        for x, labels in loader.epoch(number):
            step(x, labels)
        number += 1

    return run


def _loader(session: Session, made: Any) -> FedBatches:
    """Return what feeds a training on CIFAR, with random images."""
    settings = session.settings
    count, side = settings.small_steps * settings.small_batch, settings.small_size
    rng = np.random.default_rng(0)
    mean, std = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
    data = Dataset(
        name="random/train",
        images=rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8),
        labels=rng.integers(0, _CLASSES, count),
        class_names=tuple(map(str, range(_CLASSES))),
        image_shape=(side, side, 3),
        mean=mean,
        std=std,
        augmentable=True,
    )
    raw = RawLoader(data, settings.small_batch, augmentation=Augmentation(), shuffle=True, workers=0)
    return FedBatches(raw, made, Normalize(mean, std))
