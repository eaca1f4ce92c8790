"""All kernels have a twin in NumPy, and each twin was put beside its kernel by one of the tests."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from tests.cuda.emulator import kernel_names
from tests.cuda.sources import FILES, FOLDER
from tests.cuda.twins import convolutions, others, passes
from tests.cuda.twins.compare import TWINS

TESTS = Path(__file__).parent.glob("test_kernels_*.py")


@pytest.fixture
def signatures(engine):
    return importlib.import_module("senumpy.engines.cupy.sources").signatures


@pytest.fixture
def names(signatures):
    return {name for file in FILES for name in signatures(file)}


def test_every_kernel_has_a_twin(names):
    assert {*TWINS} == names
    assert {function.__module__ for function in TWINS.values()} == {
        module.__name__ for module in (convolutions, others, passes)
    }


def test_every_kernel_is_tested(names):
    launched = set(re.findall(r'"(\w+)"', "".join(path.read_text() for path in TESTS)))
    assert names - launched == set()


def test_signatures_find_every_kernel(signatures):
    texts = {path.stem: path.read_text() for path in (FOLDER / "kernels").glob("*.cu")}
    assert set(texts) == {*FILES, "prelude"}
    for file in FILES:
        assert len(signatures(file)) == texts[file].count("__global__") == len(kernel_names(texts[file]))
