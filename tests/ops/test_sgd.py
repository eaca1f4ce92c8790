"""One step of SGD, and batch norm's running statistics: against numbers written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.engines import engine
from senumpy.ops.running import running_statistics
from senumpy.ops.sgd import sgd_update


@pytest.mark.parametrize(
    ("settings", "value", "velocity"),
    [
        # gradient 2, value 10, velocity 3, lr 1/4
        ({}, 10 - 2 / 4, 2),
        ({"momentum": 0.5}, 10 - 3.5 / 4, 3.5),
        ({"momentum": 0.5, "nesterov": True}, 10 - (2 + 1.75) / 4, 3.5),
        ({"weight_decay": 0.25}, 10 - 4.5 / 4, 4.5),
        ({"momentum": 0.5, "nesterov": True, "weight_decay": 0.25}, 10 - (4.5 + 3) / 4, 6),
    ],
)
def test_a_step_by_hand(settings, value, velocity):
    theta, gradient, v = np.array([10.0]), np.array([2.0]), np.array([3.0])
    assert sgd_update(theta, gradient, v, lr=0.25, **settings) is None
    assert (theta[0], gradient[0], v[0]) == (value, 2.0, velocity)


@given(
    momentum=st.sampled_from([0.0, 0.5, 0.9]), nesterov=st.booleans(), decay=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_steps_against_plain_numbers(momentum, nesterov, decay, seed):
    rng = np.random.default_rng(seed)
    value, velocity = rng.normal(size=(2, 3)), np.zeros((2, 3))
    theta, v = value.copy(), np.zeros((2, 3))
    for lr in (0.5, 0.1, 0.02):
        gradient = rng.normal(size=(2, 3))
        sgd_update(value, gradient, velocity, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=decay)
        for at in np.ndindex(2, 3):
            g = gradient[at] + decay * theta[at]
            v[at] = momentum * v[at] + g
            theta[at] -= lr * (g + momentum * v[at]) if nesterov else lr * v[at]
    np.testing.assert_allclose(velocity, v, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(value, theta, rtol=1e-14, atol=1e-15)


def test_precision_stays_what_it_is(rng):
    value, gradient, velocity = rng.normal(size=(3, 4)).astype("float32")
    sgd_update(value, gradient, velocity, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1)
    assert value.dtype == velocity.dtype == np.float32


def test_views_are_updated_in_place(rng):
    whole = rng.normal(size=(6, 2))
    kept = whole.copy()
    sgd_update(whole[::2], np.ones((3, 2)), np.zeros((3, 2)), lr=0.5)
    assert np.array_equal(whole[::2], kept[::2] - 0.5)
    assert np.array_equal(whole[1::2], kept[1::2])


def test_engines_update_as_the_operation_says(rng):
    start = rng.normal(size=(3, 5))
    settings = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}
    ours, theirs = start.copy(), start.copy()
    sgd_update(*ours, **settings)
    engine("numpy").sgd_update(*theirs, **settings)
    assert np.array_equal(ours, theirs)


def test_running_statistics_by_hand():
    before = np.array([1.0, -1.0]), np.array([2.0, 4.0])
    mean, var = running_statistics(
        *before, np.array([5.0, 3.0]), np.array([3.0, 6.0]), count=4, momentum=0.25
    )
    assert np.array_equal(mean, [0.75 + 1.25, -0.75 + 0.75])
    assert np.array_equal(var, [1.5 + 0.25 * 4.0, 3.0 + 0.25 * 8.0])  # unbiased: times 4/3
    assert np.array_equal(before[0], [1.0, -1.0])
    assert np.array_equal(before[1], [2.0, 4.0])


def test_running_variance_is_that_of_all_values_after_one_batch_of_full_weight(rng):
    x = rng.normal(size=(7, 3))
    mean, var = running_statistics(np.zeros(3), np.ones(3), x.mean(0), x.var(0), count=7, momentum=1.0)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-15)
    np.testing.assert_allclose(var, x.var(0, ddof=1), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_engines_move_running_statistics_in_place_as_it_says(dtype, rng):
    arrays = rng.uniform(0.5, 2.0, (4, 6)).astype(dtype)
    want = running_statistics(*(a.copy() for a in arrays), count=5, momentum=0.3)
    running_mean, running_var, mean, var = arrays
    engine("numpy").move_running(running_mean, running_var, mean, var, count=5, momentum=0.3)
    assert running_mean.dtype == dtype
    assert np.array_equal(running_mean, want[0])
    assert np.array_equal(running_var, want[1])
    assert running_mean.base is arrays  # in place
