"""How many threads work at a time, where nobody says."""

from __future__ import annotations

import os

from senumpy.errors import InputError

MOST_THREADS = 64


def default_threads() -> int:
    """Return `SENUMPY_NUM_THREADS`, or the number of cores that this process may use."""
    wanted = os.environ.get("SENUMPY_NUM_THREADS")
    if wanted is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, MOST_THREADS)
    if not wanted.isdecimal() or not 1 <= int(wanted) <= MOST_THREADS:
        raise InputError(f"SENUMPY_NUM_THREADS: got {wanted!r}, wanted a number from 1 to {MOST_THREADS}")
    return int(wanted)
