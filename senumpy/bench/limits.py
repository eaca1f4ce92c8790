"""What the machine can do: the yardstick that achieved rates are held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines import engine, engine_names

_SIDE = 2048
_COPIED = 1 << 26  # bytes, far more than a cache holds
_REPEATS = 7


class Limits(NamedTuple):
    """GFLOP/s of a large float32 matrix product and GB/s (read and written) of a large copy."""

    gflops: float
    gbytes: float


def measure_limits(threads: int) -> Limits:
    """Measure both, by NumPy and by the `numba` engine where it is installed; the better one counts."""
    a = np.random.default_rng(0).standard_normal((_SIDE, _SIDE), dtype=np.float32)
    source = np.ones(_COPIED // 4, np.float32)
    target = np.empty_like(source)
    product, copy = np.empty_like(a), [_best(lambda: np.copyto(target, source))]
    products = [_best(lambda: np.matmul(a, a, out=product))]
    if "numba" in engine_names():
        from senumpy.engines.numba import elementwise

        made: Any = engine("numba", threads=threads)
        products.append(_best(lambda: made.linear_forward(a, a)))
        copy.append(_best(lambda: made.runtime.run(elementwise.copy, source, target)))
    return Limits(2e-9 * _SIDE**3 / min(products), 2e-9 * _COPIED / min(copy))


def _best(run: Callable[[], Any]) -> float:
    """Return the median of the better half: a limit is what can be reached."""
    times = []
    for _ in range(_REPEATS + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(sorted(times[1:])[: _REPEATS // 2 + 1])
