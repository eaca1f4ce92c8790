"""The engine `cupy` on a machine without a GPU: on a stand-in for CuPy, its kernels emulated."""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Iterator

import pytest

import senumpy
from senumpy.engines.base import Engine
from tests.cuda import stand_in
from tests.cuda.emulator import compiler


def _forget() -> None:
    for name in [name for name in sys.modules if name == "cupy" or name.startswith("senumpy.engines.cupy")]:
        del sys.modules[name]


@pytest.fixture(scope="package")
def cupy() -> Iterator[object]:
    """The stand-in, as the module `cupy`."""
    if compiler() is None:
        pytest.skip("CUDA kernels are emulated in C++, and there is no compiler: install g++, or ziglang")
    before = sys.modules.get("cupy")
    _forget()
    module = stand_in.build()
    module.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    sys.modules["cupy"] = module
    yield module
    _forget()
    if before is not None:
        sys.modules["cupy"] = before


@pytest.fixture(scope="package")
def engine(cupy):
    """The engine with its kernels."""
    return senumpy.engine("cupy")


@pytest.fixture(scope="package")
def ops_on_device(cupy):
    """The operations as they stand, on the device's arrays."""

    class OpsOnDevice(Engine):
        asarray = staticmethod(cupy.asarray)
        to_numpy = staticmethod(cupy.asnumpy)

        @staticmethod
        def softmax_cross_entropy_forward(logits, labels, **options):  # labels are no floats: moved here
            return Engine.softmax_cross_entropy_forward(logits, cupy.asarray(labels), **options)

    return OpsOnDevice()


@pytest.fixture(scope="session")
def naive():
    return senumpy.engine("naive")
