"""Larger cases: sizes that fill several tiles of a kernel and the last one in part, up to 70 channels.

Float32 can't tell on which side of zero a value within rounding of it lies, and a ReLU's gradient jumps
there. So units that end in a ReLU are drawn with no value close to it: beta puts zero into a gap of each
channel's values, or a shortcut moves them away. Then float32 gradients can be held to bounds.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from senumpy import ops
from senumpy.verify.cases import Case, Draw

Array = np.ndarray[Any, np.dtype[Any]]
Drawn = tuple[tuple[Any, ...], dict[str, Any]]

MOST_TAPS = 3_000_000  # numbers that all windows of a convolution see: 24 MB as rows of float64


def large_cases(op: str, seed: int) -> list[Case]:
    """Return the larger cases of an operation that `seed` draws."""
    draw = Draw(np.random.default_rng([seed, zlib.crc32(op.encode()), 1]), np.float32)
    drawn = _conv_cases(draw, op) if "conv" in op else [_DRAW[op](draw)]
    return [_case(args, options) for args, options in drawn]


def _case(args: tuple[Any, ...], options: dict[str, Any]) -> Case:
    shapes = [str(a.shape).replace(" ", "") for a in _flat(args)[:2]]
    rest = [f"{name} {value}" for name, value in options.items() if name not in ("rng", "alpha", "beta")]
    return Case(", ".join([*shapes, *rest]), args, options)


def _flat(args: Any) -> list[Array]:
    if isinstance(args, tuple | list):
        return [array for item in args for array in _flat(item)]
    return [] if args is None else [args]


def _whole(draw: Draw, low: int, high: int) -> int:
    return int(draw.rng.integers(low, high + 1))


def _channels(draw: Draw) -> int:
    """Return a number of channels, at tiles' edges as often as anywhere."""
    return int(draw.rng.choice([_whole(draw, 1, 70), 16, 32, 33, 64]))


def _image(draw: Draw) -> Array:
    # Over two or three nearly equal values, batch norm's gradient would be nothing but rounding.
    size = _whole(draw, 4, 40), _whole(draw, 2, 40)
    return draw.normal(_whole(draw, 1, 5), _channels(draw), *size)


# -- convolution -------------------------------------------------------------------------------------------


def _conv_cases(draw: Draw, op: str) -> list[Drawn]:
    """Draw every kernel size dense, depthwise, and in groups; units in two sizes.

    Batch norm takes out the factor that a depthwise 1x1 kernel is: its gradient would be all rounding.
    """
    kinds = ("dense", "grouped", "depthwise")
    if op == "conv2d":
        return [_conv(draw, op, kernel, kind) for kernel in (1, 3, 5, 7) for kind in kinds]
    return [_conv(draw, op, 1, kind) for kind in kinds[:2]] + [_conv(draw, op, 3, kind) for kind in kinds]


