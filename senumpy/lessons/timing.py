"""For lessons: times that can be compared."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

Name = TypeVar("Name", bound=Hashable)


def in_turns(contenders: Mapping[Name, Callable[[], Any]], repeats: int = 7) -> dict[Name, float]:
    """Run each contender once for warming up and then `repeats` times in turns; return medians in seconds."""
    times: dict[Name, list[float]] = {name: [] for name in contenders}
    for k in range(repeats + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            times[name] += [time.perf_counter() - start] if k else []
    return {name: statistics.median(some) for name, some in times.items()}
