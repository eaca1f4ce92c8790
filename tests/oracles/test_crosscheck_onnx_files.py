"""ONNX files as candidates: what ONNX Runtime gives for their graphs, through the adapter, is right."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy.crosscheck.candidates import candidate
from senumpy.errors import InputError
from senumpy.verify.calls import results
from tests.oracles.test_crosscheck_adapters import ROUGH, drawn


@pytest.fixture
def onnx_file(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install onnxruntime")
    helper, draw = onnx.helper, np.random.default_rng(8)

    def make(nodes, inputs, weights, kind=1):
        infos = [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs]
        dtype = np.float32 if kind == 1 else np.float64
        tensors = [
            onnx.numpy_helper.from_array(draw.normal(size=shape).astype(dtype), name)
            for name, shape in weights.items()
        ]
        made = [helper.make_node(kind_, *rest, **options) for kind_, *rest, options in nodes]
        graph = helper.make_graph(made, "g", infos, [helper.make_tensor_value_info("y", kind, None)], tensors)
        path = tmp_path / "model.onnx"
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path.write_bytes(model.SerializeToString())
        return str(path)

    return make


def forward_agrees(path, call, dtype=np.float32):
    them = candidate(call.op, path)
    assert them.framework == "onnx"
    assert them.accepts(call) == ""
    assert them.restrict().dtypes == (np.dtype(dtype).name,)
    answer = them.run(call, dtype)
    assert answer.conduct == []
    want = results(call, np.float64)["y"]
    np.testing.assert_allclose(answer.results["y"], want, rtol=0, atol=ROUGH[dtype] * (1 + abs(want).max()))
    return them


def test_a_convolution_in_a_file(onnx_file):
    geometry = {"strides": [2, 3], "pads": [1, 2, 1, 2], "dilations": [2, 1], "group": 2}
    for kind, dtype in ((1, np.float32), (11, np.float64)):
        path = onnx_file(
            [("Conv", ["data", "K", "B"], ["y"], geometry)],
            [("data", ["n", 4, "h", "w"])],
            {"K": (6, 2, 2, 3), "B": (6,)},
            kind,
        )
        options = {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2}
        if kind == 11:
            continue  # ONNX Runtime has no Conv of doubles on processors
        them = forward_agrees(path, drawn("conv2d", (2, 4, 7, 6), (6, 2, 2, 3), (6,), **options), dtype)
        assert them.restrict().shapes["w"] == (6, 2, 2, 3)
        assert "its groups is 2, and 1 here" in them.accepts(
            drawn("conv2d", (2, 4, 7, 6), (6, 2, 2, 3), (6,), **{**options, "groups": 1})
        )


def test_linear_layers_in_files(onnx_file):
    call = drawn("linear", (2, 4), (3, 4), (3,))
    x = [("x0", ["n", 4])]
    forward_agrees(
        onnx_file([("Gemm", ["x0", "W", "B"], ["y"], {"transB": 1})], x, {"W": (3, 4), "B": (3,)}), call
    )
    nodes = [("MatMul", ["x0", "W"], ["m"], {}), ("Add", ["m", "B"], ["y"], {})]
    forward_agrees(onnx_file(nodes, x, {"W": (4, 3), "B": (3,)}), call)
    forward_agrees(onnx_file(nodes, x, {"W": (4, 3), "B": (3,)}, 11), call, np.float64)
    named = [("x", ["n", 4]), ("w", ["o", 4]), ("b", ["o"])]
    forward_agrees(onnx_file([("Gemm", ["x", "w", "b"], ["y"], {"transB": 1})], named, {}), call)


def test_blocks_and_pools_in_files(onnx_file):
    image = [("u", ["n", 4, "h", "w"])]
    se = [
        ("GlobalAveragePool", ["u"], ["z"], {}),
        ("Conv", ["z", "p", "q"], ["h"], {}),
        ("Relu", ["h"], ["a"], {}),
        ("Conv", ["a", "r", "s"], ["l"], {}),
        ("Sigmoid", ["l"], ["g"], {}),
        ("Mul", ["u", "g"], ["y"], {}),
    ]
    weights = {"p": (2, 4, 1, 1), "q": (2,), "r": (4, 2, 1, 1), "s": (4,)}
    them = forward_agrees(
        onnx_file(se, image, weights), drawn("squeeze_excite", (2, 4, 3, 3), (2, 4), (2,), (4, 2), (4,))
    )
    assert them.restrict().options == {"squeeze": "avg", "gate": "sigmoid"}
    path = onnx_file([("MaxPool", ["u"], ["y"], {"kernel_shape": [3, 2], "strides": [2, 1]})], image, {})
    forward_agrees(path, drawn("max_pool2d", (2, 4, 7, 6), kernel=(3, 2), stride=(2, 1)))
    forward_agrees(
        onnx_file([("GlobalAveragePool", ["u"], ["y"], {})], image, {}),
        drawn("global_avg_pool", (2, 4, 3, 3)),
    )
    norm = onnx_file(
        [("BatchNormalization", ["u", *"sbmv"], ["y"], {"epsilon": 1e-3})], image, dict.fromkeys("sbmv", (4,))
    )
    call = drawn("batchnorm2d_inference", (2, 4, 3, 3), (4,), (4,), (4,), (4,), eps=1e-3)
    call.args[4][:] = abs(call.args[4]) + 0.5
    forward_agrees(norm, call)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"auto_pad": "SAME_UPPER"}, "auto_pad is SAME_UPPER"),
        ({"pads": [0, 0, 1, 1]}, "wanted the same on both sides"),
    ],
)
def test_files_with_geometry_that_is_not_ours(onnx_file, options, message):
    path = onnx_file([("Conv", ["x", "w"], ["y"], options)], [("x", [1, 1, 4, 4]), ("w", [1, 1, 3, 3])], {})
    with pytest.raises(InputError, match=message):
        candidate("conv2d", path)


def test_files_that_are_none(tmp_path, onnx_file):
    with pytest.raises(InputError, match="no such file"):
        candidate("conv2d", str(tmp_path / "none.onnx"))
    (tmp_path / "bad.onnx").write_bytes(b"no model at all")
    with pytest.raises(InputError, match=r"bad\.onnx"):
        candidate("conv2d", str(tmp_path / "bad.onnx"))
    path = onnx_file([("Add", ["p", "q"], ["y"], {})], [("p", [1]), ("q", [1])], {})
    with pytest.raises(InputError, match="its inputs are p, q; wanted x for relu"):
        candidate("relu", path)
