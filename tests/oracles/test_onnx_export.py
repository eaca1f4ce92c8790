"""ONNX files: the checker takes them, and ONNX Runtime gives our outputs, for every family."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from senumpy import create_model
from senumpy.interop import save_onnx
from senumpy.layers import SEConfig

CASES = [
    ("se_resnet18", {"engine": "numba"}, 64),
    ("resnet50", {}, 64),
    ("se_resnet50", {"pool": "padded", "stride_in": "3x3"}, 65),
    ("se_resnet8_cifar", {"shortcut": "pad", "se": SEConfig(squeeze="max", gate="tanh", bias=False)}, 33),
    ("se_resnet8_cifar", {"se": SEConfig(squeeze="none", gate="relu", placement="post")}, 32),
    ("se_resnext50_32x4d", {"se": SEConfig(placement="identity")}, 64),
    ("senet154", {"blocks": (1, 1, 1, 1)}, 64),
    ("se_preact_resnet110_cifar", {"se": SEConfig(placement="3x3")}, 32),
    ("se_shake_shake26_2x96d_cifar", {"blocks": (1, 1, 1)}, 32),
    ("se_vgg16_bn", {"image_size": 64, "hidden": 64}, 64),
    ("mobilenet", {"activation": "relu6"}, 64),
    ("se_mobilenet", {}, 64),
    ("se_shufflenet", {}, 64),
    ("se_bn_inception", {}, 70),
    ("se_inception_resnet_v2", {"blocks": (1, 1, 2)}, 139),
]


@pytest.mark.parametrize(("name", "settings", "size"), CASES)
def test_onnx_runtime_agrees(name, settings, size, tmp_path, rng):
    model = create_model(name, num_classes=6, **settings)
    for holder_name, holder in [*model.named_parameters(), *model.named_buffers()]:
        if holder.value.ndim == 1:
            low = 0.5 if "var" in holder_name else -0.2
            holder.value += rng.uniform(low, low + 0.5, size=holder.value.shape).astype("float32")
    path = tmp_path / "model.onnx"
    save_onnx(path, model, (size, size))
    graph = onnx.load(path)
    onnx.checker.check_model(graph, full_check=True)
    names = {initializer.name for initializer in graph.graph.initializer}
    assert {n for n, _ in model.named_parameters()} <= names
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = rng.normal(size=(batch, 3, size, size)).astype("float32")
        with model.inference():
            ours = model.forward(x)
        theirs = session.run(None, {"x": x})[0]
        assert np.abs(ours - theirs).max() <= 1e-5 * max(1.0, np.abs(ours).max())
