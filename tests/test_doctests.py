"""The examples in docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import pkgutil

import pytest

import senumpy

# What `senumpy bench` imports in a process of its own, if the peer is installed.
PEERS = {
    "senumpy.bench.torch_peer": "torch",
    "senumpy.bench.torch_blocks": "torch",
    "senumpy.bench.torch_inception": "torch",
    "senumpy.bench.torch_networks": "torch",
    "senumpy.bench.onnx_peer": "onnx",
}
MODULES = [
    info.name
    for info in pkgutil.walk_packages(senumpy.__path__, "senumpy.")
    if info.name != "senumpy.__main__"
    and (info.name not in PEERS or importlib.util.find_spec(PEERS[info.name]))
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
