"""One ONNX operator node as a call of one of our operations.

`map_node` takes a node with the arrays that go in and returns what of ours it is: a call, and how the node's
outputs are named among the call's results. Whoever has the outputs (of a runtime, of a test suite) can have
them judged by `senumpy.verify.judgement`. What ONNX says in other words is said in ours: other ranks, uneven
paddings, flags and layouts of matrices. Where ONNX's numbers differ by convention, `NodeCall.note` says so. A
node that is none of our operations raises `LeftOut` with the reason.

Calls of nodes that need more than one operation are forward only (`composed.ComposedCall`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.composed import (
    ComposedCall,
    GivenRunning,
    cross_entropy_call,
    label_shares,
    log_softmax_call,
    rows_of,
    softmax_call,
    spatial,
)
from senumpy.crosscheck.onnx_windows import conv, pool
from senumpy.errors import InputError
from senumpy.ops import linear_forward, residual_add_forward
from senumpy.verify.calls import OpCall, Results, Running

Array = NDArray[Any]
Outputs = Sequence[Any]  # of a node: arrays, or None for one that isn't there
ROWS = 500  # of a log-softmax or of losses that aren't summed: so many are judged
_FLOATS = ("float32", "float64")


class LeftOut(Exception):  # noqa: N818 - a reason, not an error
    """A node that is no call of our operations; the text says why."""


@dataclass(frozen=True)
class Node:
    """An operator node with its inputs.

    Attributes
    ----------
    op_type : str
        ``"Conv"``.
    inputs : tuple
        Arrays; None for one that is left out.
    attributes : dict
        Only those that are set; text as str.
    opset : int
        Version of ONNX's own operators.
    outputs : int
        How many of its outputs are used.
    kept : array of bool or None
        Which entries a dropout in training kept, where that is known.
    """

    op_type: str
    inputs: tuple[Any, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    opset: int = 22
    outputs: int = 1
    kept: Array | None = None

    def get(self, name: str, default: Any) -> Any:
        """Return an attribute."""
        return self.attributes.get(name, default)

    def input(self, place: int) -> Any:
        """Return an input, None where it is left out."""
        return self.inputs[place] if place < len(self.inputs) else None


@dataclass(frozen=True)
class NodeCall:
    """What a node asks, as one of our calls.

    Attributes
    ----------
    call : OpCall
    name : callable
        ``name(outputs) -> results``: the node's outputs with the names and shapes of the call's results.
    note : str
        Where ONNX's numbers follow another convention, and what was done about it.
    """

    call: OpCall
    name: Callable[[Outputs], Results]
    note: str = ""


def map_node(node: Node) -> list[NodeCall]:
    """Return the calls that a node is: one, or one for each of its outputs.

    Raises
    ------
    LeftOut
        The node is none of our operations; the text is the reason, readable behind "left out: ".
    """
    if node.op_type not in MAPPED:
        raise LeftOut(f"{node.op_type}: none of our operations")
    arrays = [a for a in node.inputs if a is not None]
    if not all(isinstance(a, np.ndarray | np.generic) for a in arrays):
        raise LeftOut("a sequence or an optional: our operations take arrays")
    dtype = np.asarray(arrays[0]).dtype
    if dtype.name not in _FLOATS:
        raise LeftOut(f"{dtype.name}: our operations compute in float32 and float64")
    if any(0 in np.shape(a) for a in arrays[:1]):
        raise LeftOut("an array without entries: our operations refuse it")
    return MAPPED[node.op_type](node)


def node_of(proto: Any, arrays: Mapping[str, Any], opset: int) -> Node:
    """Return a node of a graph with its inputs.

    Parameters
    ----------
    proto : onnx.NodeProto
    arrays : mapping
        The arrays of the graph by name.
    opset : int

    Raises
    ------
    InputError
        An input isn't among the arrays; onnx is not installed.
    """
    try:
        from onnx import helper
    except ImportError:
        raise InputError("ONNX files need onnx: pip install onnx") from None
    attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
    attributes = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
    missing = [name for name in proto.input if name and name not in arrays]
    if missing:
        raise InputError(f"node {proto.name or proto.op_type}: no array for its input {missing[0]!r}")
    inputs = tuple(arrays[name] if name else None for name in proto.input)
    return Node(proto.op_type, inputs, attributes, opset, sum(bool(name) for name in proto.output))


# -- elementwise -------------------------------------------------------------------------------------------


def _activation(node: Node) -> list[NodeCall]:
    x = _wide(node.inputs[0])
    return _one(OpCall(node.op_type.lower(), (np.atleast_1d(x),)), np.atleast_1d)


def _add(node: Node) -> list[NodeCall]:
    """Add, or Sum of any number, of arrays spread to one shape."""
    terms = np.broadcast_arrays(*(_wide(a) for a in node.inputs))
    flat = [np.ascontiguousarray(term).reshape(-1, 1, 1, 1) for term in terms]

    def forward(*parts: Array) -> tuple[Array, Any]:
        total = parts[0]
        for part in parts[1:]:
            total, _ = residual_add_forward(total, part)
        return total, None

    if len(flat) == 1:
        raise LeftOut("a sum of one array adds nothing")
    if len(flat) == 2:
        return _one(OpCall("residual_add", tuple(flat)), _like(flat[0]))
    names = tuple(f"x{k}" for k in range(len(flat)))
    return _one(ComposedCall("residual_add", tuple(flat), forward=forward, others=names), _like(flat[0]))


def _mul(node: Node) -> list[NodeCall]:
    """Scale images by their gates where the shapes say so, otherwise images of one pixel."""
    a, b = (_wide(v) for v in node.inputs)
    for u, s in ((a, b), (b, a)):
        if u.ndim == 4 and s.shape == (*u.shape[:2], 1, 1):
            return _one(OpCall("scale", (u, s.reshape(s.shape[:2]))), _like(u))
    a, b = (np.ascontiguousarray(v) for v in np.broadcast_arrays(a, b))
    call = OpCall("scale", (a.reshape(-1, 1, 1, 1), b.reshape(-1, 1)))
    return _one(call, _like(call.args[0]))


@dataclass(frozen=True)
class _GivenDraws:
    """Stands in for a random generator: an entry is kept where it says so."""

    kept: Array

    def random(self, shape: tuple[int, ...]) -> Array:
        """Return draws that are above any probability to be dropped, or below it."""
        return np.where(self.kept.reshape(shape), 1.0, -1.0)


def _dropout(node: Node) -> list[NodeCall]:
    x = np.atleast_1d(_wide(node.inputs[0]))
    training = node.opset >= 12 and node.input(2) is not None and bool(node.input(2))
    ratio = node.input(1) if node.opset >= 12 else node.get("ratio", None)
    if node.opset < 7:
        raise LeftOut(f"opset {node.opset}: its Dropout says by is_test whether it trains")
    if not training:
        options = {"p": 0.0, "rng": _GivenDraws(np.ones(x.shape, bool))}
        return _one(OpCall("dropout", (x,), options), _like(x), "inference: nothing is dropped")
    p = 0.5 if ratio is None else float(ratio)
    kept = np.ones(x.shape, bool) if p == 0 else node.kept
    if kept is None:
        raise LeftOut("it drops by a random generator of its own, and its mask is not among the outputs")
    call = OpCall("dropout", (x,), {"p": p, "rng": _GivenDraws(kept)})
    return _one(call, _like(x), "what is dropped is taken from the node's second output, the mask")


def _concat(node: Node) -> list[NodeCall]:
    call = OpCall("concat", (tuple(_wide(a) for a in node.inputs),), {"axis": node.get("axis", 1)})
    return _one(call, np.asarray)


# -- matrices, normalisation, means ------------------------------------------------------------------------


def _gemm(node: Node) -> list[NodeCall]:
    """Return alpha A B + beta C: a linear layer where alpha and beta are 1 and C is one row or less."""
    a, b = (_wide(v) for v in node.inputs[:2])
    c = None if node.input(2) is None else _wide(node.input(2))
    alpha, beta = float(node.get("alpha", 1.0)), float(node.get("beta", 1.0))
    x = np.ascontiguousarray(a.T if node.get("transA", 0) else a)
    w = np.ascontiguousarray(b if node.get("transB", 0) else b.T)
    single = c is None or (c.shape[0] if c.ndim == 2 else 1) == 1
    if alpha == 1.0 and (c is None or beta == 1.0) and single:
        bias = None if c is None else np.broadcast_to(c, (1, len(w)))[0].copy()
        return _one(OpCall("linear", (x, w, bias)), np.asarray)

    def forward(x: Array, w: Array, c: Array | None) -> tuple[Array, Any]:
        y = x.dtype.type(alpha) * linear_forward(x, w)[0]
        return y if c is None else y + x.dtype.type(beta) * c, None

    return _one(ComposedCall("linear", (x, w, c), forward=forward, others=("x", "w", "c")), np.asarray)


def _matmul(node: Node) -> list[NodeCall]:
    a, b = (_wide(v) for v in node.inputs)
    if b.ndim > 2:
        raise LeftOut("a batch of matrices as second factor: a linear layer has one matrix of weights")
    b = b.reshape(len(b), -1)
    call = OpCall("linear", (a.reshape(-1, a.shape[-1]), np.ascontiguousarray(b.T), None))
    return _one(call, lambda y: y.reshape(-1, b.shape[1]))


def _batch_norm(node: Node) -> list[NodeCall]:
    x, gamma, beta, mean, var = (_wide(a) for a in node.inputs[:5])
    if node.opset < 9:
        raise LeftOut(f"opset {node.opset}: its BatchNormalization has statistics an entry too (spatial = 0)")
    options = {"eps": float(node.get("epsilon", 1e-5))}
    training = bool(node.get("training_mode", 0)) or (node.opset < 14 and node.outputs > 1)
    if not training:
        return _one(OpCall("batchnorm2d_inference", (spatial(x), gamma, beta, mean, var), options), spatial)
    if node.opset < 14:
        raise LeftOut(f"opset {node.opset}: what its BatchNormalization puts out in training is left open")
    # ONNX's momentum is the weight of the old value, a float32 that means a decimal number.
    momentum = 1.0 - float(str(np.float32(node.get("momentum", 0.9))))
    call = GivenRunning("batchnorm2d", (spatial(x), gamma, beta), options, start=Running(mean, var, momentum))
    m = x.size // x.shape[1]

    def name(outputs: Outputs) -> Results:
        found: Results = {"y": spatial(outputs[0])}
        if len(outputs) > 1:
            kept = (1.0 - momentum) * np.asarray(var, np.longdouble)
            found["running_mean"] = outputs[1]
            found["running_var"] = kept + (outputs[2] - kept) * np.longdouble(m) / max(1, m - 1)
        return found

    note = (
        "ONNX's running_var follows the biased variance, over M; ours the unbiased one, over M - 1: its new "
        f"part is taken times M/(M - 1), M = {m}. ONNX's momentum weighs the old value, ours the new one"
    )
    return [NodeCall(call, name, note)]


def _global_pool(node: Node) -> list[NodeCall]:
    op = {"GlobalAveragePool": "global_avg_pool", "GlobalMaxPool": "global_max_pool"}[node.op_type]
    return _one(OpCall(op, (spatial(_wide(node.inputs[0])),)), lambda y: y.reshape(y.shape[:2]))


def _reduction(node: Node) -> list[NodeCall]:
    """ReduceMean and ReduceMax over any axes: a global pool, the axes that stay being channels."""
    x = _wide(node.inputs[0])
    axes = node.get("axes", None) if node.input(1) is None else np.asarray(node.inputs[1]).tolist()
    if not axes and node.get("noop_with_empty_axes", 0):
        raise LeftOut("no axes: it does nothing")
    over = sorted(axis % x.ndim for axis in (axes or range(x.ndim)))
    staying = [axis for axis in range(x.ndim) if axis not in over]
    rows = x.transpose(*staying, *over).reshape(1, int(np.prod([x.shape[a] for a in staying])), -1, 1)
    op = "global_avg_pool" if node.op_type == "ReduceMean" else "global_max_pool"
    return _one(OpCall(op, (np.ascontiguousarray(rows),)), lambda y: y.reshape(rows.shape[:2]))


# -- softmax and losses ------------------------------------------------------------------------------------


def _softmax(node: Node) -> list[NodeCall]:
    x = _wide(node.inputs[0])
    make = softmax_call if node.op_type == "Softmax" else log_softmax_call
    axis = int(node.get("axis", 1 if node.opset < 13 else -1)) % x.ndim

    def rows(y: Array) -> Array:
        if node.opset < 13:  # over all axes from this one on
            return y.reshape(int(np.prod(y.shape[:axis])), -1)
        return rows_of(y, axis)

    chosen = _evenly(len(rows(x)))
    return _one(make(rows(x)[chosen]), lambda y: rows(y)[chosen], _of_all(chosen, rows(x)))


def _cross_entropy(node: Node) -> list[NodeCall]:
    x, labels, weight = _wide(node.inputs[0]), np.asarray(node.inputs[1]).reshape(-1), node.input(2)
    rows, reduction = rows_of(x, 1), node.get("reduction", "mean")
    ignored = node.get("ignore_index", None)
    plain = weight is None and (ignored is None or not (labels == ignored).any())
    chosen = _evenly(len(rows))
    if reduction == "mean" and plain:
        found = _one(OpCall("softmax_cross_entropy", (rows, labels)), np.asarray)
    else:
        shares = label_shares(labels, rows.shape[1], None if weight is None else _wide(weight), ignored)
        if reduction == "none":
            call = cross_entropy_call(rows[chosen], shares[chosen], "none")
            found = _one(call, lambda y: y.reshape(-1)[chosen], _of_all(chosen, rows))
        else:
            found = _one(cross_entropy_call(rows, shares, reduction, float(shares.sum())), np.asarray)
    if node.outputs > 1:
        call = log_softmax_call(rows[chosen])
        found.append(
            NodeCall(call, lambda outputs: {"y": rows_of(outputs[1], 1)[chosen]}, _of_all(chosen, rows))
        )
    return found


def _evenly(count: int) -> Array:
    """Return at most ROWS rows, evenly spread: one by one they take a while."""
    return np.unique(np.linspace(0, count - 1, min(count, ROWS)).astype(int))


def _of_all(chosen: Array, rows: Array) -> str:
    return (
        ""
        if len(chosen) == len(rows)
        else f"{len(chosen)} of its {len(rows)} rows, evenly spread, are judged"
    )


def _conv(node: Node) -> list[NodeCall]:
    x, w = (_wide(a) for a in node.inputs[:2])
    b = None if node.input(2) is None else _wide(node.input(2))
    return _one(*conv(node.attributes, x, w, b))


def _pool(node: Node) -> list[NodeCall]:
    op = "max_pool2d" if node.op_type == "MaxPool" else "avg_pool2d"
    call, shape = pool(op, node.attributes, _wide(node.inputs[0]))
    note = "the positions of the maxima, its second output, are not judged" if node.outputs > 1 else ""
    return _one(call, shape, note)


def _wide(array: Any) -> Array:
    """Return a float array in float64, which holds its numbers."""
    return np.asarray(array).astype(np.float64)


def _like(array: Array) -> Callable[[Array], Array]:
    shape = array.shape
    return lambda y: np.asarray(y).reshape(shape)


def _one(call: OpCall, shape: Callable[[Array], Array], note: str = "") -> list[NodeCall]:
    """Return the one call of a node, whose first output in another shape is ``y``."""
    return [NodeCall(call, lambda outputs: {"y": shape(np.asarray(outputs[0]))}, note)]


MAPPED: dict[str, Callable[[Node], list[NodeCall]]] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Mul": _mul,
    "Concat": _concat,
    "Dropout": _dropout,
    "SoftmaxCrossEntropyLoss": _cross_entropy,
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("ReduceMean", "ReduceMax"), _reduction),
    **dict.fromkeys(("Relu", "Sigmoid", "Tanh"), _activation),
    **dict.fromkeys(("Add", "Sum"), _add),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
}
