"""Batch norm: what it doesn't see (scale and shift), and what its gradient has no part of."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.ops import (
    batchnorm2d_backward,
    batchnorm2d_forward,
    batchnorm2d_inference_backward,
    batchnorm2d_inference_forward,
)
from tests.strategies import cases

NHW = (0, 2, 3)


@given(
    case=cases("batchnorm2d"),
    scale=st.floats(0.1, 10.0),
    shift=st.floats(-10.0, 10.0),
    sign=st.sampled_from([-1, 1]),
)
def test_scale_and_shift_of_the_input_change_nothing(case, scale, shift, sign):
    x, gamma, beta = case.args
    x = x + np.arange(x.size).reshape(x.shape)  # so that no variance is near zero
    y = batchnorm2d_forward(x, gamma, beta, eps=0.0)[0]
    moved = batchnorm2d_forward(sign * scale * x + shift, sign * gamma, beta, eps=0.0)[0]
    np.testing.assert_allclose(moved, y, atol=1e-9)


@given(case=cases("batchnorm2d"))
def test_the_gradient_has_no_part_along_one_and_along_xhat(case):
    x, gamma, beta = case.args
    y, cache = batchnorm2d_forward(x, gamma, beta, eps=0.0)
    if np.min(cache.var) < 1e-3:
        return  # division by a variance that may vanish
    xhat = (x - x.mean(NHW, keepdims=True)) / x.std(NHW, keepdims=True)
    dx = batchnorm2d_backward(case.upstream(y), cache).dx
    np.testing.assert_allclose(dx.sum(NHW), 0.0, atol=1e-10)
    np.testing.assert_allclose((dx * xhat).sum(NHW), 0.0, atol=1e-10)


@given(case=cases("batchnorm2d"), value=st.floats(-5, 5))
def test_a_constant_upstream_gradient_gives_none(case, value):
    # DeZero's check used this very gradient: it passes with any factor before dx.
    y, cache = batchnorm2d_forward(*case.args, **case.options)
    dx = batchnorm2d_backward(np.full_like(y, value), cache).dx
    np.testing.assert_allclose(dx, 0.0, atol=1e-10)


def test_a_random_upstream_gradient_gives_some(rng):
    y, cache = batchnorm2d_forward(rng.normal(size=(3, 2, 4, 4)), np.ones(2), np.zeros(2))
    dy = rng.normal(size=y.shape)
    dx = batchnorm2d_backward(dy, cache).dx
    # dx is a projection of dy / std: most of it is left, with its sign.
    assert np.sum(dx * dy) > 0.8 * np.sum(dy * dy)


def test_the_result_has_the_mean_beta_and_the_deviation_gamma(rng):
    gamma, beta = np.array([2.0, -3.0]), np.array([1.0, 0.5])
    y, _ = batchnorm2d_forward(rng.normal(5, 3, size=(4, 2, 3, 5)), gamma, beta, eps=0.0)
    np.testing.assert_allclose(y.mean(NHW), beta, atol=1e-13)
    np.testing.assert_allclose(y.std(NHW), np.abs(gamma), atol=1e-13)


def test_statistics_run_over_batch_and_image(rng):
    # tinynn reduces over the batch alone; deep-learning-from-scratch normalises each pixel.
    x = rng.normal(size=(2, 3, 4, 5))
    cache = batchnorm2d_forward(x, np.ones(3), np.zeros(3))[1]
    assert cache.mean.shape == cache.var.shape == (3,)
    np.testing.assert_allclose(cache.mean, [x[:, c].mean() for c in range(3)], rtol=1e-13)
    np.testing.assert_allclose(cache.var, [x[:, c].var(ddof=0) for c in range(3)], rtol=1e-13)  # biased


@pytest.mark.parametrize(("mean", "dtype", "tolerance"), [(1e6, np.float64, 1e-9), (1e3, np.float32, 1e-3)])
def test_the_variance_does_not_cancel(mean, dtype, tolerance, rng):
    # labml computes E[x^2] - E[x]^2: at these means all of its digits are gone.
    centred = rng.normal(size=(4, 1, 8, 8)).astype(dtype)
    var = batchnorm2d_forward(centred + dtype(mean), np.ones(1, dtype), np.zeros(1, dtype))[1].var
    np.testing.assert_allclose(var, centred.astype(float).var(), rtol=tolerance)


def test_a_constant_channel_gives_beta():
    y, cache = batchnorm2d_forward(np.full((2, 1, 3, 3), 7.0), np.ones(1), np.array([0.25]))
    assert np.all(y == 0.25)
    assert np.all(np.isfinite(batchnorm2d_backward(np.ones_like(y), cache).dx))


@given(case=cases("batchnorm2d_inference"), at=st.integers(0, 2))
def test_inference_treats_each_sample_alone(case, at):
    x, *rest = case.args
    at %= len(x)
    whole = batchnorm2d_inference_forward(x, *rest, **case.options)[0]
    alone = batchnorm2d_inference_forward(x[at : at + 1], *rest, **case.options)[0]
    assert np.array_equal(whole[at : at + 1], alone)


@given(case=cases("batchnorm2d"))
def test_inference_with_the_statistics_of_the_batch_is_training(case):
    x, gamma, beta = case.args
    y, cache = batchnorm2d_forward(x, gamma, beta, **case.options)
    same, inference = batchnorm2d_inference_forward(x, gamma, beta, cache.mean, cache.var, **case.options)
    np.testing.assert_allclose(same, y, atol=1e-12)
    # and the training gradient is the inference gradients, chained through mean(x) and var(x)
    dy = case.upstream(y)
    dx, _, _, dmean, dvar = batchnorm2d_inference_backward(dy, inference)
    m = x[:, 0].size
    centred = x - cache.mean[:, None, None]
    chained = dx + (dmean[:, None, None] + 2.0 * dvar[:, None, None] * centred) / m
    np.testing.assert_allclose(chained, batchnorm2d_backward(dy, cache).dx, rtol=1e-9, atol=1e-9)
