"""One operation or unit of a candidate's network, judged and diagnosed by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from senumpy.crosscheck.model.replay import Results, Seen
from senumpy.layers import BatchNorm2d, Conv2d, Layer, Linear, Residual, SqueezeExcite
from senumpy.layers.basic import Operation
from senumpy.verify.calls import OpCall, Running
from senumpy.verify.diagnosis import Diagnosis, diagnose
from senumpy.verify.judgement import Judgement, judge
from senumpy.verify.rounding import expect

Array = NDArray[Any]
MOST_PRODUCTS = 2e8  # of a convolution in extended precision: some seconds

_CONV = {"weight": "dw", "bias": "db"}
_NORM = {"weight": "dgamma", "bias": "dbeta"}
_SE = {"fc1.weight": "dw1", "fc1.bias": "db1", "fc2.weight": "dw2", "fc2.bias": "db2"}


@dataclass(frozen=True)
class RecordedCall(OpCall):
    """A call that really happened, with the upstream gradient that came.

    Attributes
    ----------
    dy : array or None
        None where only the forward is judged.
    """

    dy: Any = None

    def upstream(self, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> Array:
        """Return the gradient that came."""
        if self.dy is None:
            return super().upstream(shape, dtype)
        return self.dy.reshape(shape).astype(dtype)

    def running(self, dtype: DTypeLike = np.float64) -> Running | None:
        """Return None: running statistics are compared elsewhere."""
        return None


@dataclass(frozen=True)
class Verdict:
    """An operation judged: its name, the judgements, and what explains it."""

    op: str
    judgements: tuple[Judgement, ...]
    diagnosis: Diagnosis


def judge_layer(layer: Layer, seen: Seen, shape: tuple[int, ...], *, back: bool) -> Verdict | None:
    """Judge a layer that is one operation, or SE, on what the candidate's took; None for any other.

    Parameters
    ----------
    layer : Layer
    seen : Seen
    shape : tuple of int
        Of the reference's input.
    back : bool
        Whether gradients are judged, too.
    """
    if seen.x is None or seen.y is None:
        return None
    x = seen.x.reshape(shape)
    found = operation(layer, x)
    if found is None:
        return None
    op, args, options, names = found
    got: Results = {"y": seen.y}
    if back:
        got |= {"dx" if op != "squeeze_excite" else "du": seen.dx} if seen.dx is not None else {}
        got |= {names[n]: g for n, g in seen.gradients.items() if n in names and g is not None}
    return judge_call(op, args, options, got, seen.dy if back else None)


def judge_call(
    op: str, args: tuple[Any, ...], options: dict[str, Any], got: Results, dy: Array | None
) -> Verdict | None:
    """Judge the results of a call; None where it is too large for extended precision."""
    y = got["y"]
    if y is None or _products(op, args, y) > MOST_PRODUCTS:
        return None
    dtype = y.dtype
    wide = tuple(None if a is None else np.asarray(a, np.float64) for a in args)
    call = RecordedCall(op, wide, dict(options), dy=dy)
    try:
        expectation = expect(call, dtype)
    except (TypeError, ValueError):
        return None
    want = expectation.want
    shaped: Results = {}
    for name, array in got.items():
        wanted = want.get(name)
        fits = array is not None and wanted is not None and array.size == wanted.size
        shaped[name] = array.reshape(wanted.shape) if fits else array  # type: ignore[union-attr]
    return Verdict(op, tuple(judge(expectation, shaped)), diagnose(op, [(expectation, shaped)]))


def operation(layer: Layer, x: Array) -> tuple[str, tuple[Any, ...], dict[str, Any], dict[str, str]] | None:
    """Return operation, arguments, options, and gradients' names by parameter, of a layer on `x`."""
    if isinstance(layer, (Conv2d, Linear)):
        bias = layer.bias.value if layer.bias else None
        options = layer.settings if isinstance(layer, Conv2d) else {}
        return (
            "conv2d" if isinstance(layer, Conv2d) else "linear",
            (x, layer.weight.value, bias),
            options,
            _CONV,
        )
    if isinstance(layer, BatchNorm2d):
        values = layer.values()
        if layer.training:
            return "batchnorm2d", (x, *values[:2]), {"eps": layer.eps}, _NORM
        return "batchnorm2d_inference", (x, *values), {"eps": layer.eps}, _NORM
    if isinstance(layer, SqueezeExcite):
        return "squeeze_excite", (x, *layer.weights()), layer.settings(), _SE
    if isinstance(layer, Operation) and x.ndim == 4:
        return layer.operation, (x,), layer.settings, {}
    return None


def judge_tail(layer: Layer, seen: dict[str, Seen], name: str, *, back: bool) -> Verdict | None:
    """Judge the end of a residual unit, from its last convolution on; None where not all is seen."""
    if not isinstance(layer, Residual) or (layer.se is not None and layer._own_se is None):
        return None
    block, last = seen[name], max(n for n in vars(layer) if n.startswith("conv"))
    conv = seen.get(f"{name}.{last}")
    shortcut = seen.get(f"{name}.downsample")
    start = conv.y if conv else None
    through = (shortcut.y if shortcut else None) if layer.downsample else block.x
    if conv is None or start is None or through is None or block.y is None or start.size != block.y.size:
        return None
    bn = layer._last_bn
    weights, settings = layer._se_arguments()
    values = bn.values()[: 2 if bn.training else 4]
    op = "residual_tail" if bn.training else "residual_tail_inference"
    got: Results = {"y": block.y}
    if back:
        known = {f"bn{last[-1]}.{n}": d for n, d in _NORM.items()} | {f"se.{n}": d for n, d in _SE.items()}
        got |= {d: block.gradients[n] for n, d in known.items() if n in block.gradients}
        if conv.dy is not None:
            got["dc"] = conv.dy
    arguments = (start, *values, *weights, through.reshape(block.y.shape))
    return judge_call(op, arguments, settings, got, block.dy if back else None)


def _products(op: str, args: tuple[Any, ...], y: Array) -> float:
    if op in ("conv2d", "linear"):
        return float(y.size) * args[1].size / len(args[1])
    return float(y.size)
