"""When the memory of a GPU is full: what was wanted, what there is, and which batch would fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeAlias, TypeVar

import numpy as np

from senumpy.engines.base import DeviceMemory
from senumpy.models import Network
from senumpy.ops.arrays import Array
from senumpy.training.errors import TrainingError

T = TypeVar("T")
Labels: TypeAlias = np.ndarray[Any, Any]
Step: TypeAlias = Callable[[Network, Array, Labels], T]


def within_memory(
    model: Network, step: Step[T], x: Array, labels: Labels, *, trial: Step[object] | None = None
) -> T:
    """Return step(model, x, labels), or say which batch would fit if a device's memory doesn't suffice.

    Parameters
    ----------
    model : Network
    step, trial : function
        `trial` is called instead of `step` to measure; it may change no more than gradients and running
        statistics. It is the same where not given.
    x, labels : array
        (N, C, H, W) and (N,).

    Raises
    ------
    TrainingError
        The engine's device has no memory left. Weights are as before, running statistics are not: go on
        from a checkpoint. On a processor, the MemoryError is left as it is.
    """
    try:
        return step(model, x, labels)
    except MemoryError as error:
        memory = model.engine.device_memory()
        if memory is None:
            raise
        found = _found(error, memory)
    # Not inside of `except`: there the error's frames hold the arrays of the step that failed.
    raise TrainingError(f"{found}; {_advice(model, trial or step, x, labels)}")


def fed_within_memory(model: Network, batches: Iterable[T]) -> Generator[T, None, None]:
    """Yield the batches, or say that the memory of the device which takes them is full."""
    try:
        yield from batches
    except MemoryError as error:
        memory = model.engine.device_memory()
        if memory is None:
            raise
        raise TrainingError(f"{_found(error, memory)}; use a smaller --batch-size") from error


def _found(error: MemoryError, memory: DeviceMemory) -> str:
    return (
        f"the GPU's memory is full: {str(error).rstrip('.')}; "
        f"{_readable(memory.free)} free of {_readable(memory.total)}"
    )


def _advice(model: Network, trial: Step[object], x: Array, labels: Labels) -> str:
    """Say which batch would fit."""

    def peak(count: int) -> float | None:
        model.forget()
        try:
            return model.engine.peak_memory(lambda: trial(model, x[:count], labels[:count]))
        except MemoryError:
            return math.inf

    model.forget()
    memory = model.engine.device_memory()
    count = largest_batch(peak, memory.free if memory else 0, len(labels))
    model.forget()
    if count is None:
        return "use a smaller --batch-size"
    if count == 0:
        return "not even one image fits: use a smaller network or smaller images"
    images = "one image" if count == 1 else f"{count} images"
    return f"a batch of {images} would fit: use --batch-size {count}"


def largest_batch(peak: Callable[[int], float | None], room: float, failed: int) -> int | None:
    """Return the largest batch that fits, rounded down to a multiple of 8 if it is larger than that.

    What a step takes grows by the same amount with each image, as good as. So two small steps are measured,
    and tell the size that fills the room; a step of that size is tried before it is promised.

    Parameters
    ----------
    peak : function
        Of a number of images: bytes that a step takes at most, infinity if they are not there, None if the
        engine doesn't know.
    room : float
        Bytes that are there.
    failed : int
        A batch that doesn't fit.

    Returns
    -------
    int or None
        0 if not even one image fits; None if the engine doesn't know.
    """
    while failed > 1:
        large = min(max(2, failed // 8), failed - 1)
        small = max(1, large // 2)
        less, more = peak(small), peak(large)
        if less is None or more is None:
            return None
        if more == math.inf:
            failed = small if less == math.inf else large
            continue
        count = large
        if more > less:
            count += max(0, int((room - more) * (large - small) / (more - less)))
        count = _rounded(min(count, failed - 1))
        while count > large and peak(count) == math.inf:
            count = _rounded(max(large, count - max(1, count // 8)))
        return count
    return 0


def _rounded(count: int) -> int:
    return count // 8 * 8 if count > 8 else count


def _readable(size: int) -> str:
    unit, name = next(((u, n) for u, n in ((2**30, "GiB"), (2**20, "MiB")) if size >= u), (2**10, "KiB"))
    return f"{size / unit:,.1f} {name}"
