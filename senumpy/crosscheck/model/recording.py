"""The reference's side: a network runs once forward and back, and all that its layers saw is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.sequence import SequenceEngine
from senumpy.layers import BatchNorm2d, Conv2d, Layer, Linear, SqueezeExcite

Array = NDArray[Any]
LAMBDA = 2.0  # as in `verify.rounding`: rounding errors of a sum of n terms are lambda sqrt(n) u
OPERATIONS = (
    "conv2d", "batchnorm2d", "batchnorm2d_inference", "linear", "relu", "sigmoid", "tanh", "max_pool2d",
    "avg_pool2d", "global_avg_pool", "global_max_pool", "scale", "squeeze_excite", "residual_add", "shake",
    "pad_shortcut", "concat", "channel_shuffle", "dropout",
)  # fmt: skip
_PASSAGES = ("conv2d", "linear", "batchnorm2d", "batchnorm2d_inference", "squeeze_excite")
_HOLDERS = (Conv2d, BatchNorm2d, Linear)


@dataclass
class Record:
    """One operation that ran: what went in and came out, forward and back.

    Attributes
    ----------
    op : str
    args, kwargs : tuple, dict
    y : array
    layer : str
        Name of the layer whose parameters it used, or inside which it ran ("" for the network itself).
    dy : array or None
    gradients : tuple or None
        In the order of the arguments.
    """

    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    y: Array
    layer: str
    dy: Array | None = None
    gradients: Any = None
    cache: Any = field(default=None, repr=False)


@dataclass
class Passage:
    """What went through one named layer: x -> y, and dy -> dx on the way back.

    Attributes
    ----------
    name : str
        The layer's.
    leaf : bool
        Whether it is one operation rather than a block.
    """

    name: str
    leaf: bool
    x: Array
    y: Array
    dy: Array | None = None
    dx: Array | None = None


@dataclass
class Trace:
    """One run of the reference.

    Attributes
    ----------
    records : list of Record
        Operations in the order in which they ran.
    forward, backward : list of Passage
        Layers in the order in which they were done, each way.
    gradients, buffers : dict
        By name, after the run.
    logits, dx : array
    """

    records: list[Record] = field(default_factory=list)
    forward: list[Passage] = field(default_factory=list)
    backward: list[Passage] = field(default_factory=list)
    gradients: dict[str, Array] = field(default_factory=dict)
    buffers: dict[str, Array] = field(default_factory=dict)
    logits: Any = None
    dx: Any = None

    def passages(self) -> dict[str, Passage]:
        """Return the layers by name."""
        return {passage.name: passage for passage in self.forward}


class RecordingEngine(SequenceEngine):
    """Write down every operation; where `delta` is above 0, put every result off by it, relatively.

    Parameters
    ----------
    u : float
        Unit roundoff of the arithmetic to imitate; 0 computes as it is. Results are off by
        LAMBDA sqrt(n) u, n being the terms of the operation's longest sum.
    seed : int
        Of the signs.
    keep : bool
        Whether records are kept: runs that only compute need none.
    """

    name = "recording"

    def __init__(self, *, u: float = 0.0, seed: int = 0, keep: bool = True):
        self.u, self.keep = u, keep
        self.rng = np.random.default_rng(seed)
        self.trace = Trace()
        self.inside: list[str] = []  # names of the layers that run just now, outer first
        self.holder_of: dict[int, str] = {}  # id of a parameter array -> its layer
        self._open: dict[int, Record] = {}
        self._passage_of: dict[int, Passage] = {}

    def off(self, array: Any, terms: int = 1) -> Any:
        """Return the array off by rounding."""
        if not self.u or not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            return array
        delta = LAMBDA * terms**0.5 * self.u
        bits = np.unpackbits(np.frombuffer(self.rng.bytes(array.size // 8 + 1), np.uint8), count=array.size)
        return array * np.array([1.0 - delta, 1.0 + delta])[bits].reshape(array.shape)

    def noted(self, op: str, args: tuple[Any, ...], kwargs: dict[str, Any], run: Callable[..., Any]) -> Any:
        """Run an operation's forward and write it down."""
        y, cache = run(*args, **kwargs)
        y = self.off(y, _terms(op, args))
        if self.keep:
            entry = Record(op, args, kwargs, y, self._layer(op, args), cache=cache)
            self.trace.records.append(entry)
            self._open[id(cache)] = entry
            if op in _PASSAGES:
                passage = Passage(entry.layer, op != "squeeze_excite", args[0], y)
                self.trace.forward.append(passage)
                self._passage_of[id(cache)] = passage
        return y, cache

    def noted_back(
        self, op: str, dy: Any, cache: Any, settings: dict[str, Any], run: Callable[..., Any]
    ) -> Any:
        """Run an operation's backward and write it down."""
        gradients = run(dy, cache, **settings)
        record = self._open.get(id(cache))
        if self.u:
            terms = 1 if record is None else _terms(op, record.args)
            gradients = type(gradients)(
                *(
                    [self.off(p) for p in g] if isinstance(g, (list, tuple)) else self.off(g, terms)
                    for g in gradients
                )
            )
        if record is not None:
            record.dy, record.gradients = dy, gradients
            passage = self._passage_of.get(id(cache))
            if passage is not None:
                passage.dy, passage.dx = dy, gradients[0]
                self.trace.backward.append(passage)
        return gradients

    def _layer(self, op: str, args: tuple[Any, ...]) -> str:
        for array in args[1:]:
            name = self.holder_of.get(id(array))
            if name is not None:
                return name.rpartition(".")[0] if op == "squeeze_excite" else name
        return self.inside[-1] if self.inside else ""


