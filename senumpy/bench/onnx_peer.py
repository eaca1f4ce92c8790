"""The same networks as ONNX graphs, for ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from senumpy.bench.workloads import ModelWork, Work
from senumpy.models import ResNet, create_model

_OPSET = 17


def prepare(work: Work, threads: int) -> Callable[[], Any]:
    """Return a function that runs the network once."""
    if not isinstance(work, ModelWork) or work.train:
        raise TypeError("ONNX Runtime is measured in inference of networks")
    model = create_model(work.model, num_classes=work.classes, in_channels=work.channels)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    graph = to_onnx(model, (work.batch, work.channels, work.size, work.size)).SerializeToString()
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((work.batch, work.channels, work.size, work.size), dtype=np.float32)
    return lambda: session.run(None, {"x": x})


def to_onnx(model: ResNet, shape: tuple[int, int, int, int]) -> Any:
    """Return the network in inference as an ONNX model from `x` to `logits`."""
    graph = _Graph(model)
    config = model.config
    imagenet = config.stem == "imagenet"
    x = graph.conv_bn("x", "conv1", "bn1", relu=True)
    if imagenet:
        pads, ceil = ([0] * 4, 1) if config.pool == "ceil" else ([1] * 4, 0)
        x = graph.add("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=pads, ceil_mode=ceil)
    for k in range(1, len(config.blocks) + 1):
        for b, _ in enumerate(getattr(model, f"layer{k}")):
            x = graph.unit(x, f"layer{k}.{b}")
    x = graph.add("Flatten", [graph.add("GlobalAveragePool", [x])])
    graph.add("Gemm", [x, graph.weight("fc.weight"), graph.weight("fc.bias")], "logits", transB=1)
    made = helper.make_graph(
        graph.nodes,
        model.name,
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [shape[0], model.num_classes])],
        [numpy_helper.from_array(array, name) for name, array in graph.weights.items()],
    )
    result = helper.make_model(made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=9)
    onnx.checker.check_model(result)
    return result


class _Graph:
    """Nodes and weights as they come."""

    def __init__(self, model: ResNet):
        self.layers: dict[str, Any] = dict(model.named_layers())
        self.state = model.state_dict()
        self.nodes: list[Any] = []
        self.weights: dict[str, np.ndarray[Any, Any]] = {}

    def add(self, kind: str, inputs: list[str], name: str = "", **attributes: Any) -> str:
        """Add a node; return the name of its result."""
        name = name or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def weight(self, name: str, array: np.ndarray[Any, Any] | None = None) -> str:
        """Add a weight of the model, or an array of its own; return its name."""
        self.weights[name] = self.state[name] if array is None else array
        return name

    def conv_bn(self, x: str, conv: str, bn: str, *, relu: bool) -> str:
        """Add convolution, batch norm and ReLU."""
        settings = self.layers[conv].settings
        stride, padding = settings["stride"], settings["padding"]
        x = self.add(
            "Conv", [x, self.weight(f"{conv}.weight")], strides=[stride] * 2, pads=[padding] * 4,
            group=settings["groups"],
        )  # fmt: skip
        vectors = [self.weight(f"{bn}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
        x = self.add("BatchNormalization", [x, *vectors], epsilon=self.layers[bn].eps)
        return self.add("Relu", [x]) if relu else x

    def unit(self, x: str, name: str) -> str:
        """Add a residual unit."""
        depth = 3 if f"{name}.conv3" in self.layers else 2
        y = x
        for k in range(1, depth + 1):
            y = self.conv_bn(y, f"{name}.conv{k}", f"{name}.bn{k}", relu=k < depth)
        if f"{name}.se" in self.layers:
            y = self.squeeze_excite(y, f"{name}.se")
        if f"{name}.downsample" in self.layers:
            x = self.conv_bn(x, f"{name}.downsample.0", f"{name}.downsample.1", relu=False)
        return self.add("Relu", [self.add("Add", [y, x])])

    def squeeze_excite(self, u: str, name: str) -> str:
        """Add SE; its linear layers are 1x1 convolutions, so that no array changes its shape."""
        s = self.add("GlobalAveragePool", [u])
        for fc, activation in (("fc1", "Relu"), ("fc2", "Sigmoid")):
            w = self.state[f"{name}.{fc}.weight"]
            weights = [self.weight(f"{name}.{fc}.weight", w[:, :, None, None])]
            if f"{name}.{fc}.bias" in self.state:
                weights.append(self.weight(f"{name}.{fc}.bias"))
            s = self.add(activation, [self.add("Conv", [s, *weights])])
        return self.add("Mul", [u, s])
