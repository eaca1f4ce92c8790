"""Numerical derivatives against closed forms, and how honest their error estimates are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.verify.numerical import complex_step, differences, slopes_nearby

FUNCTIONS: dict[str, Any] = {
    "exp": (np.exp, np.exp),
    "sin": (np.sin, np.cos),
    "cube": (lambda x: x**3, lambda x: 3 * x**2),
    "reciprocal": (lambda x: 1 / (x * x + 2), lambda x: -2 * x / (x * x + 2) ** 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([0.1, 1.0, 10.0]))
def test_derivatives_of_known_functions(name, seed, scale):
    f, derivative = FUNCTIONS[name]
    rng = np.random.default_rng(seed)
    x, v = rng.standard_normal(5) * scale, rng.uniform(-1, 1, 5)
    exact = derivative(x) * v
    np.testing.assert_allclose(complex_step(f, x, v), exact, rtol=1e-14, atol=0)
    opinion = differences(f, x, f(x), v, np.eye(5))
    assert not opinion.kink
    # The estimate covers the real error, and is not so wide that it would cover anything.
    assert (np.abs(opinion.value - exact) <= 10 * opinion.error + 1e-15 * np.abs(f(x))).all()
    assert (opinion.error <= 1e-6 * np.abs(exact).max()).all()


def test_complex_step_has_no_truncation_error_where_differences_have_one():
    x, v = np.array([1.5]), np.array([1.0])

    def f(z):
        return np.exp(z) / np.sqrt(np.sin(z) ** 3 + np.cos(z) ** 3)  # the example of Squire & Trapp

    exact = 4.053427893898621
    assert complex_step(f, x, v)[0] == pytest.approx(exact, rel=1e-15)
    plain = (f(x + 1e-5) - f(x - 1e-5))[0] / 2e-5
    extrapolated = differences(f, x, f(x), v, np.ones((1, 1))).value[0]
    assert abs(extrapolated - exact) < abs(plain - exact) / 10


def test_kink_is_found_and_enclosed():
    x, v = np.zeros(2), np.array([1.0, -2.0])
    opinion = differences(lambda z: np.maximum(z, 0), x, x, v, np.eye(2))
    assert opinion.kink
    np.testing.assert_allclose(opinion.lower, [0.0, -2.0], atol=1e-9)
    np.testing.assert_allclose(opinion.upper, [1.0, 0.0], atol=1e-9)


@pytest.mark.parametrize("distance", [3e-3, 3e-5])
def test_kink_nearby_is_stepped_around(distance):
    x = np.array([distance, 1.0])
    opinion = differences(np.abs, x, np.abs(x), np.array([1.0, 0.0]), np.eye(2))
    assert not opinion.kink
    np.testing.assert_allclose(opinion.value, [1.0, 0.0], atol=1e-7)


def test_pattern_decides_what_a_step_may_cross():
    x = np.array([2e-3, 1.0])
    opinion = differences(
        np.abs, x, np.abs(x), np.array([1.0, 0.0]), np.eye(2), same_piece=lambda z: bool(z[0] > 0)
    )
    assert not opinion.kink
    np.testing.assert_allclose(opinion.value, [1.0, 0.0], atol=1e-9)


def test_nearby_slopes_span_every_side_of_several_kinks():
    # relu(a) - relu(b) at a = b = 0 along (1, 1): both one-sided slopes are 0, yet a convention may say 1.
    def f(z):
        return np.array([max(z[0], 0.0) - max(z[1], 0.0)])

    low, high = slopes_nearby(f, np.zeros(2), np.ones(2), np.ones((1, 1)), np.random.default_rng(0))
    assert low[0] == pytest.approx(-1, abs=0.01)
    assert high[0] == pytest.approx(1, abs=0.01)
