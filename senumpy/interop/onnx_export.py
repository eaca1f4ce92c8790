"""Networks as ONNX graphs: a model runs once on an engine that writes down what it is asked to do.

What is exported is what would be executed in inference, whatever the network. Weights keep their names; the
number of images is left open, height and width are those of the export.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from senumpy.engines.steps import StepEngine
from senumpy.errors import InputError
from senumpy.models import Network, create_model
from senumpy.ops.windows import IntOrPair, Window, output_size, pair
from senumpy.storage import write_atomic

OPSET = 17
IR_VERSION = 9
_BATCH = "N"


def to_onnx(model: Network, size: tuple[int, int], *, batch: int | None = None) -> Any:
    """Return the network in inference as a checked ONNX model from `x` (N, C, H, W) to `logits`.

    Parameters
    ----------
    model : Network
        float32 or float64; the graph has its dtype.
    size : (int, int)
        Height and width of the images.
    batch : int, optional
        Number of images; left open where not given.

    Raises
    ------
    InputError
        onnx is not installed.
    """
    onnx = _library()
    helper = onnx.helper
    engine = _Recorder(onnx)
    twin = create_model(
        model.name, config=model.config, num_classes=model.num_classes, in_channels=model.in_channels,
        engine=engine, dtype=model.dtype, seed=None,
    )  # fmt: skip
    twin.load_state_dict(model.state_dict())
    engine.name_weights(twin)
    shape = (1, model.in_channels, *size)
    with twin.inference():
        x: Any = Recorded(engine, "x", shape, model.dtype)  # as much of an array as a model needs
        result: Any = twin.forward(x)
        engine.rename(result, "logits")
    kind = helper.np_dtype_to_tensor_dtype(model.dtype)
    graph = helper.make_graph(
        engine.nodes,
        model.name,
        [helper.make_tensor_value_info("x", kind, (batch or _BATCH, *shape[1:]))],
        [helper.make_tensor_value_info("logits", kind, (batch or _BATCH, model.num_classes))],
        [onnx.numpy_helper.from_array(array, name) for name, array in engine.initializers.items()],
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="senumpy"
    )
    onnx.checker.check_model(made, full_check=True)
    return made


def save_onnx(path: Path, model: Network, size: tuple[int, int]) -> None:
    """Write the network to an ONNX file, atomically; arguments and errors as of `to_onnx`."""
    write_atomic(path, to_onnx(model, size).SerializeToString())


def _library() -> Any:
    try:
        import onnx
    except ImportError:
        raise InputError("ONNX files need onnx: pip install onnx") from None
    return onnx


class Recorded:
    """An array that is only known by its shape, and by its name in the graph."""

    def __init__(self, engine: _Recorder, name: str, shape: tuple[int, ...], dtype: Any):
        self.engine, self.name, self.shape, self.dtype = engine, name, tuple(shape), np.dtype(dtype)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def reshape(self, *shape: Any) -> Recorded:
        """Write a Reshape that keeps the batch axis open."""
        sizes = list(shape[0] if isinstance(shape[0], tuple) else shape)
        found = np.broadcast_to(np.float32(0), self.shape).reshape(sizes).shape
        target = self.engine.constant(np.array([0, *found[1:]], np.int64))
        return self.engine.add("Reshape", [self, target], found)

    def __mul__(self, factor: float) -> Recorded:
        return self.engine.add("Mul", [self, self.engine.number(factor, self)], self.shape)

    __rmul__ = __mul__

    def __rsub__(self, number: float) -> Recorded:
        return self.engine.add("Sub", [self.engine.number(number, self), self], self.shape)


class _Recorder(StepEngine):
    """Operations in inference become nodes."""

    name = "onnx"

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: dict[str, np.ndarray[Any, Any]] = {}
        self._names: dict[int, str] = {}

    def name_weights(self, model: Network) -> None:
        """Know the arrays of the model by their names."""
        for name, holder in [*model.named_parameters(), *model.named_buffers()]:
            self._names[id(holder.value)] = name

    def add(self, kind: str, inputs: Sequence[Any], shape: tuple[int, ...], **attributes: Any) -> Recorded:
        """Add a node with one result of this shape."""
        names = [self._input(x) for x in inputs if x is not None]
        result = f"t{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, names, [result], **attributes))
        dtype = next(x.dtype for x in inputs if isinstance(x, Recorded))
        return Recorded(self, result, shape, dtype)

    def rename(self, x: Recorded, name: str) -> None:
        """Give the last node's result its name."""
        self.nodes[-1].output[0] = name
        x.name = name

    def constant(self, array: np.ndarray[Any, Any], name: str = "") -> str:
        """Add an array of its own; return its name."""
        name = name or f"constant{len(self.initializers)}"
        self.initializers[name] = np.ascontiguousarray(array)
        return name

    def number(self, value: float, like: Recorded) -> str:
        """Add a number of the dtype of `like`; return its name."""
        return self.constant(np.array(value, like.dtype))

    def _input(self, x: Any) -> str:
        if isinstance(x, str):
            return x
        if isinstance(x, Recorded):
            return x.name
        name = self._names[id(x)]
        return self.constant(x, name)

    # -- operations ------------------------------------------------------------------------------------

    def conv2d_forward(
        self,
        x: Any,
        w: Any,
        b: Any = None,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Any:
        """Add a Conv."""
        window = Window(
            w.shape[2:], pair("stride", stride, 1), pair("padding", padding, 0), pair("dilation", dilation, 1)
        )
        shape = (x.shape[0], w.shape[0], *output_size(x.shape[2:], window))
        y = self.add(
            "Conv", [x, w, b], shape, strides=window.stride, pads=[*window.padding] * 2,
            dilations=window.dilation, group=groups,
        )  # fmt: skip
        return y, None

    def batchnorm2d_inference_forward(
        self, x: Any, gamma: Any, beta: Any, mean: Any, var: Any, *, eps: float = 1e-5
    ) -> Any:
        """Add a BatchNormalization."""
        return self.add("BatchNormalization", [x, gamma, beta, mean, var], x.shape, epsilon=eps), None

    def squeeze_excite_forward(
        self, u: Any, w1: Any, b1: Any, w2: Any, b2: Any, *, squeeze: str = "avg", gate: str = "sigmoid"
    ) -> Any:
        """Add SE; its linear layers are 1x1 convolutions, so that no array changes its rank."""
        s = self._global_pool(u, squeeze)
        for w, b, activation in ((w1, b1, "Relu"), (w2, b2, gate.capitalize())):
            kernels = self.constant(w[:, :, None, None], self._names[id(w)])
            s = self.add("Conv", [s, kernels, b], (s.shape[0], w.shape[0], 1, 1))
            s = self.add(activation, [s], s.shape)
        return self.add("Mul", [u, s], u.shape), None

    def scale_forward(self, u: Any, s: Any) -> Any:
        """Add a Mul."""
        return self.add("Mul", [u, s.reshape(*s.shape, 1, 1)], u.shape), None

    def linear_forward(self, x: Any, w: Any, b: Any = None) -> Any:
        """Add a Gemm."""
        return self.add("Gemm", [x, w, b], (x.shape[0], w.shape[0]), transB=1), None

    def relu_forward(self, x: Any) -> Any:
        """Add a Relu."""
        return self.add("Relu", [x], x.shape), None

    def sigmoid_forward(self, x: Any) -> Any:
        """Add a Sigmoid."""
        return self.add("Sigmoid", [x], x.shape), None

    def tanh_forward(self, x: Any) -> Any:
        """Add a Tanh."""
        return self.add("Tanh", [x], x.shape), None

    def max_pool2d_forward(self, x: Any, **settings: Any) -> Any:
        """Add a MaxPool."""
        return self._pool("MaxPool", x, **settings)

    def avg_pool2d_forward(self, x: Any, *, count_include_pad: bool = True, **settings: Any) -> Any:
        """Add an AveragePool."""
        return self._pool("AveragePool", x, count_include_pad=int(count_include_pad), **settings)

    def _pool(
        self, kind: str, x: Any, *, kernel: IntOrPair, stride: Any = None, padding: IntOrPair = 0,
        ceil_mode: bool = False, **attributes: int,
    ) -> Any:  # fmt: skip
        sizes = pair("kernel", kernel, 1)
        window = Window(
            sizes, sizes if stride is None else pair("stride", stride, 1), pair("padding", padding, 0), (1, 1)
        )
        shape = (*x.shape[:2], *output_size(x.shape[2:], window, ceil_mode=ceil_mode))
        y = self.add(
            kind, [x], shape, kernel_shape=window.kernel, strides=window.stride, pads=[*window.padding] * 2,
            ceil_mode=int(ceil_mode), **attributes,
        )  # fmt: skip
        return y, None

    def _global_pool(self, x: Any, operator: str) -> Any:
        kind = "GlobalAveragePool" if operator == "avg" else "GlobalMaxPool"
        return self.add(kind, [x], (*x.shape[:2], 1, 1))

    def global_avg_pool_forward(self, x: Any) -> Any:
        """Add a GlobalAveragePool."""
        return self._global_pool(x, "avg").reshape(x.shape[:2]), None

    def global_max_pool_forward(self, x: Any) -> Any:
        """Add a GlobalMaxPool."""
        return self._global_pool(x, "max").reshape(x.shape[:2]), None

    def residual_add_forward(self, branch: Any, shortcut: Any) -> Any:
        """Add an Add."""
        return self.add("Add", [branch, shortcut], branch.shape), None

    def shake_forward(self, a: Any, b: Any, **mixtures: Any) -> Any:
        """Add the mean: in inference both mixtures are 1/2."""
        return 0.5 * self.add("Add", [a, b], a.shape), None

    def concat_forward(self, xs: Any, *, axis: int = 1) -> Any:
        """Add a Concat."""
        shape = list(xs[0].shape)
        shape[axis] = sum(x.shape[axis] for x in xs)
        return self.add("Concat", list(xs), tuple(shape), axis=axis), None

    def channel_shuffle_forward(self, x: Any, *, groups: int) -> Any:
        """Add a Transpose of the table of channels."""
        n, c, h, w = x.shape
        table = x.reshape(n, groups, c // groups, h, w)
        turned = self.add("Transpose", [table], (n, c // groups, groups, h, w), perm=[0, 2, 1, 3, 4])
        return turned.reshape(n, c, h, w), None

    def dropout_forward(self, x: Any, **settings: Any) -> Any:
        """Add nothing: in inference there is no dropout."""
        return x, None

    def pad_shortcut_forward(self, x: Any, *, channels: int, stride: IntOrPair = 2) -> Any:
        """Add a Slice with steps, and a Pad of the channels."""
        steps = pair("stride", stride, 1)
        n, c, h, w = x.shape
        cut = [self.constant(np.array(v, np.int64)) for v in ((0, 0), (h, w), (2, 3), steps)]
        shape = (n, c, -(-h // steps[0]), -(-w // steps[1]))
        y = self.add("Slice", [x, *cut], shape)
        before = (channels - c) // 2
        pads = [0, before, 0, 0, 0, channels - c - before, 0, 0]
        return self._padded(y, pads, (n, channels, *shape[2:])), None

    def shifted(self, x: Any, by: int) -> Any:
        """Add a Pad that also cuts."""
        return self._padded(x, [0, 0, by, by, 0, 0, -by, -by], x.shape)

    def _padded(self, x: Any, pads: list[int], shape: tuple[int, ...]) -> Any:
        return self.add("Pad", [x, self.constant(np.array(pads, np.int64))], shape)
