"""Median time and peak memory of a pair of calls."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple


class Measurement(NamedTuple):
    """Seconds (medians over the repeats) and bytes.

    `peak_bytes` is what forward and backward together allocated at most at one time, beyond what was there
    before: results and caches count, arguments don't. NumPy's allocations are traced; what a library
    allocates by itself isn't.
    """

    forward: float
    backward: float
    peak_bytes: int


def measure(forward: Callable[[], Any], backward: Callable[[Any], Any], *, repeats: int) -> Measurement:
    """Time `state = forward()` and `backward(state)`, `repeats` times after one warm-up."""
    tracemalloc.start()  # tracing slows down: the run that is traced is the warm-up, not a repeat
    backward(forward())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        start = time.perf_counter()
        state = forward()
        middle = time.perf_counter()
        backward(state)
        end = time.perf_counter()
        times[0].append(middle - start)
        times[1].append(end - middle)
    return Measurement(statistics.median(times[0]), statistics.median(times[1]), peak)
