"""Arrays pass between PyTorch and the engines for processors without a copy, and gradients agree in place."""

from __future__ import annotations

import numpy as np
import pytest

import senumpy

torch = pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.fixture(params=["numpy", "numba"])
def engine(request):
    return senumpy.engine(request.param)


def test_tensors_are_taken_without_a_copy(engine):
    tensor = torch.zeros(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    array = engine.asarray(tensor)
    array[0, 1, 2, 3] = 7.0
    assert tensor[0, 1, 2, 3] == 7.0
    assert array.strides == tuple(4 * step for step in tensor.stride())


def test_results_are_given_without_a_copy(engine):
    x, w = torch.randn(2, 8, 6, 6), torch.randn(4, 8, 3, 3)
    y, _ = engine.conv2d_forward(engine.asarray(x), engine.asarray(w), padding=1)
    tensor = torch.from_dlpack(y)
    assert tensor.data_ptr() == y.__array_interface__["data"][0]
    assert torch.allclose(tensor, torch.nn.functional.conv2d(x, w, padding=1), atol=1e-4)
    assert np.shares_memory(engine.asarray(tensor), y)
