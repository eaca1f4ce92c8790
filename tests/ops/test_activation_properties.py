"""Activations at their kinks and extremes, without a warning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from senumpy.ops import (
    relu_backward,
    relu_forward,
    sigmoid_backward,
    sigmoid_forward,
    tanh_backward,
    tanh_forward,
)
from tests.strategies import cases

EXTREMES = np.array([-np.inf, -1000.0, -0.0, 0.0, 1000.0, np.inf])


def test_relu_at_its_kink_and_at_infinity():
    # MyGrad's x * mask is NaN at -inf.
    y, cache = relu_forward(EXTREMES)
    assert np.array_equal(y, [0.0, 0.0, 0.0, 0.0, 1000.0, np.inf])
    dx = relu_backward(np.full(6, -3.0), cache).dx
    assert np.array_equal(dx, [0.0, 0.0, 0.0, 0.0, -3.0, -3.0])


def test_relu_lets_nan_through():
    assert np.isnan(relu_forward(np.array([np.nan]))[0]).all()


def test_relu_leaves_the_caller_s_gradient_alone():
    # deep-learning-from-scratch writes into dout: fatal where a shortcut uses it too.
    x, dy = np.array([-1.0, 2.0]), np.array([5.0, 7.0])
    relu_backward(dy, relu_forward(x)[1])
    assert np.array_equal(dy, [5.0, 7.0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_and_tanh_at_the_extremes(dtype):
    # Warnings are errors here: an overflow in exp would be seen.
    x, dy = EXTREMES.astype(dtype), np.ones(6, dtype)
    y, cache = sigmoid_forward(x)
    assert np.array_equal(y, [0.0, 0.0, 0.5, 0.5, 1.0, 1.0])
    assert np.array_equal(sigmoid_backward(dy, cache).dx, [0.0, 0.0, 0.25, 0.25, 0.0, 0.0])
    y, cache = tanh_forward(x)
    assert np.array_equal(y, [-1.0, -1.0, 0.0, 0.0, 1.0, 1.0])
    assert np.array_equal(tanh_backward(dy, cache).dx, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0])


def test_sigmoid_keeps_the_digits_of_small_values():
    np.testing.assert_allclose(
        sigmoid_forward(np.array([-40.0, -700.0]))[0], np.exp([-40.0, -700.0]), rtol=1e-13
    )


@given(case=cases("sigmoid"))
def test_sigmoid_is_odd_about_one_half_and_half_a_tanh(case):
    (x,) = case.args
    y = sigmoid_forward(x)[0]
    np.testing.assert_allclose(y + sigmoid_forward(-x)[0], 1.0, atol=1e-15)
    np.testing.assert_allclose(y, 0.5 + 0.5 * tanh_forward(0.5 * x)[0], atol=1e-15)


@given(case=cases("relu"))
def test_relu_is_the_positive_part(case):
    (x,) = case.args
    assert np.array_equal(relu_forward(x)[0] - relu_forward(-x)[0], x)
