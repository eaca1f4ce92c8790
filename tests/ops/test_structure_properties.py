"""Concatenation, shuffle, dropout, shortcut, residual sum: what goes in comes back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from senumpy.ops import (
    channel_shuffle_backward,
    channel_shuffle_forward,
    concat_backward,
    concat_forward,
    dropout_backward,
    dropout_forward,
    pad_shortcut_backward,
    pad_shortcut_forward,
    residual_add_backward,
    residual_add_forward,
)
from tests.strategies import cases


@given(case=cases("concat"))
def test_concat_backward_cuts_what_forward_joined(case):
    y, cache = concat_forward(*case.args, **case.options)
    parts = concat_backward(y, cache).dxs
    assert all(np.array_equal(part, x) for part, x in zip(parts, case.args[0], strict=True))


def test_concat_joins_in_order():
    a, b = np.ones((1, 1, 2, 2)), np.full((1, 2, 2, 2), 2.0)
    y = concat_forward([a, b])[0]
    assert y.shape == (1, 3, 2, 2)
    assert y[0, :, 0, 0].tolist() == [1.0, 2.0, 2.0]


@given(case=cases("channel_shuffle"))
def test_shuffle_of_the_transposed_table_is_the_inverse(case):
    (x,), groups = case.args, case.options["groups"]
    y, cache = channel_shuffle_forward(x, groups=groups)
    assert np.array_equal(channel_shuffle_forward(y, groups=x.shape[1] // groups)[0], x)
    assert np.array_equal(channel_shuffle_backward(y, cache).dx, x)


def test_shuffle_deals_the_groups_out_in_turn():
    x = np.arange(6.0).reshape(1, 6, 1, 1)
    assert channel_shuffle_forward(x, groups=2)[0].ravel().tolist() == [0, 3, 1, 4, 2, 5]
    assert channel_shuffle_forward(x, groups=3)[0].ravel().tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize("p", [0.2, 0.5, 0.9])
def test_dropout_drops_with_probability_p_and_scales_the_rest(p):
    n = 40_000
    y, _ = dropout_forward(np.ones(n), p=p, rng=np.random.default_rng(1))
    survivors = y[y != 0.0]
    np.testing.assert_allclose(survivors, 1.0 / (1.0 - p), rtol=1e-15)
    five_sigma = 5.0 * np.sqrt(p * (1.0 - p) / n)
    assert abs(len(survivors) / n - (1.0 - p)) < five_sigma
    assert abs(y.mean() - 1.0) < five_sigma / (1.0 - p)


def test_dropout_s_mask_follows_the_generator_s_state_alone():
    x = np.arange(1.0, 101.0).reshape(10, 10)
    first = dropout_forward(x, rng=np.random.default_rng(3))[0]
    assert np.array_equal(first, dropout_forward(x, rng=np.random.default_rng(3))[0])
    assert not np.array_equal(first, dropout_forward(x, rng=np.random.default_rng(4))[0])
    single = dropout_forward(x.astype(np.float32), rng=np.random.default_rng(3))[0]
    assert np.array_equal(single != 0.0, first != 0.0)
    generator = np.random.default_rng(3)
    dropout_forward(x, rng=generator)
    assert not np.array_equal(first, dropout_forward(x, rng=generator)[0])


def test_dropout_s_gradient_takes_the_mask_of_the_forward():
    x = np.ones((20, 20))
    y, cache = dropout_forward(x, p=0.3, rng=np.random.default_rng(5))
    assert np.array_equal(dropout_backward(-2.0 * x, cache).dx, -2.0 * y)


def test_dropout_of_nothing_is_a_copy(rng):
    x = rng.normal(size=(3, 4))
    y, _ = dropout_forward(x, p=0.0, rng=rng)
    assert np.array_equal(y, x)
    assert not np.shares_memory(y, x)


def test_a_dropped_infinity_is_zero():
    y = dropout_forward(np.full(50, np.inf), rng=np.random.default_rng(0))[0]
    assert set(y.tolist()) == {0.0, np.inf}


def test_pad_shortcut_by_hand():
    x = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    y, cache = pad_shortcut_forward(x, channels=4)
    assert y.shape == (1, 4, 2, 2)
    assert np.array_equal(y[0, 1], [[1.0, 3.0], [7.0, 9.0]])  # 3 channels more: one before, two behind
    assert not y[0, [0, 2, 3]].any()
    dx = pad_shortcut_backward(np.full_like(y, -1.0), cache).dx
    assert np.array_equal(dx[0, 0], [[-1, 0, -1], [0, 0, 0], [-1, 0, -1]])


def test_residual_gradients_are_apart():
    x = np.ones((1, 2, 1, 1))
    y, cache = residual_add_forward(x, 2.0 * x)
    assert np.array_equal(y, 3.0 * x)
    dy = x.copy()
    dbranch, dshortcut = residual_add_backward(dy, cache)
    dbranch *= 5.0  # a branch that scribbles on its gradient must not reach the shortcut
    assert np.array_equal(dshortcut, x)
    assert np.array_equal(dy, x)
