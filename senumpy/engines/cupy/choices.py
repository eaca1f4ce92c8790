"""Which of several ways of computing the same is taken: by measurement, or by rule.

The first time that a shape comes, each way runs on it and is timed. Which is fastest may differ between two
runs of a program, and with it the last bits of results. `deterministic` takes the first way, which the rule
prefers; it measures all the same, so that its price is known.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

import cupy as cp

REPEATS = 3  # of a way; the fastest counts


class Choices:
    """The ways taken so far.

    Attributes
    ----------
    taken : dict
        Way by (what is computed, shape).
    least, price : float
        Milliseconds of the fastest ways, each shape used once, and how much longer those taken need.
    """

    def __init__(self, deterministic: bool) -> None:
        self.deterministic = deterministic
        self.taken: dict[Hashable, str] = {}
        self.least = self.price = 0.0

    def run(self, key: Hashable, ways: tuple[str, ...], compute: Callable[[str], Any]) -> Any:
        """Return `compute(way)` for the way that is taken for `key`; `ways` begin with the rule's."""
        if len(ways) == 1:
            return compute(ways[0])
        taken = self.taken.get(key)
        if taken is None:
            times = {way: _milliseconds(compute, way) for way in ways}
            fastest = min(times, key=lambda way: times[way])
            taken = self.taken[key] = ways[0] if self.deterministic else fastest
            self.least += times[fastest]
            self.price += times[taken] - times[fastest]
        return compute(taken)


def _milliseconds(compute: Callable[[str], Any], way: str) -> float:
    """Return the time of one way, after a run that compiles and takes memory."""
    compute(way)
    best = float("inf")
    for _ in range(REPEATS):
        start, end = cp.cuda.Event(), cp.cuda.Event()
        start.record()
        compute(way)
        end.record()
        end.synchronize()
        best = min(best, cp.cuda.get_elapsed_time(start, end))
    return best
