"""The candidate's side where it is an ONNX file: all tensors of its graph, and which nodes hold weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from senumpy.errors import InputError

Array = NDArray[Any]
_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}


@dataclass
class WeightNode:
    """A node, or two, with weights.

    Attributes
    ----------
    name : str
    kind : {"conv", "linear", "norm"}
    source, result : str
        Tensors that it takes and gives.
    arrays : dict
        "weight", "bias" and, of batch norm, "running_mean", "running_var".
    names : dict
        The initializers' names of these.
    """

    name: str
    kind: str
    source: str
    result: str
    arrays: dict[str, Array]
    names: dict[str, str] = field(default_factory=dict)


@dataclass
class OnnxTrace:
    """An ONNX file that ran.

    Attributes
    ----------
    nodes : list
        All nodes of the graph, in order.
    weights : list of WeightNode
    tensors : dict
        Every tensor's value by name.
    logits : array
    dtype : str
    """

    nodes: list[Any]
    weights: list[WeightNode]
    tensors: dict[str, Array]
    logits: Array
    dtype: str


def libraries() -> tuple[Any, Any]:
    """Return onnx and onnxruntime.

    Raises
    ------
    InputError
        One is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as problem:
        raise InputError("ONNX files need both: pip install onnx onnxruntime") from problem
    return onnx, onnxruntime


class OnnxFile:
    """An ONNX file whose every tensor is an output.

    Raises
    ------
    InputError
        It can't be read or run, or has not one input of images.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        onnx, runtime = libraries()
        if not self.path.is_file():
            raise InputError(f"{path}: no such file")
        try:
            self.model = onnx.load(str(path))
        except Exception as problem:
            raise InputError(f"{path}: no ONNX file ({_said(problem)})") from problem
        graph = self.model.graph
        self.constants = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
        for node in graph.node:
            if node.op_type == "Constant":
                tensor = next((a.t for a in node.attribute if a.name == "value"), None)
                if tensor is not None:
                    self.constants[node.output[0]] = onnx.numpy_helper.to_array(tensor)
            elif node.op_type == "Identity" and node.input[0] in self.constants:
                # Equal weights are kept once.
                self.constants[node.output[0]] = self.constants[node.input[0]]
        self.results = [o.name for o in graph.output]
        known = set(self.results)
        for node in graph.node:
            for name in node.output:
                if name and name not in known and node.op_type != "Constant":
                    graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
                    known.add(name)
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        options.intra_op_num_threads = 2
        try:
            self.session = runtime.InferenceSession(
                self.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as problem:
            raise InputError(f"{path}: ONNX Runtime refuses it ({_said(problem)})") from problem
        inputs = [i for i in self.session.get_inputs() if i.name not in self.constants]
        if len(inputs) != 1 or inputs[0].type not in _DTYPES or len(inputs[0].shape) != 4:
            found = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
            raise InputError(f"{path}: has inputs {found}, wanted one of float images (N, C, H, W)")
        self.input, self.dtype = inputs[0], _DTYPES[inputs[0].type]

    def image_shape(self, batch: int, size: int) -> tuple[int, int, int, int]:
        """Return the shape of images to run it on: what it fixes, else what is asked for."""
        wanted = (batch, 3, size, size)
        fixed = [s if isinstance(s, int) else w for s, w in zip(self.input.shape, wanted, strict=True)]
        return fixed[0], fixed[1], fixed[2], fixed[3]

    def run(self, x: Array) -> OnnxTrace:
        """Run it and return every tensor."""
        names = [o.name for o in self.session.get_outputs()]
        try:
            values = self.session.run(names, {self.input.name: x.astype(self.dtype)})
        except Exception as problem:
            raise InputError(f"{self.path}: running it failed ({_said(problem)})") from problem
        tensors = dict(zip(names, values, strict=True)) | {self.input.name: x.astype(self.dtype)}
        logits = tensors[self.results[0]]
        if logits.ndim != 2 or len(logits) != len(x):
            raise InputError(f"{self.path}: its result has shape {logits.shape}, wanted ({len(x)}, classes)")
        nodes = list(self.model.graph.node)
        return OnnxTrace(nodes, self._weights(nodes), tensors, logits, self.dtype)

    def _weights(self, nodes: list[Any]) -> list[WeightNode]:
        found = []
        after: dict[str, list[Any]] = {}
        for node in nodes:
            for name in node.input:
                after.setdefault(name, []).append(node)
        for k, node in enumerate(nodes):
            label = node.name or f"{node.op_type} {k}"
            held = {i: self.constants[n] for i, n in enumerate(node.input) if n in self.constants}
            if node.op_type == "Conv" and 1 in held:
                found.append(self._holder(label, "conv", node, node.output[0], {"weight": 1, "bias": 2}))
            elif node.op_type == "Gemm" and 1 in held:
                made = self._holder(label, "linear", node, node.output[0], {"weight": 1, "bias": 2})
                if not any(a.name == "transB" and a.i for a in node.attribute):
                    made.arrays["weight"] = made.arrays["weight"].T
                found.append(made)
            elif node.op_type == "MatMul" and 1 in held:
                made = self._holder(label, "linear", node, node.output[0], {"weight": 1})
                made.arrays["weight"] = made.arrays["weight"].T
                for other in after.get(node.output[0], []):
                    bias = next((n for n in other.input if n in self.constants), None)
                    if other.op_type == "Add" and bias:
                        made.arrays["bias"], made.names["bias"] = self.constants[bias], bias
                        made.result = other.output[0]
                found.append(made)
            elif node.op_type == "BatchNormalization" and {1, 2, 3, 4} <= set(held):
                places = {"weight": 1, "bias": 2, "running_mean": 3, "running_var": 4}
                found.append(self._holder(label, "norm", node, node.output[0], places))
        return found

    def _holder(self, label: str, kind: str, node: Any, result: str, places: dict[str, int]) -> WeightNode:
        names = {
            role: node.input[i]
            for role, i in places.items()
            if i < len(node.input) and node.input[i] in self.constants
        }
        arrays = {role: self.constants[name] for role, name in names.items()}
        return WeightNode(label, kind, node.input[0], result, arrays, names)


def _said(problem: Exception) -> str:
    return f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
