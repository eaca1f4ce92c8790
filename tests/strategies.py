"""Hypothesis strategies: how to draw arguments for every operation, in every shape and memory order.

A `Case` is one call: operation, arguments, options, upstream gradient. `cases(op)` draws them; `results` runs
one on an engine. Adding an operation is adding a `draw_...` function to the table at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

LAYOUTS = ("C", "Fortran", "channels last", "strided", "reversed")


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """Return the same values in another memory order."""
    if layout == "Fortran":
        return np.asfortranarray(array)
    if layout == "channels last" and array.ndim > 1:
        return np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
    if layout == "strided":
        every_second = (slice(None, None, 2),) * array.ndim
        base = np.full([2 * size for size in array.shape], 99, array.dtype)
        base[every_second] = array
        return base[every_second]
    if layout == "reversed":
        backwards = (slice(None, None, -1),) * array.ndim
        return np.ascontiguousarray(array[backwards])[backwards]
    return np.ascontiguousarray(array)


def map_arrays(function: Callable[[np.ndarray], Any], value: Any) -> Any:
    """Apply `function` to the float arrays in a tuple of arguments; leave None, labels and the like alone."""
    if isinstance(value, tuple):
        return tuple(map_arrays(function, item) for item in value)
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return function(value) if is_float else value


def arrays_in(value: Any) -> list[np.ndarray]:
    """Return all arrays in nested tuples, lists, dicts and objects: arguments, gradients, caches."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, tuple | list):
        return [array for item in value for array in arrays_in(item)]
    return arrays_in(
        list(value.values() if isinstance(value, dict) else getattr(value, "__dict__", {}).values())
    )