def _terms(op: str, args: tuple[Any, ...]) -> int:
    """Return the terms of the longest sum of an operation or its gradients."""
    x = args[0]
    if op in ("conv2d", "linear"):
        w = args[1]
        return max(w.size // len(w), x.size // x.shape[1])
    if op.startswith(("batchnorm", "global")) and x.ndim == 4:
        return x.size // x.shape[1]
    return 2


def _recorded(op: str) -> tuple[Any, Any]:
    def forward(self: RecordingEngine, *args: Any, **kwargs: Any) -> Any:
        run = getattr(super(RecordingEngine, self), f"{op}_forward")
        return self.noted(op, args, kwargs, run)

    def backward(self: RecordingEngine, dy: Any, cache: Any, **settings: Any) -> Any:
        run = getattr(super(RecordingEngine, self), f"{op}_backward")
        return self.noted_back(op, dy, cache, settings, run)

    return forward, backward


for _op in OPERATIONS:
    _forward, _backward = _recorded(_op)
    setattr(RecordingEngine, f"{_op}_forward", _forward)
    setattr(RecordingEngine, f"{_op}_backward", _backward)


def record(
    model: Layer, x: Array, upstream: Array | None, *, u: float = 0.0, seed: int = 0, prefix: str = ""
) -> Trace:
    """Run a network or one of its layers forward, and back if there is an upstream gradient.

    Running statistics, gradients and engines are afterwards as before.

    Parameters
    ----------
    model : Layer
    x : array
    upstream : array or None
        Gradient of the result.
    u, seed
        As in `RecordingEngine`.
    prefix : str
        The layer's own name, put before those of its inner layers.
    """
    engine = RecordingEngine(u=u, seed=seed)
    with borrowed(model, engine), _observed(model, engine, prefix):
        trace = engine.trace
        trace.logits = model.forward(engine.off(x))
        if upstream is not None:
            trace.dx = model.backward(engine.off(upstream))
        put = f"{prefix}." if prefix else ""
        trace.gradients = {put + n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        trace.buffers = {put + n: b.value.copy() for n, b in model.named_buffers()}
    return trace


@contextmanager
def borrowed(model: Layer, engine: Any) -> Iterator[None]:
    """Let a layer run on another engine; its buffers, gradients and caches are restored or given up after."""
    parts = _parts(model)
    engines = [part.engine for part in parts]
    buffers = [(b, b.value.copy()) for _, b in model.named_buffers()]
    model.forget()
    for part in parts:
        part.engine = engine
    try:
        yield
    finally:
        for part, own in zip(parts, engines, strict=True):
            part.engine = own
        for buffer, value in buffers:
            buffer.value[...] = value
        model.forget()


def _parts(model: Layer) -> list[Layer]:
    """Return all layers, also those without a name of their own (units)."""
    found: list[Layer] = []
    waiting: list[Any] = [model]
    seen: set[int] = set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Layer):
            found.append(part)
            waiting.extend(vars(part).values())
        elif isinstance(part, (list, tuple)):
            waiting.extend(part)
    return found


@contextmanager
def _observed(model: Layer, engine: RecordingEngine, prefix: str) -> Iterator[None]:
    """Write down what goes through blocks: their `forward` and `backward` are wrapped meanwhile."""
    wrapped: list[Layer] = []
    for name, layer in model.named_layers(prefix):
        if isinstance(layer, _HOLDERS):
            for _, parameter in layer.named_parameters():
                engine.holder_of[id(parameter.value)] = name
        elif not isinstance(layer, SqueezeExcite) and layer is not model:
            _wrap(layer, name, engine)
            wrapped.append(layer)
    try:
        yield
    finally:
        for layer in wrapped:
            del layer.forward, layer.backward  # the class's own show again


def _wrap(layer: Layer, name: str, engine: RecordingEngine) -> None:
    forward, backward = layer.forward, layer.backward
    passages: list[Passage] = []
    leaf = not any(True for _ in layer._public(Layer))

    def observed_forward(x: Array) -> Array:
        engine.inside.append(name)
        y = forward(x)
        engine.inside.pop()
        passages.append(Passage(name, leaf, x, y))
        engine.trace.forward.append(passages[-1])
        return y

    def observed_backward(dy: Array, **settings: Any) -> Any:
        dx = backward(dy, **settings)
        passage = passages[-1]
        passage.dy, passage.dx = dy, dx
        engine.trace.backward.append(passage)
        return dx

    layer.forward, layer.backward = observed_forward, observed_backward  # type: ignore[method-assign]
