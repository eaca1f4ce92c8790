"""The engines that the contract holds for."""

from __future__ import annotations

import pytest

import senumpy
from senumpy.engines import engine_names

ENGINES = ["numpy", "numba"]  # to test another engine, add its name


def _engine(name):
    if name not in engine_names():
        pytest.skip(f"engine {name!r} is not installed")
    return senumpy.engine(name)


@pytest.fixture(scope="session", params=ENGINES)
def engine(request):
    return _engine(request.param)


@pytest.fixture(scope="session", params=["naive", *ENGINES])
def any_engine(request):
    """An engine, the oracle included."""
    return _engine(request.param)


@pytest.fixture(scope="session")
def naive():
    return senumpy.engine("naive")


@pytest.fixture(scope="session")
def reference():
    return senumpy.engine("numpy")


@pytest.fixture(scope="session")
def numba():
    return _engine("numba")


@pytest.fixture(scope="session")
def exact():
    """The Numba engine without Winograd."""
    return senumpy.engine("numba", exact=True)
