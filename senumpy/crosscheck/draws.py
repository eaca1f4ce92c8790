"""What Hypothesis draws: arguments and options of every operation.

Shapes are small and odd: mistakes show in them, and shrink to something that can be read. A new operation is
one private function and one line in `DRAW`. What is drawn is always a call that the operation takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from senumpy.verify.calls import Array


class Draw:
    """What the draw functions below draw with: sizes from Hypothesis, numbers from a generator it seeds."""

    def __init__(self, draw: st.DrawFn, options: Mapping[str, Any] | None = None) -> None:
        self._draw, self._options = draw, options or {}
        self.seed = draw(st.integers(0, 2**32 - 1))
        self._rng = np.random.default_rng(self.seed)

    def option(self, name: str, drawn: Any) -> Any:
        """Return an option that other sizes depend on: what it is fixed to, or what was drawn."""
        return self._options.get(name, drawn)

    def whole(self, low: int, high: int) -> int:
        """Draw a whole number, both ends included."""
        return self._draw(st.integers(low, high))

    def one_of(self, *values: Any) -> Any:
        """Draw one of the values; failing cases shrink to the first."""
        return self._draw(st.sampled_from(values))

    def int_or_pair(self, low: int, high: int) -> int | tuple[int, int]:
        """Draw a whole number, or two for the two axes."""
        number = st.integers(low, high)
        return self._draw(st.one_of(number, st.tuples(number, number)))

    def shape(self, low: int = 1, high: int = 4) -> tuple[int, ...]:
        """Draw a shape of `low` to `high` axes of up to 4."""
        return tuple(self._draw(st.lists(st.integers(1, 4), min_size=low, max_size=high)))

    def image(self) -> Array:
        """Draw (N, C, H, W) numbers, up to 3 x 4 x 5 x 5."""
        return self.normal(self.whole(1, 3), self.whole(1, 4), self.whole(1, 5), self.whole(1, 5))

    def normal(self, *shape: int) -> Array:
        """Return normal numbers."""
        return self._rng.normal(size=shape)

    def positive(self, *shape: int) -> Array:
        """Return numbers between 0.2 and 3, as variances are."""
        return self._rng.uniform(0.2, 3.0, size=shape)

    def optional(self, array: Array) -> Array | None:
        """Draw the array or None."""
        return self.one_of(array, None)

    def maybe_ties(self, array: Array) -> Array:
        """Return the array as it is or rounded: then there are ties, and exact zeros."""
        return self.one_of(array, np.round(array))

    def labels(self, n: int, classes: int) -> Array:
        """Return `n` labels of one of three integer types."""
        return self._rng.integers(0, classes, n).astype(self.one_of("int64", "int32", "uint8"))


def both(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return a pair: a number counts for both axes."""
    return value if isinstance(value, tuple) else (value, value)


Drawn = tuple[tuple[Any, ...], dict[str, Any]]


