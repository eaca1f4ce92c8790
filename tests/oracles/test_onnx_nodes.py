"""Nodes that ONNX's own cases don't have, or hardly: ONNX Runtime's outputs of them, judged by ours."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy.crosscheck.onnx_nodes import LeftOut, Node, map_node, node_of
from senumpy.errors import InputError
from senumpy.verify.judgement import judge
from senumpy.verify.rounding import expect

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="not installed: pip install onnxruntime")

# Operator, shapes of its inputs, attributes, opset.
NODES = [
    ("Conv", [(2, 2, 5, 6), (3, 2, 3, 2), (3,)], {"pads": [0, 1, 2, 0], "strides": [2, 1]}, 17),
    ("Conv", [(1, 2, 5, 5), (2, 2, 2, 4)], {"auto_pad": "SAME_UPPER", "strides": [2, 3]}, 17),
    ("Conv", [(1, 2, 5, 5), (2, 2, 2, 4)], {"auto_pad": "SAME_LOWER", "strides": [2, 1]}, 17),
    ("Conv", [(1, 2, 5, 5), (2, 2, 2, 4)], {"auto_pad": "VALID", "dilations": [3, 1]}, 17),
    ("Conv", [(2, 4, 7), (6, 2, 3), (6,)], {"pads": [1, 2], "group": 2, "dilations": [2]}, 17),
    ("Conv", [(2, 3, 9), (3, 1, 4)], {"pads": [2, 2], "group": 3, "strides": [2]}, 17),
    ("Conv", [(1, 4, 4, 5, 3), (4, 2, 2, 3, 2), (4,)], {"group": 2, "pads": [0, 1, 1, 1, 0, 1]}, 17),
    ("MaxPool", [(1, 2, 7, 6)], {"kernel_shape": [3, 2], "pads": [0, 1, 2, 0], "strides": [2, 2]}, 17),
    ("MaxPool", [(2, 2, 9)], {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "ceil_mode": 1}, 17),
    ("MaxPool", [(1, 2, 4, 5, 6)], {"kernel_shape": [2, 3, 2], "dilations": [1, 2, 1]}, 17),
    ("AveragePool", [(1, 2, 7, 6)], {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0], "strides": [2, 2]}, 17),
    (
        "AveragePool",
        [(1, 2, 7, 6)],
        {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0], "strides": [2, 2], "count_include_pad": 1},
        17,
    ),
    ("GlobalAveragePool", [(2, 3, 5)], {}, 17),
    ("GlobalMaxPool", [(2, 3, 2, 4, 3)], {}, 17),
    ("BatchNormalization", [(3, 2), (2,), (2,), (2,), (2,)], {"epsilon": 0.25}, 17),
    ("BatchNormalization", [(3, 2, 2, 2, 3), (2,), (2,), (2,), (2,)], {}, 9),
    ("Gemm", [(3, 4), (2, 4), (3, 1)], {"transB": 1}, 17),
    ("Gemm", [(3, 4), (2, 4), (2,)], {"transB": 1, "alpha": 2.5}, 17),
    ("MatMul", [(2, 3, 4), (4, 5)], {}, 17),
    ("Mul", [(2, 3, 4, 5), (2, 3, 1, 1)], {}, 17),
    ("Mul", [(2, 3, 1, 1), (2, 3, 4, 5)], {}, 17),
    ("Mul", [(2, 3, 4, 5), (3, 1, 5)], {}, 17),
    ("Add", [(2, 3), (3,)], {}, 17),
    ("Softmax", [(2, 3, 4)], {}, 11),
    ("Softmax", [(2, 3, 4)], {"axis": 2}, 11),
    ("LogSoftmax", [(2, 3, 4)], {"axis": 1}, 11),
    ("ReduceMean", [(2, 3, 4, 5)], {"axes": [2, 3]}, 17),
    ("ReduceMax", [(2, 3, 4, 5)], {"axes": [-1, 1], "keepdims": 0}, 17),
    ("Dropout", [(3, 4)], {}, 17),
    ("Sigmoid", [()], {}, 17),
]


def outputs_of(operator, arrays, attributes, opset):
    """Return ONNX Runtime's output of one node, and the node."""
    names = [f"x{k}" for k in range(len(arrays))]
    proto = onnx.helper.make_node(operator, names, ["y"], **attributes)
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [proto],
        "one",
        [onnx.helper.make_tensor_value_info(n, kind, a.shape) for n, a in zip(names, arrays, strict=True)],
        [onnx.helper.make_tensor_value_info("y", kind, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = dict(zip(names, arrays, strict=True))
    return session.run(None, feeds), node_of(proto, feeds, opset)


@pytest.mark.parametrize(("operator", "shapes", "attributes", "opset"), NODES)
def test_onnx_runtime_is_accurate(operator, shapes, attributes, opset, rng):
    arrays = [np.asarray(rng.normal(size=shape), np.float32) for shape in shapes]
    if operator == "BatchNormalization":
        arrays[4] = np.abs(arrays[4])  # a variance
    outputs, node = outputs_of(operator, arrays, attributes, opset)
    for mapped in map_node(node):
        expectation = expect(mapped.call, "float32")
        for judgement in judge(expectation, mapped.name(outputs)):
            assert judgement.level in ("exact", "accurate"), judgement
        outputs[0] = np.flip(outputs[0])  # the judgement sees which number stands where
        if outputs[0].size > 1:
            assert {j.level for j in judge(expectation, mapped.name(outputs))} == {"wrong"}


def test_dropout_in_training_keeps_what_its_mask_says(rng):
    x = rng.normal(size=(20, 3)).astype("float32")
    kept = rng.random((20, 3)) >= 0.5
    node = Node("Dropout", (x, None, np.array(True)), opset=17, outputs=2, kept=kept)
    (mapped,) = map_node(node)
    given = mapped.name([np.where(kept, 2 * x, 0.0).astype("float32")])
    (judgement,) = judge(expect(mapped.call, "float32"), given)
    assert judgement.level == "exact"


X = np.ones((1, 2, 4, 4), "float32")


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (Node("Erf", (X,)), "Erf: none of our operations"),
        (Node("Relu", (X.astype("float16"),)), "float16: our operations compute in float32 and float64"),
        (Node("Identity", (X,)), "Identity: none of our operations"),
        (Node("Concat", ([X, X],)), "a sequence or an optional: our operations take arrays"),
        (Node("MatMul", (X, X)), "a batch of matrices as second factor"),
        (Node("Dropout", (X, None, np.array(True))), "it drops by a random generator of its own"),
        (Node("BatchNormalization", (X, *[X[0, :, 0, 0]] * 4), opset=7), "opset 7: "),
        (Node("ReduceMean", (X,), {"noop_with_empty_axes": 1}), "no axes: it does nothing"),
    ],
)
def test_reasons(node, reason):
    with pytest.raises(LeftOut) as found:
        map_node(node)
    assert str(found.value).startswith(reason)


def test_an_input_without_an_array_is_named():
    proto = onnx.helper.make_node("Add", ["x", "z"], ["y"], name="sum")
    with pytest.raises(InputError, match="node sum: no array for its input 'z'"):
        node_of(proto, {"x": X}, 17)
