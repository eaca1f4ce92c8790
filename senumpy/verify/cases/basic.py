"""Cases of the plain operations: convolution, batch norm, linear, activations, pooling, loss, plumbing.

Sizes are small and all different (N, C, H, W, O, kh, kw), so that a swapped axis changes a shape or a
value; each case adds one thing to the last.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.verify.cases.spec import Array, Case, Draw


def _case(name: str, *args: Any, **options: Any) -> Case:
    return Case(name, args, options)


def conv2d(draw: Draw) -> list[Case]:
    """Draw convolutions: strides, paddings, dilations and groups, equal and different by axis."""
    n = draw.normal
    both = {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2}
    return [
        _case("3x3", n(2, 2, 5, 4), n(3, 2, 3, 3), n(3)),
        _case(
            "2x3, stride (2, 1), padding (1, 0)", n(2, 3, 5, 4), n(2, 3, 2, 3), stride=(2, 1), padding=(1, 0)
        ),
        _case("stride 2, padding 1", n(2, 2, 5, 6), n(2, 2, 3, 3), n(2), stride=2, padding=1),
        _case(
            "dilation (1, 2), padding (0, 2)",
            n(1, 2, 4, 5),
            n(3, 2, 2, 3),
            n(3),
            dilation=(1, 2),
            padding=(0, 2),
        ),
        _case("groups 2", n(2, 4, 3, 4), n(6, 2, 2, 2), n(6), groups=2),
        _case("depthwise, multiplier 2", n(2, 3, 4, 3), n(6, 1, 3, 2), n(6), groups=3, padding=1),
        _case("1x1, stride 2, a row left over", n(2, 3, 4, 3), n(2, 3, 1, 1), None, stride=2),
        _case("stride beyond the kernel", n(1, 2, 7, 6), n(2, 2, 2, 2), n(2), stride=3),
        _case("one sample, one window", n(1, 2, 3, 2), n(3, 2, 3, 2), n(3)),
        _case("everything at once", n(2, 4, 7, 6), n(6, 2, 2, 3), n(6), **both),
    ]


def linear(draw: Draw) -> list[Case]:
    """Draw affine maps with and without bias."""
    n = draw.normal
    return [
        _case("bias", n(3, 4), n(2, 4), n(2)),
        _case("no bias", n(4, 3), n(5, 3)),
        _case("square", n(3, 3), n(3, 3), n(3)),
        _case("one sample, one output", n(1, 4), n(1, 4), n(1)),
    ]


def batchnorm2d(draw: Draw) -> list[Case]:
    """Draw batch norm in training: few values a channel, so that 1/M and 1/(M-1) differ."""

    def arguments(*shape: int, mean: float = 0.0) -> tuple[Array, ...]:
        gamma = draw.positive(shape[1]) * draw.rng.choice([-1, 1], shape[1]).astype(draw.dtype)
        return draw.normal(*shape, mean=mean), gamma, draw.normal(shape[1])

    return [
        _case("small batch", *arguments(3, 2, 3, 2)),
        _case("large eps", *arguments(2, 3, 2, 3), eps=0.5),
        _case("one sample", *arguments(1, 2, 4, 3)),
        _case("one pixel", *arguments(5, 3, 1, 1)),
        _case("mean 300: E[x^2] - E[x]^2 cancels", *arguments(4, 2, 3, 3, mean=300.0)),
    ]


def batchnorm2d_inference(draw: Draw) -> list[Case]:
    """Draw batch norm with given statistics."""

    def arguments(*shape: int) -> tuple[Array, ...]:
        C = shape[1]
        return draw.normal(*shape), draw.normal(C), draw.normal(C), draw.normal(C), draw.positive(C)

    return [
        _case("small batch", *arguments(3, 2, 3, 2)),
        _case("large eps", *arguments(2, 3, 2, 3), eps=0.5),
        _case("one value a channel", *arguments(1, 4, 1, 1)),
    ]


def smooth_activation(draw: Draw) -> list[Case]:
    """Draw inputs of sigmoid and tanh, from the linear part far into saturation."""
    saturated = np.array([[-40.0, -20.0, 0.0], [0.5, 20.0, 40.0]], draw.dtype)
    overflow = np.array([-1000.0, -0.5, 0.3, 1000.0], draw.dtype)
    return [
        _case("image", draw.normal(2, 3, 3, 2, scale=2.0)),
        _case("vector", draw.normal(5)),
        _case("saturated", saturated),
        _case("where exp overflows", overflow),
    ]


def relu(draw: Draw) -> list[Case]:
    """Draw inputs of ReLU on both sides of zero, and exactly there."""
    zeros = np.array([[0.0, -0.0, 1.5], [-1.0, 0.0, 2.0]], draw.dtype)
    return [
        _case("image", draw.spaced(2, 3, 3, 2)),
        _case("matrix", draw.spaced(4, 3)),
        _case("vector", draw.spaced(7)),
        Case("at zero", (zeros,), kink=True),
    ]


def max_pool2d(draw: Draw) -> list[Case]:
    """Draw max pools; the overlapping ones add gradients, all-negative inputs betray padding by zeros."""
    s = draw.spaced
    ties = np.round(draw.normal(2, 2, 5, 4))
    return [
        _case("2x2", s(2, 3, 4, 6), kernel=2),
        _case("a row left over", s(2, 2, 5, 4), kernel=(2, 3)),
        _case("overlapping, padded, negative", s(2, 2, 6, 5) - 10, kernel=3, stride=2, padding=1),
        _case("ceil mode", s(1, 3, 6, 5) - 10, kernel=3, stride=2, ceil_mode=True),
        _case("different by axis", s(2, 2, 5, 6) - 10, kernel=(3, 2), stride=(1, 2), padding=(1, 0)),
        _case(
            "ceil mode, padded",
            s(2, 1, 7, 6) - 10,
            kernel=(2, 3),
            stride=(3, 2),
            padding=(1, 1),
            ceil_mode=True,
        ),
        Case("ties", (ties,), {"kernel": 3, "stride": 1, "padding": 1}, kink=True),
        Case("all equal", (np.zeros((1, 2, 4, 3), draw.dtype),), {"kernel": 2, "stride": 1}, kink=True),
    ]


def avg_pool2d(draw: Draw) -> list[Case]:
    """Draw average pools; the divisor differs at the border."""
    n = draw.normal
    out = {"count_include_pad": False}
    return [
        _case("2x2", n(2, 3, 4, 6), kernel=2),
        _case("a row left over", n(2, 2, 5, 4), kernel=(2, 3)),
        _case("overlapping, padded", n(2, 2, 6, 5), kernel=3, stride=2, padding=1),
        _case("padding not counted", n(2, 2, 6, 5), kernel=3, stride=2, padding=1, **out),
        _case("ceil mode", n(1, 3, 6, 5), kernel=3, stride=2, ceil_mode=True),
        _case(
            "ceil mode, padded", n(2, 1, 7, 6), kernel=(2, 3), stride=(3, 2), padding=(1, 1), ceil_mode=True
        ),
        _case(
            "ceil mode, padding not counted",
            n(2, 1, 6, 6),
            kernel=3,
            stride=2,
            padding=1,
            ceil_mode=True,
            **out,
        ),
        _case("different by axis", n(2, 2, 5, 6), kernel=(3, 2), stride=(1, 2), padding=(1, 0)),
    ]


def global_avg_pool(draw: Draw) -> list[Case]:
    """Draw images for the global mean."""
    return [
        _case("image", draw.normal(2, 3, 4, 5)),
        _case("one sample", draw.normal(1, 2, 3, 2)),
        _case("one pixel", draw.normal(3, 2, 1, 1)),
    ]


def global_max_pool(draw: Draw) -> list[Case]:
    """Draw images for the global maximum, and one with ties."""
    return [
        _case("image", draw.spaced(2, 3, 4, 5)),
        _case("all negative", draw.spaced(1, 2, 3, 2) - 5),
        _case("one pixel", draw.spaced(3, 2, 1, 1)),
        Case("ties", (np.round(draw.normal(2, 3, 3, 3, scale=0.7)),), kink=True),
    ]


def residual_add(draw: Draw) -> list[Case]:
    """Draw a branch and a shortcut of one shape."""
    n = draw.normal
    return [
        _case("image", n(2, 3, 4, 2), n(2, 3, 4, 2)),
        _case("one sample", n(1, 2, 1, 3), n(1, 2, 1, 3)),
    ]


def pad_shortcut(draw: Draw) -> list[Case]:
    """Draw parameter-free shortcuts: channels added evenly and unevenly, odd sizes strided."""
    n = draw.normal
    return [
        _case("twice the channels", n(2, 2, 4, 6), channels=4),
        _case("three channels more, odd size", n(2, 3, 5, 3), channels=6, stride=2),
        _case("stride 1", n(2, 2, 3, 2), channels=5, stride=1),
        _case("no channel more", n(1, 3, 4, 5), channels=3, stride=3),
    ]


def concat(draw: Draw) -> list[Case]:
    """Draw lists of arrays that differ along the axis of concatenation."""
    n = draw.normal
    return [
        _case("channels", [n(2, 1, 2, 3), n(2, 3, 2, 3), n(2, 2, 2, 3)]),
        _case("rows", [n(1, 2, 3, 2), n(1, 2, 1, 2)], axis=2),
        _case("samples", [n(2, 3), n(1, 3)], axis=0),
        _case("one array", [n(2, 2, 2, 2)]),
    ]


def channel_shuffle(draw: Draw) -> list[Case]:
    """Draw shuffles; two groups of three are not their own inverse."""
    return [
        _case("2 groups of 3", draw.normal(2, 6, 2, 3), groups=2),
        _case("4 groups of 2", draw.normal(1, 8, 3, 2), groups=4),
        _case("1 group", draw.normal(2, 3, 2, 2), groups=1),
    ]


def shake(draw: Draw) -> list[Case]:
    """Draw two branches and their mixtures; the way back takes the forward's, so that it is a derivative."""
    n = draw.normal
    return [
        _case("two images", n(2, 3, 2, 4), n(2, 3, 2, 4), alpha=(0.3, 0.85)),
        _case("all of one, none of the other", n(2, 1, 3, 2), n(2, 1, 3, 2), alpha=(0.0, 1.0)),
        _case("evaluation", n(2, 2, 1, 2), n(2, 2, 1, 2), alpha=(0.5, 0.5), beta=(0.5, 0.5)),
    ]


def dropout(draw: Draw) -> list[Case]:
    """Draw dropouts; every call gets the generator in the same state."""

    def options(p: float) -> dict[str, Any]:
        return {"p": p, "rng": np.random.default_rng(draw.rng.integers(2**32))}

    return [
        _case("p = 0.5", draw.normal(2, 3, 4, 3), **options(0.5)),
        _case("p = 0.2", draw.normal(6, 5), **options(0.2)),
        _case("p = 0: nothing dropped", draw.normal(3, 4), **options(0.0)),
    ]


def softmax_cross_entropy(draw: Draw) -> list[Case]:
    """Draw logits and labels, with and without smoothing, up to logits of 10,000."""
    labels = draw.rng.integers
    large = np.array([[1e4, -1e4, 1e4 - 1.5], [0.5, -0.3, 0.2]], draw.dtype)
    return [
        _case("no smoothing", draw.normal(4, 5), labels(0, 5, 4)),
        _case("smoothing 0.1", draw.normal(3, 4), labels(0, 4, 3), label_smoothing=0.1),
        _case("smoothing 0.5, one sample", draw.normal(1, 3), labels(0, 3, 1), label_smoothing=0.5),
        _case("logits of 10,000", large, np.array([2, 1])),
    ]
