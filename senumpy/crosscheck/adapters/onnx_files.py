"""An ONNX file as an operation, forward only, through ONNX Runtime on the processor."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import numpy as np

from senumpy.crosscheck.adapters.parameters import inputs_of, parameters_of
from senumpy.errors import InputError
from senumpy.verify.calls import OpCall
from senumpy.verify.cases import op_spec
from senumpy.verify.conduct import Record, Restriction

_DTYPES = {1: "float32", 11: "float64"}  # ONNX's numbers
_NODES = {
    "conv2d": ("Conv",),
    "conv_bn_relu": ("Conv", "BatchNormalization"),
    "conv_bn_relu_inference": ("Conv", "BatchNormalization"),
    "max_pool2d": ("MaxPool",),
    "avg_pool2d": ("AveragePool",),
    "concat": ("Concat",),
}
_NORMED = ("batchnorm", "residual_tail", "bn_relu")


class OnnxFile:
    """A graph whose inputs and initializers are the operation's arguments.

    Inputs are told by name (``x``, ``w``, ``labels``, ``xs[0]``), where all have one, else by order: first
    the graph's inputs, then its initializers of floating point in the order in which nodes use them.
    Initializers get the call's numbers in the place of the file's, so only their shapes are fixed. Weights of
    Gemm and MatMul that are kept transposed are turned. Options are read from the nodes.

    Parameters
    ----------
    op : str
    path : Path

    Raises
    ------
    InputError
        onnx or ONNX Runtime are not installed, there is no such file, it is not ONNX, or its inputs are not
        the operation's arguments.
    """

    framework = "onnx"

    def __init__(self, op: str, path: Path) -> None:
        try:
            import onnx
            import onnxruntime
        except ImportError:
            raise InputError("ONNX files need two packages: pip install onnx onnxruntime") from None
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        try:
            model = onnx.load(path)
        except Exception as error:  # protobuf's own
            raise InputError(f"{path}: not a whole ONNX model: {str(error).splitlines()[0]}") from None
        self._op, self._path, self._onnx = op, path, onnx
        used = {name for node in model.graph.node for name in node.input}
        first = {v.name: v for v in model.graph.input}
        self._shapes: dict[str, tuple[int | None, ...]] = {n: _shape(v) for n, v in first.items()}
        self._turned: set[str] = set()
        initializers = self._free_initializers(model, [n for node in model.graph.node for n in node.input])
        self._types = {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
        self._inputs = self._named([n for n in first if n not in initializers and n in used], initializers)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise InputError(f"{path}: ONNX Runtime can't run it: {str(error).splitlines()[0]}") from None
        self._restriction = self._read(model)

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is (the restriction says the rest)."""
        lists = [len(v) for v in call.args if isinstance(v, tuple | list)]
        mine = sum("[" in name for name in self._inputs.values())
        return f"it joins {mine} arrays" if lists and lists[0] != mine else ""

    def restrict(self) -> Restriction | None:
        """Return the shapes and options of the file."""
        return self._restriction

    def run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        """Run the graph: the first output is y."""
        named: dict[str, Any] = {}
        for name, value in zip(call.names, call.arguments(dtype), strict=True):
            parts = (
                {f"{name}[{i}]": a for i, a in enumerate(value)}
                if isinstance(value, tuple)
                else {name: value}
            )
            named |= parts
        feeds = {}
        for own, name in self._inputs.items():
            array = named[name]
            array = array.T if own in self._turned else array
            kind = self._onnx.helper.tensor_dtype_to_np_dtype(self._types[own])
            wanted = [size for size in self._shapes[own] if size is not None]
            if len(wanted) == len(self._shapes[own]) and array.size == math.prod(wanted):
                array = array.reshape(wanted)
            feeds[own] = np.ascontiguousarray(array, array.dtype if array.dtype.kind == "f" else kind)
        outputs = self._session.run(None, feeds)
        record.forward(outputs[0])
        if call.op == "batchnorm2d" and len(outputs) >= 3:
            record.take("running_mean", outputs[1])
            record.take("running_var", outputs[2])

    def _free_initializers(self, model: Any, order: list[str]) -> list[str]:
        """Turn initializers of floating point into inputs; return their names in the order of use."""
        graph, made = model.graph, []
        found = {t.name: t for t in graph.initializer if t.data_type in _DTYPES}
        known = {v.name for v in graph.input}
        for name in dict.fromkeys(order):
            if name not in found or (len(found[name].dims) == 0):
                continue
            tensor = found[name]
            made.append(name)
            self._shapes[name] = tuple(tensor.dims)
            graph.initializer.remove(tensor)
            if name not in known:
                info = self._onnx.helper.make_tensor_value_info(name, tensor.data_type, tensor.dims)
                graph.input.append(info)
        for node in graph.node:
            transposed = node.op_type == "MatMul" or (
                node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute)
            )
            if transposed and node.input[1] in made:
                self._turned.add(node.input[1])
        return made

    def _named(self, inputs: list[str], initializers: list[str]) -> dict[str, str]:
        """Return which argument each of the file's inputs is."""
        op, spec = self._op, op_spec(self._op)
        everything = [*inputs, *initializers]
        if all(name.partition("[")[0] in (*spec.arguments, *spec.others) for name in everything):
            return {name: name for name in everything}
        first, rest = list(inputs_of(op)), list(parameters_of(op))
        if "xs" in first:
            first = [f"xs[{i}]" for i in range(len(inputs) - (len(rest) if not initializers else 0))]
        wanted = [*first, *rest] if not initializers else first
        if len(inputs) > len(wanted) or len(inputs) < len(first):
            names = ", ".join(inputs) or "none"
            raise InputError(f"{self._path}: its inputs are {names}; wanted {', '.join(wanted)} for {op}")
        placed = dict(zip(inputs, wanted, strict=False))
        weights = [n for n in rest if n in ("w", "w1", "w2")]
        used = iter(initializers)
        if weights and "gamma" not in rest:
            return placed | self._weights(weights, initializers)
        return placed | dict(zip(used, self._norms_last(rest, len(initializers)), strict=False))

    def _weights(self, weights: list[str], initializers: list[str]) -> dict[str, str]:
        """Return weights in order, each followed by its bias if it has one."""
        placed: dict[str, str] = {}
        left = list(weights)
        last = ""
        for name in initializers:
            if len(self._shapes[name]) > 1:
                if not left:
                    raise InputError(f"{self._path}: its weight {name} is none of {', '.join(weights)}")
                last = placed[name] = left.pop(0)
            else:
                placed[name] = last.replace("w", "b")
        if left:
            raise InputError(f"{self._path}: no initializer for {left[0]}; it has {', '.join(initializers)}")
        return placed

    def _norms_last(self, rest: list[str], count: int) -> list[str]:
        if count and count < len(rest):
            raise InputError(
                f"{self._path}: it has {count} initializers; wanted {len(rest)}: {', '.join(rest)}"
            )
        return rest

    def _read(self, model: Any) -> Restriction:
        """Return what the file fixes."""
        shapes: dict[str, tuple[int | None, ...]] = {}
        for own, name in self._inputs.items():
            shape = self._shapes[own]
            if name in ("w1", "w2") or (name == "w" and self._op == "linear"):
                shape = shape[:2][::-1] if own in self._turned else shape[:2]
            if "[" not in name:
                shapes[name] = shape
        absent = tuple(n for n in parameters_of(self._op) if n not in self._inputs.values())
        kinds = {_DTYPES[t] for t in self._types.values() if t in _DTYPES}
        return Restriction(shapes, absent, (), self._options(model), tuple(sorted(kinds)))

    def _options(self, model: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        kinds = _NODES.get(self._op, ()) + (("BatchNormalization",) if self._op.startswith(_NORMED) else ())
        for node in model.graph.node:
            if node.op_type in kinds:
                attributes = {a.name: self._onnx.helper.get_attribute_value(a) for a in node.attribute}
                found |= self._translated(node.op_type, attributes)
        types = {node.op_type for node in model.graph.node}
        words = {
            "gate": next((word for word in ("tanh", "sigmoid") if word.capitalize() in types), "relu"),
            "squeeze": "max" if types & {"GlobalMaxPool", "ReduceMax"} else "avg",
        }
        words["operator"] = words["squeeze"]
        for p in inspect.signature(op_spec(self._op).forward).parameters.values():
            if p.kind is p.KEYWORD_ONLY and p.name not in found and p.default is not p.empty:
                found[p.name] = words.get(p.name, p.default)
        return found

    def _translated(self, kind: str, attributes: dict[str, Any]) -> dict[str, Any]:
        """Return a node's attributes in our words."""
        if kind == "BatchNormalization":
            return {"eps": float(str(np.float32(attributes.get("epsilon", 1e-5))))}
        if kind == "Concat":
            return {"axis": attributes["axis"]}
        mode = attributes.get("auto_pad", b"NOTSET").decode()
        if mode not in ("NOTSET", "VALID"):
            raise InputError(
                f"{self._path}: auto_pad is {mode}, wanted NOTSET: {self._op} pads both sides alike"
            )
        pads = attributes.get("pads", [0, 0, 0, 0])
        if pads[:2] != pads[2:]:
            raise InputError(f"{self._path}: pads are {pads}, wanted the same on both sides")
        found: dict[str, Any] = {
            "padding": tuple(pads[:2]),
            "stride": tuple(attributes.get("strides", (1, 1))),
        }
        if kind == "Conv":
            found["dilation"] = tuple(attributes.get("dilations", (1, 1)))
            return {**found, "groups": attributes.get("group", 1)}
        if any(d != 1 for d in attributes.get("dilations", ())):
            raise InputError(f"{self._path}: its pool is dilated, wanted dilations of 1")
        found |= {
            "kernel": tuple(attributes["kernel_shape"]),
            "ceil_mode": bool(attributes.get("ceil_mode", 0)),
        }
        if kind == "AveragePool":
            found["count_include_pad"] = bool(attributes.get("count_include_pad", 0))
        return found


def _shape(value: Any) -> tuple[int | None, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else None for d in dims)
