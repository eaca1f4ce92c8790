"""Every operation as an ONNX graph of one or a few nodes, run by ONNX Runtime: forward only."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import helper

from senumpy.crosscheck.exchange import all_options
from senumpy.verify.calls import OpCall, Results

OPSET, IR = 17, 9


def both(value):
    return [value, value] if isinstance(value, int) else list(value)


class Graph:
    """A graph in the making; arrays are inputs, so that nothing is computed before it runs."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.feeds: dict[str, np.ndarray] = {}
        self.nodes: list[Any] = []

    def feed(self, array: Any) -> str | None:
        if array is None:
            return None
        name = f"x{len(self.feeds)}"
        self.feeds[name] = np.array(array, order="C")
        return name

    def ints(self, *values: int) -> str:
        return self.feed(np.array(values, np.int64))

    def number(self, value: Any) -> str:
        return self.feed(np.asarray(value, self.dtype))

    def add(self, kind: str, *inputs: str | None, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"t{len(self.nodes)}_{k}" for k in range(outputs)]
        given = [name or "" for name in inputs]
        while given and not given[-1]:
            given.pop()
        self.nodes.append(helper.make_node(kind, given, names, **attributes))
        return names[0] if outputs == 1 else names

    def run(self, results: list[str]) -> list[np.ndarray]:
        def info(name: str, array: Any) -> Any:
            return helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
            )

        kind = helper.np_dtype_to_tensor_dtype(self.dtype)
        graph = helper.make_graph(
            self.nodes,
            "peer",
            [info(name, array) for name, array in self.feeds.items()],
            [helper.make_tensor_value_info(name, kind, None) for name in results],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return session.run(results, self.feeds)


def conv2d(g, x, w, b=None, *, stride, padding, dilation, groups):
    return g.add(
        "Conv", x, w, b, strides=both(stride), pads=both(padding) * 2, dilations=both(dilation), group=groups
    )


def linear(g, x, w, b=None):
    return g.add("Gemm", x, w, b, transB=1)


def inference_norm(g, *args, eps):
    return g.add("BatchNormalization", *args, epsilon=eps)


def training_norm(g, x, gamma, beta, *, eps):
    """Return batch norm written out: ONNX Runtime has it in training only in builds for training."""
    mean = g.add("ReduceMean", x, axes=[0, 2, 3])
    centred = g.add("Sub", x, mean)
    var = g.add("ReduceMean", g.add("Mul", centred, centred), axes=[0, 2, 3])
    std = g.add("Sqrt", g.add("Add", var, g.number(eps)))
    gamma, beta = (g.add("Reshape", v, g.ints(1, -1, 1, 1)) for v in (gamma, beta))
    return g.add("Add", g.add("Mul", g.add("Div", centred, std), gamma), beta)


def pool(kind):
    def build(g, x, *, kernel, stride, padding, ceil_mode, **attributes):
        attributes = {name: int(value) for name, value in attributes.items()}
        return g.add(
            kind, x, kernel_shape=both(kernel), strides=both(stride), pads=both(padding) * 2,
            ceil_mode=int(ceil_mode), **attributes,
        )  # fmt: skip

    return build


def squeeze(g, x, *, operator):
    return g.add("Flatten", g.add({"avg": "GlobalAveragePool", "max": "GlobalMaxPool"}[operator], x))


def excitation(g, z, w1, b1, w2, b2, *, gate):
    return g.add(gate.capitalize(), linear(g, g.add("Relu", linear(g, z, w1, b1)), w2, b2))


def scale(g, u, s):
    return g.add("Mul", u, g.add("Unsqueeze", s, g.ints(2, 3)))


def squeeze_excite(g, u, w1, b1, w2, b2, *, squeeze, gate):
    return scale(g, u, excitation(g, describe(g, u, squeeze), w1, b1, w2, b2, gate=gate))


def describe(g, u, operator):
    return squeeze(g, u, operator=operator)


def pad_shortcut(g, x, *, channels, stride):
    steps, own = both(stride), g.feeds[x].shape[1]
    before = (channels - own) // 2
    ends = g.feeds[x].shape[2:]
    cut = g.add("Slice", x, g.ints(0, 0), g.ints(*ends), g.ints(2, 3), g.ints(*steps))
    return g.add("Pad", cut, g.ints(0, before, 0, 0, 0, channels - own - before, 0, 0))


def channel_shuffle(g, x, *, groups):
    n, c, h, w = g.feeds[x].shape
    table = g.add("Reshape", x, g.ints(n, groups, c // groups, h, w))
    return g.add("Reshape", g.add("Transpose", table, perm=[0, 2, 1, 3, 4]), g.ints(n, c, h, w))


def dropout(g, x, *, p, rng):
    """Return a dropout whose mask is given: ONNX Runtime's draws its own."""
    kept = g.feed(rng.random(g.feeds[x].shape) >= p)
    return g.add("Where", kept, g.add("Div", x, g.number(1.0 - p)), g.number(0.0))


def shake(g, a, b, *, alpha, beta):
    parts = g.number(np.asarray(alpha).reshape(-1, 1, 1, 1))
    rest = g.add("Sub", g.number(1.0), parts)
    return g.add("Add", g.add("Mul", parts, a), g.add("Mul", rest, b))


def softmax_cross_entropy(g, logits, labels, *, label_smoothing):
    n, classes = g.feeds[logits].shape
    g.feeds[labels] = g.feeds[labels].astype(np.int64)
    if label_smoothing == 0:
        return g.add("SoftmaxCrossEntropyLoss", logits, labels)
    targets = np.eye(classes)[g.feeds.pop(labels)] * (1 - label_smoothing) + label_smoothing / classes
    terms = g.add("Mul", g.add("LogSoftmax", logits), g.feed(targets.astype(g.dtype)))
    return g.add("Div", g.add("ReduceSum", terms, keepdims=0), g.number(-float(n)))


def relu(g, x):
    return g.add("Relu", x)


def conv_bn_relu(g, x, w, *norm, eps, **geometry):
    normalise = training_norm if len(norm) == 2 else inference_norm
    return relu(g, normalise(g, conv2d(g, x, w, **geometry), *norm, eps=eps))


def tail(statistics):
    def build(g, c, *rest, eps, squeeze, gate):
        norm, (*se, shortcut) = rest[: 2 + statistics], rest[2 + statistics :]
        v = (inference_norm if statistics else training_norm)(g, c, *norm, eps=eps)
        if se[0] is not None:
            v = squeeze_excite(g, v, *se, squeeze=squeeze, gate=gate)
        return relu(g, g.add("Add", v, shortcut))

    return build


def bn_relu_se(g, c, gamma, beta, *se, eps, **options):
    return squeeze_excite(g, relu(g, training_norm(g, c, gamma, beta, eps=eps)), *se, **options)


def concat(g, xs, *, axis=1):
    return g.add("Concat", *xs, axis=axis)


def activation(kind):
    return lambda g, x: g.add(kind, x)


GRAPHS = {
    "conv2d": conv2d,
    "linear": linear,
    "batchnorm2d": training_norm,
    "batchnorm2d_inference": inference_norm,
    "relu": relu,
    "sigmoid": activation("Sigmoid"),
    "tanh": activation("Tanh"),
    "max_pool2d": pool("MaxPool"),
    "avg_pool2d": pool("AveragePool"),
    "global_avg_pool": lambda g, x: describe(g, x, "avg"),
    "global_max_pool": lambda g, x: describe(g, x, "max"),
    "squeeze": squeeze,
    "excitation": excitation,
    "scale": scale,
    "squeeze_excite": squeeze_excite,
    "residual_add": lambda g, a, b: g.add("Add", a, b),
    "pad_shortcut": pad_shortcut,
    "concat": concat,
    "channel_shuffle": channel_shuffle,
    "dropout": dropout,
    "shake": shake,
    "softmax_cross_entropy": softmax_cross_entropy,
    "conv_bn_relu": conv_bn_relu,
    "conv_bn_relu_inference": conv_bn_relu,
    "residual_tail": tail(0),
    "residual_tail_inference": tail(2),
    "bn_relu_se": bn_relu_se,
    "concat_se": lambda g, xs, *se, **options: squeeze_excite(g, concat(g, xs), *se, **options),
    "se_add": lambda g, u, *rest, **o: g.add("Add", squeeze_excite(g, u, *rest[:-1], **o), rest[-1]),
}


def graph_of(call: OpCall, dtype: Any) -> tuple[Graph, str]:
    """Return the graph of a call, with its arrays, and the name of its result."""
    graph = Graph(dtype)

    def feed(value):
        return [graph.feed(part) for part in value] if isinstance(value, tuple) else graph.feed(value)

    return graph, GRAPHS[call.op](graph, *(feed(v) for v in call.arguments(dtype)), **all_options(call))


def kernels_of(call: OpCall) -> set[str]:
    """Return the names of the operators in a call's graph."""
    return {node.op_type for node in graph_of(call, np.float32)[0].nodes}


def runtime_results(call: OpCall, dtype: Any) -> Results | None:
    """Return ONNX Runtime's ``y``; None where it has no kernel for the dtype."""
    graph, result = graph_of(call, dtype)
    try:
        (y,) = graph.run([result])
    except Exception as error:
        if "NOT_IMPLEMENTED" in str(error):
            return None
        raise
    return {"y": y}
