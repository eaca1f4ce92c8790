"""The examples in docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import pkgutil

import pytest

import senumpy

# Keras asks for TensorFlow unless it is told another backend.
for _backend in ("torch", "jax", "tensorflow"):
    if importlib.util.find_spec(_backend) is not None:
        os.environ.setdefault("KERAS_BACKEND", _backend)

# What is imported only where a package is installed that isn't needed otherwise: peers of the bench, CuPy,
# frameworks of candidates.
PEERS = {
    "senumpy.engines.cupy": "cupy",
    "senumpy.bench.gpu.peer": "torch",
    "senumpy.bench.torch_peer": "torch",
    "senumpy.bench.torch_blocks": "torch",
    "senumpy.bench.torch_inception": "torch",
    "senumpy.bench.torch_networks": "torch",
    "senumpy.bench.onnx_peer": "onnx",
    "senumpy.crosscheck.adapters.torch_functions": "torch",
    "senumpy.crosscheck.adapters.torch_modules": "torch",
    "senumpy.crosscheck.adapters.torch_tensors": "torch",
    "senumpy.crosscheck.adapters.jax_functions": "jax",
    "senumpy.crosscheck.adapters.keras_backends": "keras",
    "senumpy.crosscheck.adapters.keras_layers": "keras",
    "senumpy.crosscheck.adapters.keras_shapes": "keras",
    "senumpy.crosscheck.adapters.tensorflow_functions": "tensorflow",
}


def missing(module):
    """Return whether a module needs a package that is not here."""
    return any(
        (module + ".").startswith(name + ".") and importlib.util.find_spec(package) is None
        for name, package in PEERS.items()
    )


MODULES = [
    info.name
    for info in pkgutil.walk_packages(senumpy.__path__, "senumpy.", onerror=lambda name: None)
    if info.name != "senumpy.__main__" and not missing(info.name)
]


def examples(name):
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


@pytest.mark.parametrize("name", [name for name in MODULES if examples(name)])
def test_doctests(name):
    for test in examples(name):
        result = doctest.DocTestRunner().run(test)
        assert result.failed == 0
        assert result.attempted > 0


def test_every_module_imports():
    assert "senumpy.ops.conv2d" in MODULES
    for name in MODULES:
        importlib.import_module(name)
