"""The limit on BLAS threads holds inside and ends outside."""

from __future__ import annotations

import threadpoolctl

from senumpy.training.threads import limited_threads


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def test_the_limit_holds_inside_and_ends_outside():
    before = blas_threads()
    with limited_threads(1):
        assert set(blas_threads()) == {1}
    with limited_threads(None):
        assert blas_threads() == before
    assert blas_threads() == before
