"""Kinks are held between one-sided derivatives, and a check that can't see anything is called vacuous."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy import ops
from senumpy.verify import check_gradients, check_like


def relu_slope(slope):
    """ReLU and its gradient with a chosen derivative at zero, without complex numbers."""

    def forward(x):
        if np.iscomplexobj(x):
            raise TypeError("real only")
        return np.maximum(x, 0), x

    def backward(dy, x):
        return dy * np.where(x == 0, slope, (x > 0) * 1).astype(dy.dtype)

    return forward, backward


POINT = np.array([[0.0, 1.5, -2.0], [0.0, 0.7, -0.4]])


def relu_pattern(args, kwargs):
    return (args[0] > 0,)


@pytest.mark.parametrize("pattern", [None, relu_pattern])
@pytest.mark.parametrize(
    ("slope", "verdict"), [(0.0, "passed"), (0.5, "passed"), (1.0, "passed"), (1.5, "failed")]
)
def test_any_subgradient_of_relu_at_zero_passes(slope, verdict, pattern):
    forward, backward = relu_slope(slope)
    report = check_gradients(forward, backward, (POINT,), pattern=pattern)
    assert report.verdict == verdict
    assert report.kinks > 0
    if verdict == "failed":
        assert "one-sided 0 and" in report.arguments[0].hint or "one-sided -" in report.arguments[0].hint


@pytest.mark.parametrize("slope", [-1.0, 0.0, 0.3, 1.0, -1.01])
def test_absolute_value_at_zero(slope):
    def backward(dy, x):
        return dy * np.where(x == 0, slope, np.sign(x))

    report = check_gradients(lambda x: (np.abs(x), x), backward, (POINT,), purity=False)
    assert report.verdict == ("failed" if slope < -1 else "passed")


def test_complex_step_of_a_maximum_takes_the_other_side():
    """np.maximum of complex numbers calls 0 + ih the larger: a derivative of 1, where ours is 0."""
    report = check_gradients(lambda x: (np.maximum(x, 0), x), lambda dy, x: dy * (x > 0), (POINT,))
    assert report.ok, report
    assert report.arguments[0].method == "complex step"


@pytest.mark.parametrize(("slope", "ok"), [(0.0, True), (1.0, False)])
def test_a_candidate_for_the_library_follows_its_convention(slope, ok):
    report = check_like("relu", *relu_slope(slope))
    assert report.ok is ok
    if not ok:
        assert report.case == "at zero"
        assert "convention gives 0" in report.reasons[0]


def test_ties_counted_twice():
    def backward(dy, cache):
        x, y = cache
        return dy[:, :, None, None] * (x == y[:, :, None, None])

    def forward(x):
        y = x.max((2, 3))
        return y, (x, y)

    tied = np.ones((1, 2, 2, 2))
    assert check_gradients(forward, backward, (tied,), purity=False).verdict == "failed"
    assert check_like("global_max_pool", forward, backward).verdict == "failed"


def test_near_a_kink_the_check_is_strict(pairs):
    """Within a step of zero, but not at it: nothing is excused."""
    x = np.array([1e-4, -1e-4, 1.0])
    report = check_gradients(pairs.relu_forward, lambda dy, x: dy * 0.5, (x,), analytic=False)
    assert report.verdict == "failed"
    assert check_gradients(pairs.relu_forward, pairs.relu_backward, (x,), analytic=False).ok


def test_all_ones_upstream_makes_batch_norm_vacuous(pairs, rng):
    """DeZero's check: with all ones the gradient is zero, so a factor of -7 makes no difference."""

    def wrong(dy, cache):
        dx, dgamma, dbeta = pairs.norm_backward(dy, cache)
        return -7 * dx, dgamma, dbeta

    args = rng.standard_normal((3, 2, 4, 3)), rng.uniform(0.5, 2, 2), rng.standard_normal(2)
    for backward in (pairs.norm_backward, wrong):
        report = check_gradients(pairs.norm_forward, backward, args, upstream=1.0)
        assert report.verdict == "vacuous"
        assert not report.ok
        assert report.arguments[0].verdict == "vacuous"
    assert check_gradients(pairs.norm_forward, pairs.norm_backward, args).verdict == "passed"
    assert check_gradients(pairs.norm_forward, wrong, args).verdict == "failed"


@pytest.mark.parametrize("analytic", [None, False])
def test_dead_hidden_relu_is_vacuous(pairs, rng, analytic):
    u = rng.uniform(0.5, 1.5, (2, 3, 2, 2))
    w1, w2 = -rng.uniform(0.5, 1.5, (2, 3)), rng.standard_normal((3, 2))

    def dropped(dy, cache):
        return pairs.gated_backward(dy, cache, gate_path=False)

    for backward in (pairs.gated_backward, dropped):
        report = check_gradients(pairs.gated_forward, backward, (u, w1, w2), analytic=analytic)
        assert [a.verdict for a in report.arguments] == ["passed", "vacuous", "vacuous"]
        assert report.verdict == "vacuous"
        assert "dw1: the true gradient is zero" in report.reasons[0]
    report = check_gradients(
        pairs.gated_forward, dropped, (u, w1, w2), analytic=analytic, pattern=pairs.gated_pattern
    )
    assert "mask 0 is off everywhere" in report.reasons[0]


def test_dead_relu_is_vacuous(rng):
    x = -rng.uniform(1, 2, (3, 4))
    report = check_gradients(ops.relu_forward, ops.relu_backward, (x,), pattern=relu_pattern)
    assert report.verdict == "vacuous"
    assert report.arguments[0].coverage == 0


def test_wrong_where_the_truth_is_zero_is_failed_and_not_vacuous(rng):
    x = -rng.uniform(1, 2, (3, 4))
    report = check_gradients(ops.relu_forward, lambda dy, cache: dy + 0, (x,), pattern=relu_pattern)
    assert report.verdict == "failed"