def _conv2d(d: Draw, least_batch: int = 1) -> Drawn:
    groups = d.option("groups", d.one_of(1, 1, 2, 3))
    per_group, outputs = d.one_of((1, 1), (1, 2), (2, 1), (2, 3))  # (1, k): depthwise with a multiplier
    options = {
        "stride": d.int_or_pair(1, 3),
        "padding": d.option("padding", d.int_or_pair(0, 2)),
        "dilation": d.option("dilation", d.int_or_pair(1, 2)),
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


def _linear(d: Draw) -> Drawn:
    n, i, o = d.whole(1, 4), d.whole(1, 5), d.whole(1, 5)
    return (d.normal(n, i), d.normal(o, i), d.optional(d.normal(o))), {}


def _eps(d: Draw) -> dict[str, float]:
    return {"eps": d.one_of(1e-5, 1e-3, 0.5)}


def _batchnorm2d(d: Draw) -> Drawn:
    x = d.image()
    if x[:, 0].size == 1:
        x = np.concatenate([x, d.normal(*x.shape)])
    return (x, d.normal(x.shape[1]), d.normal(x.shape[1])), _eps(d)


def _batchnorm2d_inference(d: Draw) -> Drawn:
    x = d.image()
    c = x.shape[1]
    return (x, d.normal(c), d.normal(c), d.normal(c), d.positive(c)), _eps(d)


def _activation(d: Draw) -> Drawn:
    return (d.maybe_ties(d.normal(*d.shape()) * d.one_of(1.0, 10.0)),), {}


def _max_pool2d(d: Draw) -> Drawn:
    kernel = d.option("kernel", d.int_or_pair(1, 4))
    padding = both(d.option("padding", tuple(d.whole(0, k // 2) for k in both(kernel))))
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


def _avg_pool2d(d: Draw) -> Drawn:
    args, options = _max_pool2d(d)
    return args, {**options, "count_include_pad": d.one_of(True, False)}


def _global_pool(d: Draw) -> Drawn:
    return (d.maybe_ties(d.image() - d.one_of(0.0, 5.0)),), {}


def _squeeze(d: Draw) -> Drawn:
    return (d.maybe_ties(d.image()),), {"operator": d.one_of("avg", "max")}


def _excitation_parameters(d: Draw, c: int) -> tuple[Any, ...]:
    h = d.whole(1, 3)
    return d.normal(h, c), d.optional(d.normal(h)), d.normal(c, h), d.optional(d.normal(c))


def _gate(d: Draw) -> dict[str, str]:
    return {"gate": d.one_of("sigmoid", "tanh", "relu")}


def _se_options(d: Draw) -> dict[str, str]:
    return {"squeeze": d.one_of("avg", "max"), **_gate(d)}


def _excitation(d: Draw) -> Drawn:
    c = d.whole(1, 5)
    return (d.normal(d.whole(1, 3), c), *_excitation_parameters(d, c)), _gate(d)


def _scale(d: Draw) -> Drawn:
    u = d.image()
    return (u, d.normal(*u.shape[:2])), {}


def _squeeze_excite(d: Draw) -> Drawn:
    u = d.image()
    return (u, *_excitation_parameters(d, u.shape[1])), _se_options(d)


def _residual_add(d: Draw) -> Drawn:
    x = d.image()
    return (x, d.normal(*x.shape)), {}


def _pad_shortcut(d: Draw) -> Drawn:
    x = d.image()
    channels = d.option("channels", x.shape[1] + d.whole(0, 5))
    return (x[:, :channels],), {"channels": channels, "stride": d.int_or_pair(1, 3)}


def _concat(d: Draw) -> Drawn:
    shape = d.shape()
    axis = d.whole(-len(shape), len(shape) - 1)
    parts = []
    for _ in range(d.whole(1, 3)):
        part = list(shape)
        part[axis] = d.whole(1, 3)
        parts.append(d.normal(*part))
    return (tuple(parts),), {"axis": axis}


def _channel_shuffle(d: Draw) -> Drawn:
    groups = d.option("groups", d.whole(1, 4))
    return (d.normal(d.whole(1, 2), groups * d.whole(1, 4), d.whole(1, 3), d.whole(1, 3)),), {
        "groups": groups
    }


def _dropout(d: Draw) -> Drawn:
    return (d.normal(*d.shape()),), {"p": d.one_of(0.0, 0.2, 0.5, 0.9), "rng": d.whole(0, 99)}


def _shake(d: Draw) -> Drawn:
    a = d.image()
    options = {"alpha": tuple(d.one_of(0.0, 0.25, 0.7, 1.0) for _ in a)}
    if d.one_of(True, False):
        options["beta"] = tuple(d.one_of(0.1, 0.5) for _ in a)
    return (a, d.normal(*a.shape)), options


def _softmax_cross_entropy(d: Draw) -> Drawn:
    n, k = d.whole(1, 4), d.whole(1, 5)
    options = {"label_smoothing": d.one_of(0.0, 0.1, 1.0)}
    return (d.normal(n, k) * d.one_of(1.0, 20.0), d.labels(n, k)), options


def _conv_bn_relu(d: Draw) -> Drawn:
    (x, w, _), options = _conv2d(d, least_batch=2)
    return (x, w, d.normal(len(w)), d.normal(len(w))), options | _eps(d)


def _conv_bn_relu_inference(d: Draw) -> Drawn:
    args, options = _conv_bn_relu(d)
    o = len(args[1])
    return (*args, d.normal(o), d.positive(o)), options


def _residual_tail(d: Draw) -> Drawn:
    (c, *norm), options = _batchnorm2d(d)
    se = _excitation_parameters(d, c.shape[1]) if d.one_of(True, True, False) else (None,) * 4
    return (c, *norm, *se, d.normal(*c.shape)), options | _se_options(d)


def _residual_tail_inference(d: Draw) -> Drawn:
    (c, gamma, beta, *rest), options = _residual_tail(d)
    statistics = d.normal(c.shape[1]), d.positive(c.shape[1])
    return (c, gamma, beta, *statistics, *rest), options


def _bn_relu_se(d: Draw) -> Drawn:
    args, options = _batchnorm2d(d)
    se = _excitation_parameters(d, args[0].shape[1])
    return (*args, *se), options | _se_options(d)


def _concat_se(d: Draw) -> Drawn:
    (u, *se), options = _squeeze_excite(d)
    cuts = sorted({d.whole(0, u.shape[1]) for _ in range(d.whole(0, 2))} - {0, u.shape[1]})
    return (tuple(np.split(u, cuts, axis=1)), *se), options


def _se_add(d: Draw) -> Drawn:
    args, options = _squeeze_excite(d)
    return (*args, d.normal(*args[0].shape)), options


DRAW: dict[str, Callable[[Draw], Drawn]] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "batchnorm2d": _batchnorm2d,
    "batchnorm2d_inference": _batchnorm2d_inference,
    "relu": _activation,
    "sigmoid": _activation,
    "tanh": _activation,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "global_avg_pool": _global_pool,
    "global_max_pool": _global_pool,
    "squeeze": _squeeze,
    "excitation": _excitation,
    "scale": _scale,
    "squeeze_excite": _squeeze_excite,
    "residual_add": _residual_add,
    "pad_shortcut": _pad_shortcut,
    "concat": _concat,
    "channel_shuffle": _channel_shuffle,
    "dropout": _dropout,
    "shake": _shake,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "conv_bn_relu": _conv_bn_relu,
    "conv_bn_relu_inference": _conv_bn_relu_inference,
    "residual_tail": _residual_tail,
    "residual_tail_inference": _residual_tail_inference,
    "bn_relu_se": _bn_relu_se,
    "concat_se": _concat_se,
    "se_add": _se_add,
}
