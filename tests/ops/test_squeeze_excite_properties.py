"""The SE block: equivariant, channel-wise, and differentiated along both of its paths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.ops import (
    residual_tail_backward,
    residual_tail_forward,
    squeeze_excite_backward,
    squeeze_excite_backward_paths,
    squeeze_excite_forward,
    squeeze_forward,
)
from tests.strategies import cases


def permuted(array, order):
    """Permute the pixels of (N, C, H, W)."""
    n, c, h, w = array.shape
    return array.reshape(n, c, h * w)[:, :, order].reshape(array.shape)


@given(case=cases("squeeze_excite"), seed=st.integers(0, 99))
def test_equivariant_to_permutations_of_the_pixels(case, seed):
    # No equality to the bit: the average of other orders is rounded otherwise.
    u, *rest = case.args
    order = np.random.default_rng(seed).permutation(u.shape[2] * u.shape[3])
    y, cache = squeeze_excite_forward(u, *rest, **case.options)
    y_permuted, cache_permuted = squeeze_excite_forward(permuted(u, order), *rest, **case.options)
    np.testing.assert_allclose(y_permuted, permuted(y, order), rtol=1e-9, atol=1e-11)
    dy = case.upstream(y)
    du = squeeze_excite_backward(dy, cache).du
    du_permuted = squeeze_excite_backward(permuted(dy, order), cache_permuted).du
    np.testing.assert_allclose(du_permuted, permuted(du, order), rtol=1e-9, atol=1e-11)


@given(case=cases("squeeze_excite"))
def test_the_two_paths_sum_to_the_gradient(case):
    y, cache = squeeze_excite_forward(*case.args, **case.options)
    dy = case.upstream(y)
    through_scale, through_gate = squeeze_excite_backward_paths(dy, cache)
    np.testing.assert_allclose(
        through_scale + through_gate, squeeze_excite_backward(dy, cache).du, rtol=0, atol=1e-14
    )


@pytest.mark.parametrize("squeeze", ["avg", "max"])
def test_zero_weights_give_gates_of_one_half(squeeze, rng):
    u = rng.normal(size=(2, 4, 3, 5))
    zeros = np.zeros((2, 4)), np.zeros(2), np.zeros((4, 2)), np.zeros(4)
    y, cache = squeeze_excite_forward(u, *zeros, squeeze=squeeze)
    assert np.array_equal(y, 0.5 * u)
    dy = rng.normal(size=u.shape)
    assert np.array_equal(squeeze_excite_backward(dy, cache).du, 0.5 * dy)


def alive(rng, h=8, w=8, n=2):
    """Return SE arguments whose hidden units are all active, so that the gate path is."""
    u = rng.normal(1.0, 1.0, size=(n, 3, h, w))
    return u, rng.uniform(0.2, 0.5, (2, 3)), np.ones(2), rng.normal(size=(3, 2)), np.zeros(3)


@pytest.mark.parametrize("size", [8, 56])
def test_the_gate_path_is_there_and_right_on_large_images(size, rng):
    # A dropped gate path is an error of order 1/(H W) an entry, below a loose tolerance at 56x56. Moving a
    # channel by one number moves all its pixels, so along that direction the path counts in full.
    u, *parameters = alive(rng, size, size)
    dy = rng.normal(0.5, 1.0, size=u.shape)
    _, cache = squeeze_excite_forward(u, *parameters)
    paths = squeeze_excite_backward_paths(dy, cache)
    step = 1e-5
    for c in range(3):
        direction = np.zeros_like(u)
        direction[0, c] = 1.0
        up, down = (squeeze_excite_forward(u + s * direction, *parameters)[0] for s in (step, -step))
        slope = np.sum(dy * (up - down)) / (2.0 * step)
        gate = np.sum(paths.through_gate * direction)
        assert abs(gate) > 1e-3 * abs(slope)
        assert abs(np.sum(paths.through_scale * direction) + gate - slope) < 1e-5 * abs(slope) + 1e-6


def test_the_average_squeeze_spreads_the_gate_path_evenly(rng):
    u, *parameters = alive(rng)
    y, cache = squeeze_excite_forward(u, *parameters)
    through_gate = squeeze_excite_backward_paths(rng.normal(size=y.shape), cache).through_gate
    assert np.ptp(through_gate, axis=(2, 3)).max() < 1e-15
    assert np.abs(through_gate).min() > 0.0


def test_the_maximum_squeeze_sends_the_gate_path_to_one_pixel(rng):
    u, *parameters = alive(rng)
    y, cache = squeeze_excite_forward(u, *parameters, squeeze="max")
    through_gate = squeeze_excite_backward_paths(rng.normal(size=y.shape), cache).through_gate
    first = u == u.max((2, 3), keepdims=True)
    assert np.array_equal(through_gate != 0.0, first)


def test_a_sample_s_gates_depend_on_that_sample_alone(rng):
    u, *parameters = alive(rng, n=3)
    whole = squeeze_excite_forward(u, *parameters)[0]
    for n in range(3):
        np.testing.assert_allclose(
            squeeze_excite_forward(u[n : n + 1], *parameters)[0], whole[n : n + 1], atol=1e-14
        )


def test_every_channel_s_gate_depends_on_every_channel(rng):
    u, *parameters = alive(rng)
    y = squeeze_excite_forward(u, *parameters)[0]
    for c in range(3):
        changed = u.copy()
        changed[:, c] += 0.5
        gates = squeeze_excite_forward(changed, *parameters)[0] / changed
        assert np.all(np.abs(gates - y / u).max((0, 2, 3)) > 1e-6)


def test_squeeze_is_the_average_or_the_maximum(rng):
    u = rng.normal(size=(2, 3, 4, 5))
    np.testing.assert_allclose(squeeze_forward(u)[0], u.mean((2, 3)), atol=1e-15)
    assert np.array_equal(squeeze_forward(u, operator="max")[0], u.max((2, 3)))


def test_se_stands_on_the_branch_and_before_the_sum():
    # Keras' SE-Inception-ResNet has SE after the sum; moskomule's SE-Inception never calls it. With gates of
    # 1/2 the three are told apart: relu(v/2 + shortcut), relu((v + shortcut)/2), relu(v + shortcut).
    c = np.arange(8.0).reshape(2, 2, 1, 2)
    shortcut = np.full_like(c, 10.0)
    zeros = np.zeros((1, 2)), None, np.zeros((2, 1)), None
    ones, none = np.ones(2), np.zeros(2)
    v = residual_tail_forward(c, ones, none, *(None,) * 4, np.zeros_like(c) + 100.0)[0] - 100.0
    y, cache = residual_tail_forward(c, ones, none, *zeros, shortcut)
    np.testing.assert_allclose(y, 0.5 * v + 10.0, atol=1e-12)
    assert np.array_equal(residual_tail_backward(np.ones_like(y), cache).dshortcut, np.ones_like(y))
