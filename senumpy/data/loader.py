"""Batches: shuffled, augmented, prepared ahead in threads, and the same however many threads there are."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from senumpy.data.dataset import Dataset
from senumpy.data.transforms import Transform
from senumpy.errors import InputError

Batch: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64]]
T = TypeVar("T")


class Dealer(Generic[T]):
    """Deals a data set out in batches; a subclass says what a batch `T` is, and prepares it.

    The order of an epoch is a permutation drawn from (seed, epoch), and an image's augmentation is drawn from
    (seed, epoch, index). So an epoch is the same whatever the number of workers, and one that is continued in
    the middle gives the batches that remained.

    Parameters
    ----------
    dataset
        Images and labels.
    batch_size
        Images a batch; the last batch has what is left, or is left out with `drop_last`.
    shuffle
        Whether each epoch has its own order; False deals in the order of the data set.
    seed
        Any integer >= 0.
    workers
        Threads that prepare batches ahead; 0 prepares each batch when it is asked for. At most `workers` + 1
        batches wait in memory.
    drop_last
        Whether a last batch that is not full is left out.

    Raises
    ------
    InputError
        When the batch size is below 1 or larger than the data set, or `workers` or `seed` is negative.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 1,
        drop_last: bool = False,
    ) -> None:
        if not 1 <= batch_size <= len(dataset):
            raise InputError(
                f"batch size {batch_size}: wanted 1 to {len(dataset)}, the images of {dataset.name}"
            )
        if workers < 0 or seed < 0:
            raise InputError(f"{workers} workers, seed {seed}: wanted both 0 or more")
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.workers = workers
        self.drop_last = drop_last

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        count = len(self.dataset)
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)

    def epoch(self, epoch: int, start_batch: int = 0) -> Generator[T, None, None]:
        """Return a generator of the batches of an epoch, from batch `start_batch` on.

        Raises
        ------
        InputError
            When an image cannot be read; it names the file. Threads end before any exception leaves.
        """
        if not 0 <= start_batch <= len(self):
            raise InputError(
                f"start at batch {start_batch}: wanted 0 to {len(self)}, the batches of an epoch"
            )
        order = self._order(epoch)
        batches = (
            order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(start_batch, len(self))
        )
        if self.workers == 0:
            return (self._prepare(epoch, indices) for indices in batches)
        return self._ahead(epoch, batches)

    def _ahead(self, epoch: int, batches: Iterator[NDArray[np.intp]]) -> Generator[T, None, None]:
        """Prepare batches in threads, a bounded number ahead, and yield them in order."""
        stop = threading.Event()
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="senumpy-loader")
        waiting: deque[Future[T]] = deque()
        try:
            for indices in batches:
                waiting.append(pool.submit(self._prepare, epoch, indices, stop))
                if len(waiting) > self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # done, an exception, Ctrl-C, or the consumer wants no more
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _order(self, epoch: int) -> NDArray[np.intp]:
        count = len(self.dataset)
        return self._rng(epoch).permutation(count) if self.shuffle else np.arange(count)

    def _rng(self, *key: int) -> np.random.Generator:
        """Return the generator of (seed, epoch), for the order, or of (seed, epoch, index), for an image."""
        # A spawn key, because as plain entropy (seed, epoch) and (seed, epoch, 0) would be the same.
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key)))

    def _prepare(self, epoch: int, indices: NDArray[np.intp], stop: threading.Event | None = None) -> T:
        """Return the batch of these images."""
        raise TypeError(f"{type(self).__name__} defines no _prepare")

    def _each(
        self, indices: NDArray[np.intp], make: Callable[[int], Any], stop: threading.Event | None
    ) -> list[Any]:
        """Return what is made of each index; an error says of which image. A stop is obeyed between two."""
        made = []
        for index in indices.tolist():
            if stop is not None and stop.is_set():
                raise CancelledError  # nobody waits for this batch any more
            try:
                made.append(make(index))
            except InputError:
                raise
            except Exception as error:
                error.add_note(f"while preparing {self.dataset.describe(index)}")
                raise
        return made


class Loader(Dealer[Batch]):
    """Deals out `x` (N, C, H, W) float32, contiguous, and `labels` (N,) int64: what a network takes.

    Parameters
    ----------
    dataset, batch_size, options
        See `Dealer`.
    transform
        Makes (C, H, W) float32 of an image (H, W, C).
    """

    def __init__(self, dataset: Dataset, batch_size: int, *, transform: Transform, **options: Any) -> None:
        super().__init__(dataset, batch_size, **options)
        self.transform = transform

    def _prepare(self, epoch: int, indices: NDArray[np.intp], stop: threading.Event | None = None) -> Batch:
        def make(index: int) -> NDArray[np.float32]:
            return self.transform(self.dataset.images[index], self._rng(epoch, index))

        images = self._each(indices, make, stop)
        return np.ascontiguousarray(np.stack(images), dtype=np.float32), self.dataset.labels[indices]
