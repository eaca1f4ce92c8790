"""How many threads NumPy's matrix products use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from senumpy.errors import InputError


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
