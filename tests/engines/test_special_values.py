"""Infinity, NaN, exact zeros and huge numbers: where fast code and careful code part."""

from __future__ import annotations

import numpy as np
import pytest

from tests.strategies import Case, results

INF, NAN = np.inf, np.nan
VALUES = np.array([-INF, -1000.0, -90.0, -0.0, 0.0, 1e-300, 90.0, 1000.0, INF])
IMAGE = np.array(
    [
        [
            [[1, 4, 2, 2], [3, NAN, 5, -INF], [6, 7, INF, 0]],
            [[-INF] * 4, [-1, -2, -3, -4], [-9] * 4],
        ]
    ]
)
LOGITS = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [700, 710, -INF], [-1e4, -1e4, -1e4]])

CASES = [
    Case("relu", (VALUES,), {}, 1),
    Case("sigmoid", (VALUES,), {}, 2),
    Case("tanh", (VALUES,), {}, 3),
    Case("max_pool2d", (IMAGE,), {"kernel": 2, "stride": 1, "padding": 1}, 4),
    Case("max_pool2d", (IMAGE,), {"kernel": 3, "stride": 2, "ceil_mode": True}, 5),
    Case("global_max_pool", (IMAGE,), {}, 6),
    Case("squeeze", (IMAGE,), {"operator": "max"}, 7),
    Case("dropout", (VALUES,), {"rng": 3}, 8),
    Case("channel_shuffle", (IMAGE,), {"groups": 2}, 9),
    Case("pad_shortcut", (IMAGE,), {"channels": 3}, 10),
    Case("softmax_cross_entropy", (LOGITS, np.array([1, 2, 0, 1])), {}, 11),
    Case("softmax_cross_entropy", (LOGITS[[0, 1, 3]], np.array([1, 2, 0])), {"label_smoothing": 0.1}, 12),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.op}-{case.seed}")
def test_as_the_oracle_without_a_warning(engine, naive, case):
    got, want = results(engine, case), results(naive, case)
    for name, expected in want.items():
        np.testing.assert_allclose(got[name], expected, rtol=1e-12, atol=1e-30, equal_nan=True, err_msg=name)


@pytest.mark.parametrize("op", ["batchnorm2d", "conv_bn_relu", "residual_tail"])
def test_the_variance_does_not_cancel(engine, naive, op, rng):
    # E[x^2] - E[x]^2 loses all digits here: 1e6^2 eps is far above the variance of 1.
    x, gamma, beta = rng.normal(1e6, 1.0, (4, 2, 3, 5)), rng.normal(size=2), rng.normal(size=2)
    se = rng.normal(size=(1, 2)), rng.normal(size=1), rng.normal(size=(2, 1)), None
    args = {
        "batchnorm2d": (x, gamma, beta),
        "conv_bn_relu": (x, np.eye(2)[:, :, None, None], gamma, beta),
        "residual_tail": (x, gamma, beta, *se, rng.normal(size=x.shape)),
    }[op]
    case = Case(op, args, {}, seed=6)
    got, want = results(engine, case), results(naive, case)
    # The mean is rounded to 1e6 eps, and so is every difference from it; dw is a sum over entries of 1e6.
    for name, expected in want.items():
        if expected is not None:
            limit = 32 * 1e6 * np.finfo(float).eps * (1e6 if name == "dw" else 1.0)
            assert np.max(np.abs(got[name] - expected)) <= limit * (1.0 + np.max(np.abs(expected))), name