@dataclass(frozen=True)
class Case:
    """One call of an operation. The option `rng` holds a seed, so that every run draws alike."""

    op: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    seed: int

    def map(self, function: Callable[[np.ndarray], Any]) -> Case:
        """Return the case with `function` applied to every float array."""
        return replace(self, args=map_arrays(function, self.args))

    def astype(self, dtype: Any) -> Case:
        """Return the case in another precision."""
        return self.map(lambda array: array.astype(dtype))

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the float arguments."""
        return next(array.dtype for array in arrays_in(self.args) if array.dtype.kind == "f")

    def forward(self, engine: Any) -> tuple[Any, Any]:
        """Return result and cache."""
        options = dict(self.options)
        if "rng" in options:
            options["rng"] = np.random.default_rng(options["rng"])
        return getattr(engine, f"{self.op}_forward")(*map_arrays(engine.asarray, self.args), **options)

    def upstream(self, y: Any) -> np.ndarray:
        """Return a random, signed gradient for the result `y`."""
        dy = np.random.default_rng(self.seed).normal(size=np.shape(y)) + 0.1
        return np.asarray(dy, y.dtype)

    def backward(self, engine: Any, dy: Any, cache: Any) -> Any:
        """Return the gradients."""
        return getattr(engine, f"{self.op}_backward")(dy, cache)


class Run(NamedTuple):
    """What one run gave."""

    y: Any
    cache: Any
    dy: Any
    gradients: Any


def run(engine: Any, case: Case, alter: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Run:
    """Run forward and backward on an engine; `alter` changes the upstream gradient."""
    y, cache = case.forward(engine)
    dy = engine.asarray(alter(case.upstream(y)))
    return Run(y, cache, dy, case.backward(engine, dy, cache))


def results(
    engine: Any, case: Case, alter: Callable[[np.ndarray], np.ndarray] = np.asarray
) -> dict[str, np.ndarray | None]:
    """Return all that a run gives as NumPy arrays by name: result, gradients, statistics, gradient paths."""
    y, cache, dy, gradients = run(engine, case, alter)
    found = gradients._asdict()
    parts = {f"dxs[{k}]": part for k, part in enumerate(found.pop("dxs", ()))}  # the first argument's
    found = {"y": y, **parts, **found}
    if case.op in ("batchnorm2d", "conv_bn_relu", "residual_tail", "bn_relu_se"):
        found |= {"mean": cache.mean, "var": cache.var}
    if case.op == "squeeze_excite":
        found |= engine.squeeze_excite_backward_paths(dy, cache)._asdict()
    return {name: None if value is None else engine.to_numpy(value) for name, value in found.items()}


class Draw:
    """What the draw functions below draw with: sizes from Hypothesis, numbers from a generator it seeds."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self.seed = draw(st.integers(0, 2**32 - 1))
        self._rng = np.random.default_rng(self.seed)

    def whole(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def one_of(self, *values: Any) -> Any:
        return self._draw(st.sampled_from(values))

    def int_or_pair(self, low: int, high: int) -> int | tuple[int, int]:
        number = st.integers(low, high)
        return self._draw(st.one_of(number, st.tuples(number, number)))

    def shape(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        return tuple(self._draw(st.lists(st.integers(1, 4), min_size=low, max_size=high)))

    def image(self) -> np.ndarray:
        return self.normal(self.whole(1, 3), self.whole(1, 4), self.whole(1, 5), self.whole(1, 5))

    def normal(self, *shape: int) -> np.ndarray:
        return self._rng.normal(size=shape)

    def positive(self, *shape: int) -> np.ndarray:
        return self._rng.uniform(0.2, 3.0, size=shape)

    def optional(self, array: np.ndarray) -> np.ndarray | None:
        return self.one_of(array, None)

    def maybe_ties(self, array: np.ndarray) -> np.ndarray:
        """Return the array as it is or rounded: then there are ties, and exact zeros."""
        return self.one_of(array, np.round(array))

    def labels(self, n: int, classes: int) -> np.ndarray:
        return self._rng.integers(0, classes, n).astype(self.one_of("int64", "int32", "uint8"))


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


Drawn = tuple[tuple[Any, ...], dict[str, Any]]


def draw_conv2d(d: Draw, least_batch: int = 1) -> Drawn:
    groups = d.one_of(1, 1, 2, 3)
    per_group, outputs = d.one_of((1, 1), (1, 2), (2, 1), (2, 3))  # (1, k): depthwise with a multiplier
    options = {
        "stride": d.int_or_pair(1, 3),
        "padding": d.int_or_pair(0, 2),
        "dilation": d.int_or_pair(1, 2),
        "groups": groups,
    }
    kernel = (d.whole(1, 3), d.whole(1, 3))
    size = [
        max(d.whole(1, 6), dilation * (k - 1) + 1 - 2 * pad)
        for k, pad, dilation in zip(kernel, both(options["padding"]), both(options["dilation"]), strict=True)
    ]
    x = d.normal(d.whole(least_batch, 3), groups * per_group, *size)
    w = d.normal(groups * outputs, per_group, *kernel)
    return (x, w, d.optional(d.normal(groups * outputs))), options


def draw_linear(d: Draw) -> Drawn:
    n, i, o = d.whole(1, 4), d.whole(1, 5), d.whole(1, 5)
    return (d.normal(n, i), d.normal(o, i), d.optional(d.normal(o))), {}


def draw_eps(d: Draw) -> dict[str, float]:
    return {"eps": d.one_of(1e-5, 1e-3, 0.5)}


def draw_batchnorm2d(d: Draw) -> Drawn:
    x = d.image()
    if x[:, 0].size == 1:
        x = np.concatenate([x, d.normal(*x.shape)])
    return (x, d.normal(x.shape[1]), d.normal(x.shape[1])), draw_eps(d)


def draw_batchnorm2d_inference(d: Draw) -> Drawn:
    x = d.image()
    c = x.shape[1]
    return (x, d.normal(c), d.normal(c), d.normal(c), d.positive(c)), draw_eps(d)


def draw_activation(d: Draw) -> Drawn:
    return (d.maybe_ties(d.normal(*d.shape()) * d.one_of(1.0, 10.0)),), {}


def draw_max_pool2d(d: Draw) -> Drawn:
    kernel = d.int_or_pair(1, 4)
    padding = tuple(d.whole(0, k // 2) for k in both(kernel))
    size = [max(d.whole(1, 7), k - 2 * pad) for k, pad in zip(both(kernel), padding, strict=True)]
    options = {
        "kernel": kernel,
        "stride": d.one_of(None, 1, 2, 3, (2, 1), (1, 3)),
        "padding": padding[0] if padding[0] == padding[1] else padding,
        "ceil_mode": d.one_of(False, True),
    }
    x = d.normal(d.whole(1, 2), d.whole(1, 3), *size) - d.one_of(
        0.0, 5.0
    )  # negative: a padding of 0 would win
    return (d.maybe_ties(x),), options


def draw_avg_pool2d(d: Draw) -> Drawn:
    args, options = draw_max_pool2d(d)
    return args, {**options, "count_include_pad": d.one_of(True, False)}


def draw_global_pool(d: Draw) -> Drawn:
    return (d.maybe_ties(d.image() - d.one_of(0.0, 5.0)),), {}


def draw_squeeze(d: Draw) -> Drawn:
    return (d.maybe_ties(d.image()),), {"operator": d.one_of("avg", "max")}


def draw_excitation_parameters(d: Draw, c: int) -> tuple[Any, ...]:
    h = d.whole(1, 3)
    return d.normal(h, c), d.optional(d.normal(h)), d.normal(c, h), d.optional(d.normal(c))


def draw_gate(d: Draw) -> dict[str, str]:
    return {"gate": d.one_of("sigmoid", "tanh", "relu")}


def draw_se_options(d: Draw) -> dict[str, str]:
    return {"squeeze": d.one_of("avg", "max"), **draw_gate(d)}


def draw_excitation(d: Draw) -> Drawn:
    c = d.whole(1, 5)
    return (d.normal(d.whole(1, 3), c), *draw_excitation_parameters(d, c)), draw_gate(d)


def draw_scale(d: Draw) -> Drawn:
    u = d.image()
    return (u, d.normal(*u.shape[:2])), {}


def draw_squeeze_excite(d: Draw) -> Drawn:
    u = d.image()
    return (u, *draw_excitation_parameters(d, u.shape[1])), draw_se_options(d)


def draw_residual_add(d: Draw) -> Drawn:
    x = d.image()
    return (x, d.normal(*x.shape)), {}


def draw_pad_shortcut(d: Draw) -> Drawn:
    x = d.image()
    return (x,), {"channels": x.shape[1] + d.whole(0, 5), "stride": d.int_or_pair(1, 3)}


def draw_concat(d: Draw) -> Drawn:
    shape = d.shape()
    axis = d.whole(-len(shape), len(shape) - 1)
    parts = []
    for _ in range(d.whole(1, 3)):
        part = list(shape)
        part[axis] = d.whole(1, 3)
        parts.append(d.normal(*part))
    return (tuple(parts),), {"axis": axis}


def draw_channel_shuffle(d: Draw) -> Drawn:
    groups = d.whole(1, 4)
    return (d.normal(d.whole(1, 2), groups * d.whole(1, 4), d.whole(1, 3), d.whole(1, 3)),), {
        "groups": groups
    }


def draw_dropout(d: Draw) -> Drawn:
    return (d.normal(*d.shape()),), {"p": d.one_of(0.0, 0.2, 0.5, 0.9), "rng": d.whole(0, 99)}


def draw_shake(d: Draw) -> Drawn:
    a = d.image()
    options = {"alpha": tuple(d.one_of(0.0, 0.25, 0.7, 1.0) for _ in a)}
    if d.one_of(True, False):
        options["beta"] = tuple(d.one_of(0.1, 0.5) for _ in a)
    return (a, d.normal(*a.shape)), options


def draw_softmax_cross_entropy(d: Draw) -> Drawn:
    n, k = d.whole(1, 4), d.whole(1, 5)
    options = {"label_smoothing": d.one_of(0.0, 0.1, 1.0)}
    return (d.normal(n, k) * d.one_of(1.0, 20.0), d.labels(n, k)), options


def draw_conv_bn_relu(d: Draw) -> Drawn:
    (x, w, _), options = draw_conv2d(d, least_batch=2)
    return (x, w, d.normal(len(w)), d.normal(len(w))), options | draw_eps(d)


def draw_conv_bn_relu_inference(d: Draw) -> Drawn:
    args, options = draw_conv_bn_relu(d)
    o = len(args[1])
    return (*args, d.normal(o), d.positive(o)), options


def draw_residual_tail(d: Draw) -> Drawn:
    (c, *norm), options = draw_batchnorm2d(d)
    se = draw_excitation_parameters(d, c.shape[1]) if d.one_of(True, True, False) else (None,) * 4
    return (c, *norm, *se, d.normal(*c.shape)), options | draw_se_options(d)


def draw_residual_tail_inference(d: Draw) -> Drawn:
    (c, gamma, beta, *rest), options = draw_residual_tail(d)
    statistics = d.normal(c.shape[1]), d.positive(c.shape[1])
    return (c, gamma, beta, *statistics, *rest), options


def draw_bn_relu_se(d: Draw) -> Drawn:
    args, options = draw_batchnorm2d(d)
    se = draw_excitation_parameters(d, args[0].shape[1])
    return (*args, *se), options | draw_se_options(d)


def draw_concat_se(d: Draw) -> Drawn:
    (u, *se), options = draw_squeeze_excite(d)
    cuts = sorted({d.whole(0, u.shape[1]) for _ in range(d.whole(0, 2))} - {0, u.shape[1]})
    return (tuple(np.split(u, cuts, axis=1)), *se), options


def draw_se_add(d: Draw) -> Drawn:
    args, options = draw_squeeze_excite(d)
    return (*args, d.normal(*args[0].shape)), options


OPS: dict[str, Callable[[Draw], Drawn]] = {
    "conv2d": draw_conv2d,
    "linear": draw_linear,
    "batchnorm2d": draw_batchnorm2d,
    "batchnorm2d_inference": draw_batchnorm2d_inference,
    "relu": draw_activation,
    "sigmoid": draw_activation,
    "tanh": draw_activation,
    "max_pool2d": draw_max_pool2d,
    "avg_pool2d": draw_avg_pool2d,
    "global_avg_pool": draw_global_pool,
    "global_max_pool": draw_global_pool,
    "squeeze": draw_squeeze,
    "excitation": draw_excitation,
    "scale": draw_scale,
    "squeeze_excite": draw_squeeze_excite,
    "residual_add": draw_residual_add,
    "pad_shortcut": draw_pad_shortcut,
    "concat": draw_concat,
    "channel_shuffle": draw_channel_shuffle,
    "dropout": draw_dropout,
    "shake": draw_shake,
    "softmax_cross_entropy": draw_softmax_cross_entropy,
    "conv_bn_relu": draw_conv_bn_relu,
    "conv_bn_relu_inference": draw_conv_bn_relu_inference,
    "residual_tail": draw_residual_tail,
    "residual_tail_inference": draw_residual_tail_inference,
    "bn_relu_se": draw_bn_relu_se,
    "concat_se": draw_concat_se,
    "se_add": draw_se_add,
}


@st.composite
def cases(draw: st.DrawFn, op: str) -> Case:
    """Draw one call of `op` in float64; each array in a memory order of its own, some of them read-only."""
    d = Draw(draw)
    args, options = OPS[op](d)

    def arranged(array: np.ndarray) -> np.ndarray:
        array = laid_out(array, d.one_of(*LAYOUTS))
        array.flags.writeable = d.one_of(True, False)
        return array

    return Case(op, args, options, d.seed).map(arranged)
