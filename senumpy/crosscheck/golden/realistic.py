"""Cases of a more realistic size, beside the checker's small ones: tens of channels, sums of many terms.

Small cases betray swapped axes; these betray precision, and code paths that only large sizes take (vectors,
tiles, remainders). Sizes are no multiples of a register's width, and the whole set stays in a few megabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from senumpy.verify.cases import Case, Draw

Arguments = tuple[Any, ...]


def realistic_cases(op: str, draw: Draw) -> list[Case]:
    """Return one to four cases of an operation."""
    return _CASES[op](draw)


def _conv2d(draw: Draw) -> list[Case]:
    n = draw.normal
    return [
        Case(
            "3x3, stride 2, 16 to 24 channels",
            (n(2, 16, 13, 14), _weights(draw, 24, 16, 3, 3), n(24)),
            {"stride": 2, "padding": 1},
        ),
        Case("1x1, 72 to 40 channels", (n(2, 72, 7, 7), _weights(draw, 40, 72, 1, 1), None)),
        Case(
            "3x3, stride 1, 20 channels",
            (n(2, 20, 11, 9), _weights(draw, 20, 20, 3, 3), None),
            {"padding": 1},
        ),
        Case(
            "depthwise 5x5, 36 channels",
            (n(2, 36, 9, 10), _weights(draw, 36, 1, 5, 5), None),
            {"padding": 2, "groups": 36},
        ),
        Case(
            "stem: 7x7, stride 2, padding 3",
            (n(1, 3, 33, 35), _weights(draw, 10, 3, 7, 7), None),
            {"stride": 2, "padding": 3},
        ),
    ]


def _weights(draw: Draw, *shape: int) -> Any:
    """Return weights as large as they are in networks: results have the size of the inputs."""
    return draw.normal(*shape, scale=float(np.prod(shape[1:])) ** -0.5)


def _batchnorm2d(draw: Draw) -> list[Case]:
    return [
        Case("20 channels, 7x7", (draw.normal(6, 20, 7, 7, mean=0.5, scale=2.0), *_affine(draw, 20))),
        Case("3 channels, 27x29", (draw.normal(2, 3, 27, 29), *_affine(draw, 3)), {"eps": 1e-3}),
    ]


def _affine(draw: Draw, channels: int) -> Arguments:
    return draw.positive(channels), draw.normal(channels, scale=0.5)


def _statistics(draw: Draw, channels: int) -> Arguments:
    return draw.normal(channels), draw.positive(channels)


def _batchnorm2d_inference(draw: Draw) -> list[Case]:
    arguments = (draw.normal(4, 24, 7, 7), *_affine(draw, 24), *_statistics(draw, 24))
    return [Case("24 channels, 7x7", arguments)]


def _linear(draw: Draw) -> list[Case]:
    return [
        Case("classifier, 130 to 50", (draw.normal(12, 130), _weights(draw, 50, 130), draw.normal(50))),
        Case("one sample, 500 to 9", (draw.normal(1, 500), _weights(draw, 9, 500), draw.normal(9))),
    ]


def _activation(draw: Draw) -> list[Case]:
    return [Case("20 channels, 11x9", (draw.normal(2, 20, 11, 9, scale=3.0),))]


def _relu(draw: Draw) -> list[Case]:
    return [Case("20 channels, 11x9", (draw.spaced(2, 20, 11, 9),))]


def _max_pool2d(draw: Draw) -> list[Case]:
    stem = {"kernel": 3, "stride": 2, "padding": 1}
    return [
        Case("behind the stem: 3x3, stride 2", (draw.spaced(2, 9, 17, 14),), stem),
        Case("3x3, stride 1", (draw.spaced(1, 18, 13, 11) - 200,), {"kernel": 3, "stride": 1, "padding": 1}),
    ]


def _avg_pool2d(draw: Draw) -> list[Case]:
    return [
        Case("2x2", (draw.normal(2, 18, 14, 12),), {"kernel": 2}),
        Case("3x3, stride 1", (draw.normal(2, 9, 13, 11),), {"kernel": 3, "stride": 1, "padding": 1}),
    ]


def _global_avg_pool(draw: Draw) -> list[Case]:
    return [Case("20 channels, 7x7", (draw.normal(4, 20, 7, 7, mean=0.5),))]


def _global_max_pool(draw: Draw) -> list[Case]:
    return [Case("20 channels, 7x7", (draw.spaced(4, 20, 7, 7),))]


def _squeeze(draw: Draw) -> list[Case]:
    image = draw.normal(2, 9, 28, 26, mean=0.5)
    return [
        Case("mean, 28x26", (image,)),
        Case("maximum, 7x7", (draw.spaced(3, 20, 7, 7),), {"operator": "max"}),
    ]


def _gate_weights(draw: Draw, channels: int, hidden: int) -> Arguments:
    return (
        _weights(draw, hidden, channels),
        draw.normal(hidden, scale=0.5),
        _weights(draw, channels, hidden),
        draw.normal(channels, scale=0.5),
    )


def _excitation(draw: Draw) -> list[Case]:
    return [
        Case("96 channels, 6 hidden", (draw.normal(5, 96), *_gate_weights(draw, 96, 6))),
        Case("48 channels, tanh", (draw.normal(4, 48), *_gate_weights(draw, 48, 12)), {"gate": "tanh"}),
    ]


def _scale(draw: Draw) -> list[Case]:
    return [Case("20 channels, 9x7", (draw.normal(3, 20, 9, 7), draw.normal(3, 20)))]


def _image(draw: Draw, *shape: int) -> Any:
    """Return images whose channels differ in their means, as those of networks do."""
    return draw.normal(*shape) + draw.normal(*shape[:2], 1, 1)


def _squeeze_excite(draw: Draw) -> list[Case]:
    return [
        Case("32 channels, 7x7, reduction 16", (_image(draw, 3, 32, 7, 7), *_gate_weights(draw, 32, 2))),
        Case("20 channels, 13x11", (_image(draw, 2, 20, 13, 11), *_gate_weights(draw, 20, 5))),
    ]


def _residual_add(draw: Draw) -> list[Case]:
    return [Case("20 channels, 9x7", (draw.normal(2, 20, 9, 7), draw.normal(2, 20, 9, 7)))]


def _pad_shortcut(draw: Draw) -> list[Case]:
    return [Case("16 to 32 channels, 15x14", (draw.normal(2, 16, 15, 14),), {"channels": 32})]


def _concat(draw: Draw) -> list[Case]:
    return [Case("Inception, 4 branches", ([draw.normal(2, c, 7, 7) for c in (12, 20, 7, 9)],))]


def _channel_shuffle(draw: Draw) -> list[Case]:
    return [Case("3 groups of 8", (draw.normal(2, 24, 9, 8),), {"groups": 3})]


def _shake(draw: Draw) -> list[Case]:
    # Numbers that float32 holds: how much of each branch is then exactly the same in both dtypes.
    alpha = tuple(float(np.float32(share)) for share in draw.rng.uniform(size=5))
    return [Case("5 images", (draw.normal(5, 10, 7, 8), draw.normal(5, 10, 7, 8)), {"alpha": alpha})]


def _dropout(draw: Draw) -> list[Case]:
    rng = np.random.default_rng(draw.rng.integers(2**32))
    return [Case("before a classifier, p = 0.2", (draw.normal(6, 500),), {"p": 0.2, "rng": rng})]


def _softmax_cross_entropy(draw: Draw) -> list[Case]:
    labels = draw.rng.integers
    return [
        Case("130 classes", (draw.normal(24, 130, scale=3.0), labels(0, 130, 24))),
        Case(
            "1,000 classes, smoothing 0.1",
            (draw.normal(4, 1000, scale=2.0), labels(0, 1000, 4)),
            {"label_smoothing": 0.1},
        ),
    ]


def _conv_bn_relu(draw: Draw) -> list[Case]:
    arguments = (draw.normal(2, 20, 9, 8), _weights(draw, 24, 20, 3, 3), *_affine(draw, 24))
    return [Case("3x3, 20 to 24 channels", arguments, {"padding": 1})]


def _conv_bn_relu_inference(draw: Draw) -> list[Case]:
    (case,) = _conv_bn_relu(draw)
    return [Case(case.name, (*case.args, *_statistics(draw, 24)), case.kwargs)]


def _residual_tail(draw: Draw) -> list[Case]:
    shape = (3, 24, 7, 7)
    arguments = (_image(draw, *shape), *_affine(draw, 24), *_gate_weights(draw, 24, 6), draw.normal(*shape))
    return [Case("24 channels, 7x7", arguments)]


def _residual_tail_inference(draw: Draw) -> list[Case]:
    (case,) = _residual_tail(draw)
    c, gamma, beta, *rest = case.args
    return [Case(case.name, (c, gamma, beta, *_statistics(draw, 24), *rest))]


def _bn_relu_se(draw: Draw) -> list[Case]:
    return [
        Case("24 channels, 7x7", (_image(draw, 3, 24, 7, 7), *_affine(draw, 24), *_gate_weights(draw, 24, 6)))
    ]


def _concat_se(draw: Draw) -> list[Case]:
    branches = [_image(draw, 2, channels, 7, 7) for channels in (12, 20, 7, 9)]
    return [Case("Inception, 4 branches", (branches, *_gate_weights(draw, 48, 6)))]


def _se_add(draw: Draw) -> list[Case]:
    shape = (3, 24, 7, 7)
    return [
        Case("24 channels, 7x7", (_image(draw, *shape), *_gate_weights(draw, 24, 6), draw.normal(*shape)))
    ]


_CASES: dict[str, Callable[[Draw], list[Case]]] = {
    "conv2d": _conv2d,
    "batchnorm2d": _batchnorm2d,
    "batchnorm2d_inference": _batchnorm2d_inference,
    "linear": _linear,
    "relu": _relu,
    "sigmoid": _activation,
    "tanh": _activation,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "global_avg_pool": _global_avg_pool,
    "global_max_pool": _global_max_pool,
    "squeeze": _squeeze,
    "excitation": _excitation,
    "scale": _scale,
    "squeeze_excite": _squeeze_excite,
    "residual_add": _residual_add,
    "pad_shortcut": _pad_shortcut,
    "concat": _concat,
    "channel_shuffle": _channel_shuffle,
    "shake": _shake,
    "dropout": _dropout,
    "softmax_cross_entropy": _softmax_cross_entropy,
    "conv_bn_relu": _conv_bn_relu,
    "conv_bn_relu_inference": _conv_bn_relu_inference,
    "residual_tail": _residual_tail,
    "residual_tail_inference": _residual_tail_inference,
    "bn_relu_se": _bn_relu_se,
    "concat_se": _concat_se,
    "se_add": _se_add,
}
