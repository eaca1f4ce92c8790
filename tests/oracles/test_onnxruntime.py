"""ONNX Runtime computes our logits from the graphs that the bench gives to it."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from senumpy import create_model
from senumpy.bench.onnx_peer import to_onnx


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("se_resnet8_cifar", {}, 32),
        ("se_resnet18", {"pool": "padded"}, 33),
        ("se_resnet50", {"stride_in": "3x3"}, 64),
        ("resnet50", {}, 64),
    ],
)
def test_logits(rng, name, options, size, engine):
    model = create_model(name, num_classes=11, engine=engine, **options)
    for _, buffer in model.named_buffers():
        buffer.value[...] = rng.uniform(0.5, 1.5, buffer.value.shape)
    x = rng.normal(size=(2, 3, size, size)).astype(np.float32)
    graph = to_onnx(model, x.shape).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (want,) = session.run(None, {"x": x})
    with model.inference():
        got = model.forward(x)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-4 * np.abs(want).max())
