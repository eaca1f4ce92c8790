"""How many threads a run uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from senumpy.engines import Engine, engine
from senumpy.errors import InputError


def engine_with_threads(name: str, threads: int | None) -> Engine:
    """Return an engine that uses `threads` threads, or as many as it likes for None.

    `numba` has threads of its own; those of the other engines are BLAS's, see `limited_threads`.
    """
    if name == "numba" and threads is not None:
        return engine(name, threads=threads)
    return engine(name)


@contextmanager
def limited_threads(threads: int | None) -> Iterator[None]:
    """Let BLAS use at most `threads` threads; None leaves that to BLAS (as a rule, one for each core).

    Threads of OpenBLAS wait for each other by spinning. On small matrices several gain little (a sixth, for a
    SE-ResNet-8 on two idle cores), and where another process wants the cores, they lose everything: 16 images
    a second instead of 280. The number also changes the order of sums, hence the last bits of a result.
    """
    if threads is None:
        yield
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        raise InputError('a limit on threads needs threadpoolctl: pip install "senumpy[train]"') from None
    with threadpool_limits(limits=threads, user_api="blas"):
        yield
