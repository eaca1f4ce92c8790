"""Infinity, NaN, exact zeros, ties and huge numbers: where fast code and careful code part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import Array
from senumpy.selftest.calls import results, to_host
from senumpy.selftest.outcome import Check, Outcome, holds, within
from senumpy.selftest.samples import Sample
from senumpy.verify import OPS

INF, NAN = np.inf, np.nan
VALUES = np.array([-INF, -1000.0, -90.0, -0.0, 0.0, 1e-30, 90.0, 1000.0, INF, NAN])
IMAGE = np.array(
    [
        [
            [[1, 4, 2, 2], [3, NAN, 5, -INF], [6, 7, INF, 0]],
            [[-INF] * 4, [-1, -2, -3, -4], [-9] * 4],
        ]
    ]
)
LOGITS = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [700, 710, -INF], [-1e4, -1e4, -1e4]])

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("relu", (VALUES,), {}),
    ("sigmoid", (VALUES,), {}),
    ("tanh", (VALUES,), {}),
    ("max_pool2d", (IMAGE,), {"kernel": 2, "stride": 1, "padding": 1}),
    ("max_pool2d", (IMAGE,), {"kernel": 3, "stride": 2, "ceil_mode": True}),
    ("global_max_pool", (IMAGE,), {}),
    ("squeeze", (IMAGE,), {"operator": "max"}),
    ("channel_shuffle", (IMAGE,), {"groups": 2}),
    ("pad_shortcut", (IMAGE,), {"channels": 3}),
    ("softmax_cross_entropy", (LOGITS, np.array([1, 2, 0, 1])), {}),
    ("softmax_cross_entropy", (LOGITS[[0, 1, 3]], np.array([1, 2, 0])), {"label_smoothing": 0.1}),
]


def special_checks(engine: Engine, oracle: Engine, ops: Sequence[str], seed: int) -> Iterator[Check]:
    """Yield checks of the values that the table above, kinks, NaN in a convolution and large means try."""
    for op, args, options in CALLS:
        sample = Sample(OPS[op], str(options or "NaN and infinity"), args, options, seed)
        if op in ops:
            yield Check(op, sample.name, seed, partial(_as_the_oracle, engine, oracle, sample))
    for op, name, args, options, wanted in CONVENTIONS:
        sample = Sample(OPS[op], name, args, options, seed)
        if op in ops:
            yield Check(op, name, seed, partial(_convention, engine, sample, wanted))
    if "conv2d" in ops:
        for kernel in (1, 3):
            name = f"{kernel}x{kernel}, NaN and infinity"
            yield Check("conv2d", name, seed, partial(_spoiled_windows, engine, kernel, seed))
    for op in ("batchnorm2d", "residual_tail", "bn_relu_se"):
        if op in ops:
            yield Check(op, "mean 1e6", seed, partial(_no_cancellation, engine, oracle, op, seed))


def _as_the_oracle(engine: Engine, oracle: Engine, sample: Sample) -> Iterator[Outcome]:
    """Hold finite values to rounding and all others to being the same, in both precisions."""
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
        got, want = results(engine, sample, dtype), results(oracle, sample, dtype)
        for name, expected in want.items():
            found = got[name]
            assert found is not None
            assert expected is not None
            alike = np.allclose(found, expected, rtol=tolerance, atol=1e-30, equal_nan=True)
            what = f"{name}, {np.dtype(dtype).name}"
            yield holds(what, alike, f"found {_text(found)}, wanted {_text(expected)}")


# The gradient at a kink is a convention: dy = 1 goes nowhere where a ReLU's argument is 0, and to the first
# of equal maxima.
ZEROS = np.array([0.0, -0.0, 1.0, -1.0])
TIES = np.array([[[[2.0, 2.0, 1.0], [2.0, 2.0, 1.0]]]])
FIRST = np.array([[[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]])
CONVENTIONS: list[tuple[str, str, tuple[Any, ...], dict[str, Any], Array]] = [
    ("relu", "zero", (ZEROS,), {}, np.array([0.0, 0.0, 1.0, 0.0])),
    ("max_pool2d", "ties", (TIES,), {"kernel": (2, 3)}, FIRST),
    ("global_max_pool", "ties", (TIES,), {}, FIRST),
    ("squeeze", "ties", (TIES,), {"operator": "max"}, FIRST),
]


def _convention(engine: Engine, sample: Sample, wanted: Array) -> Iterator[Outcome]:
    for dtype in (np.float64, np.float32):
        y, cache = sample.forward(engine, sample.on(engine, dtype))
        (gradient,) = sample.backward(engine, engine.asarray(np.ones(y.shape, dtype)), cache)
        found = to_host(engine, gradient)
        what = f"the gradient, {np.dtype(dtype).name}"
        yield holds(what, np.array_equal(found, wanted), f"found {_text(found)}, wanted {_text(wanted)}")


def _spoiled_windows(engine: Engine, kernel: int, seed: int) -> Iterator[Outcome]:
    """Yield whether a NaN and an infinity reach all windows that see them, and in float64 no others.

    In float32 a tile of Winograd's may be spoiled as a whole: there, only what is near may be.
    """
    rng = np.random.default_rng([seed, 11])
    x, w = rng.normal(size=(2, 17, 24, 23)), rng.normal(size=(33, 17, kernel, kernel))
    x[0, 3, 4, 5], x[0, 9, 4, 14] = NAN, INF
    sample = Sample(OPS["conv2d"], "", (x, w, None), {"padding": kernel // 2}, seed)
    rows, columns = np.ogrid[:24, :23]
    sees = np.zeros(x.shape[:1] + x.shape[2:], bool)  # (N, H, W), the same for each kernel
    for column in (5, 14):
        sees[0] |= (abs(rows - 4) <= kernel // 2) & (abs(columns - column) <= kernel // 2)
    for dtype, around in ((np.float64, sees), (np.float32, (np.arange(2) == 0)[:, None, None] & (rows < 12))):
        got = to_host(engine, sample.forward(engine, sample.on(engine, dtype))[0])
        finite, name = np.isfinite(got).swapaxes(0, 1), np.dtype(dtype).name
        lost = bool(finite[:, sees].any())
        yield holds(f"windows that see it, {name}", not lost, "a NaN or an infinity was lost")
        spared = bool(finite[:, ~np.broadcast_to(around, sees.shape)].all())
        yield holds(f"windows that don't, {name}", spared, "others were spoiled, too")


# E[x^2] - E[x]^2 loses all digits here: 1e6^2 eps is far above the variance of 1. The mean is rounded to
# 1e6 eps, and so is every difference from it.
def _no_cancellation(engine: Engine, oracle: Engine, op: str, seed: int) -> Iterator[Outcome]:
    rng = np.random.default_rng([seed, 13])
    x, gamma, beta = rng.normal(1e6, 1.0, (4, 2, 9, 5)), rng.normal(size=2), rng.normal(size=2)
    se = rng.normal(size=(1, 2)), rng.normal(size=1), rng.normal(size=(2, 1)), None
    args: tuple[Any, ...] = (x, gamma, beta)
    if op != "batchnorm2d":
        args += se
    if op == "residual_tail":
        args += (rng.normal(size=x.shape),)
    sample = Sample(OPS[op], "mean 1e6", args, {}, seed)
    got = results(engine, sample, np.float64)
    for name, expected in results(oracle, sample, np.float64).items():
        if expected is not None:
            limit = 32 * 1e6 * float(np.finfo(np.float64).eps) * (1.0 + float(np.max(np.abs(expected))))
            yield within(name, got[name], expected, limit)


def _text(array: Array) -> str:
    return np.array2string(array.ravel(), precision=4, threshold=12, max_line_width=10_000)