def _conv(draw: Draw, op: str, kernel: int, kind: str) -> Drawn:
    least_members = 1 if op == "conv2d" else 2
    c, o, groups = max(least_members, _channels(draw)), _channels(draw), 1
    if kind == "depthwise":
        groups, o = c, c * _whole(draw, 1, 2)
    elif kind == "grouped":
        groups, members = _whole(draw, 2, 8), _whole(draw, least_members, 8)
        c, o = groups * members, groups * _whole(draw, 1, 8)
    dilation = 1 if kernel == 1 else int(draw.rng.choice([1, 1, 2]))
    options: dict[str, Any] = {
        "stride": int(draw.rng.choice([1, 1, 2, 3])),
        "padding": int(draw.rng.choice([kernel // 2 * dilation, _whole(draw, 0, kernel // 2)])),
        "dilation": dilation,
        "groups": groups,
    }
    least = dilation * (kernel - 1) + 1 + (0 if op == "conv2d" else 2 * options["stride"])
    n = _whole(draw, 2, 5)
    most = int(np.sqrt(MOST_TAPS / (n * c * kernel * kernel)))
    h, w = (max(least, min(most, _whole(draw, least, 40))) for _ in range(2))
    x, weights = draw.normal(n, c, h, w), draw.normal(o, c // groups, kernel, kernel)
    if op == "conv2d":
        bias = draw.normal(o) if _whole(draw, 0, 1) else None
        return (x, weights, bias), options
    convolved, _ = ops.conv2d_forward(x.astype(np.float64), weights.astype(np.float64), **options)
    return (x, weights, *_norm(draw, convolved, inference="inference" in op)), options


def _norm(draw: Draw, c: Array, *, inference: bool = False) -> tuple[Array, ...]:
    """Return gamma and beta, mean and variance in inference, that keep BN(c) away from zero."""
    channels = c.shape[1]
    gamma = draw.positive(channels) * draw.rng.choice([-1, 1], channels).astype(draw.dtype)
    spread = c.std() if inference else 1.0
    statistics = (draw.normal(channels), (spread**2 * draw.positive(channels)).astype(draw.dtype))
    given = statistics if inference else ()
    normal = ops.batchnorm2d_inference_forward if inference else ops.batchnorm2d_forward
    doubles = [a.astype(np.float64) for a in (c, gamma, np.zeros(channels), *given)]
    normed, _ = normal(*doubles)
    return gamma, _in_gaps(normed).astype(draw.dtype), *given


def _in_gaps(values: Array) -> Array:
    """Return, for each channel, the number to add so that zero lies in the widest gap of its middle half."""
    rows = np.sort(values.transpose(1, 0, 2, 3).reshape(values.shape[1], -1), axis=1)
    quarter = rows.shape[1] // 4
    middle = rows[:, quarter : max(quarter + 2, rows.shape[1] - quarter)]
    if middle.shape[1] < 2:
        return np.ones(len(rows))
    at = np.argmax(np.diff(middle, axis=1), axis=1)[:, None]
    return -(np.take_along_axis(middle, at, 1) + np.take_along_axis(middle, at + 1, 1))[:, 0] / 2


# -- batch norm, SE, and the units around them -------------------------------------------------------------


def _batchnorm2d(draw: Draw) -> Drawn:
    c = _image(draw)
    return (c, *_norm(draw, c)), {}


def _batchnorm2d_inference(draw: Draw) -> Drawn:
    c = _image(draw)
    return (c, *_norm(draw, c, inference=True)), {}


def _gate_weights(draw: Draw, c: int) -> tuple[Array | None, ...]:
    # Scaled as in networks: gates stay between 0.1 and 0.9, where their gradient is not next to nothing.
    hidden = _whole(draw, 1, 8)
    biases = draw.normal(hidden), draw.normal(c, scale=0.3)
    first, second = (b if _whole(draw, 0, 3) else None for b in biases)
    return draw.normal(hidden, c, scale=c**-0.5), first, draw.normal(c, hidden, scale=hidden**-0.5), second


def _se_options(draw: Draw) -> dict[str, str]:
    squeeze = str(draw.rng.choice(["avg", "avg", "max"]))
    return {"squeeze": squeeze, "gate": str(draw.rng.choice(["sigmoid", "sigmoid", "tanh", "relu"]))}


def _squeeze_excite(draw: Draw) -> Drawn:
    u = _image(draw)
    return (u, *_gate_weights(draw, u.shape[1])), _se_options(draw)


def _excitation(draw: Draw) -> Drawn:
    z = draw.normal(_whole(draw, 1, 70), _whole(draw, 1, 300))
    return (z, *_gate_weights(draw, z.shape[1])), {"gate": _se_options(draw)["gate"]}


def _concat_se(draw: Draw) -> Drawn:
    (u, *se), options = _squeeze_excite(draw)
    cuts = sorted({_whole(draw, 1, max(1, u.shape[1] - 1)) for _ in range(3)} - {u.shape[1]})
    return ([part.copy() for part in np.split(u, cuts, axis=1)], *se), options


def _se_add(draw: Draw) -> Drawn:
    args, options = _squeeze_excite(draw)
    return (*args, draw.normal(*args[0].shape)), options


def _bn_relu_se(draw: Draw) -> Drawn:
    args, _ = _batchnorm2d(draw)
    return (*args, *_gate_weights(draw, args[0].shape[1])), _se_options(draw)


def _residual_tail(draw: Draw) -> Drawn:
    return _tail(draw, _batchnorm2d(draw)[0], ops.batchnorm2d_forward)


def _residual_tail_inference(draw: Draw) -> Drawn:
    return _tail(draw, _batchnorm2d_inference(draw)[0], ops.batchnorm2d_inference_forward)


def _tail(draw: Draw, norm: tuple[Array, ...], normalise: Callable[..., Any]) -> Drawn:
    """Draw SE, or none in a third of cases, and a shortcut that keeps the sum away from zero."""
    c, options = norm[0], _se_options(draw)
    se = _gate_weights(draw, c.shape[1]) if _whole(draw, 0, 2) else (None,) * 4
    u, _ = normalise(*(a.astype(np.float64) for a in norm))
    if se[0] is not None:
        doubles: list[Any] = [None if a is None else a.astype(np.float64) for a in se]
        u, _ = ops.squeeze_excite_forward(u, *doubles, squeeze=options["squeeze"], gate=options["gate"])
    shortcut = draw.normal(*c.shape)
    total = u + shortcut
    shortcut += np.where(np.abs(total) < 0.05, np.copysign(0.1, total), 0).astype(draw.dtype)
    return (*norm, *se, shortcut), options


# -- all other operations ----------------------------------------------------------------------------------


def _values(draw: Draw) -> Drawn:
    return (draw.normal(*_image(draw).shape, scale=3.0),), {}


def _pool(draw: Draw) -> Drawn:
    kernel = _whole(draw, 1, 5)
    options: dict[str, Any] = {
        "kernel": kernel,
        "stride": _whole(draw, 1, 3),
        "padding": _whole(draw, 0, kernel // 2),
        "ceil_mode": bool(_whole(draw, 0, 1)),
    }
    size = _whole(draw, kernel, 40), _whole(draw, kernel, 40)
    # All negative: padding by zeros would win.
    return (draw.normal(_whole(draw, 1, 5), _channels(draw), *size, mean=-5.0),), options


def _avg_pool(draw: Draw) -> Drawn:
    args, options = _pool(draw)
    return args, {**options, "count_include_pad": bool(_whole(draw, 0, 1))}


def _global(draw: Draw) -> Drawn:
    return (_image(draw),), {}


def _squeeze(draw: Draw) -> Drawn:
    return (_image(draw),), {"operator": _se_options(draw)["squeeze"]}


def _linear(draw: Draw) -> Drawn:
    n, i, o = _whole(draw, 1, 70), _whole(draw, 1, 300), _whole(draw, 1, 300)
    return (draw.normal(n, i), draw.normal(o, i), draw.normal(o)), {}


def _scale(draw: Draw) -> Drawn:
    u = _image(draw)
    return (u, draw.normal(*u.shape[:2])), {}


def _two_images(draw: Draw) -> Drawn:
    x = _image(draw)
    return (x, draw.normal(*x.shape)), {}


def _shake(draw: Draw) -> Drawn:
    (a, b), _ = _two_images(draw)
    alpha, beta = (tuple(draw.rng.uniform(0, 1, len(a)).astype(np.float32).tolist()) for _ in range(2))
    return (a, b), {"alpha": alpha, "beta": beta}


def _pad_shortcut(draw: Draw) -> Drawn:
    x = _image(draw)
    return (x,), {"channels": x.shape[1] + _whole(draw, 0, 30), "stride": _whole(draw, 1, 3)}


def _concat(draw: Draw) -> Drawn:
    n, *size = _whole(draw, 1, 5), _whole(draw, 1, 40), _whole(draw, 1, 40)
    return ([draw.normal(n, _channels(draw), *size) for _ in range(_whole(draw, 1, 5))],), {}


def _channel_shuffle(draw: Draw) -> Drawn:
    groups = _whole(draw, 1, 8)
    size = _whole(draw, 1, 40), _whole(draw, 1, 40)
    return (draw.normal(_whole(draw, 1, 5), groups * _whole(draw, 1, 8), *size),), {"groups": groups}


def _dropout(draw: Draw) -> Drawn:
    return (_image(draw),), {"p": 0.2, "rng": np.random.default_rng(_whole(draw, 0, 99))}


def _softmax_cross_entropy(draw: Draw) -> Drawn:
    n = _whole(draw, 1, 70)
    labels = draw.rng.integers(0, 1000, n).astype(str(draw.rng.choice(["int64", "int32", "uint16"])))
    return (draw.normal(n, 1000, scale=5.0), labels), {"label_smoothing": 0.1 * _whole(draw, 0, 1)}


_DRAW: dict[str, Callable[[Draw], Drawn]] = {
    "batchnorm2d": _batchnorm2d,
    "batchnorm2d_inference": _batchnorm2d_inference,
    "linear": _linear,
    "relu": _values,
    "sigmoid": _values,
    "tanh": _values,
    "max_pool2d": _pool,
    "avg_pool2d": _avg_pool,
    "global_avg_pool": _global,
    "global_max_pool": _global,
    "squeeze": _squeeze,
    "excitation": _excitation,
    "scale": _scale,
    "squeeze_excite": _squeeze_excite,
    "residual_add": _two_images,
    "pad_shortcut": _pad_shortcut,
    "concat": _concat,
    "channel_shuffle": _channel_shuffle,
    "shake": _shake,
    "dropout": _dropout,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "residual_tail": _residual_tail,
    "residual_tail_inference": _residual_tail_inference,
    "bn_relu_se": _bn_relu_se,
    "concat_se": _concat_se,
    "se_add": _se_add,
}
