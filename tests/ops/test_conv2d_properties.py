"""What makes a convolution one: linear, its backward the adjoint, the same everywhere in the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.ops import conv2d_backward, conv2d_forward, linear_forward
from tests.strategies import cases


def inner(a, b):
    return float(np.sum(a * b))


def close(a, b):
    return abs(a - b) <= 1e-12 * (1.0 + abs(a) + abs(b)) * 100


@given(case=cases("conv2d"), a=st.floats(-3, 3), seed=st.integers(0, 99))
def test_linear_in_the_image_and_in_the_kernel(case, a, seed):
    (x, w, _), rng = case.args, np.random.default_rng(seed)
    conv = lambda x, w: conv2d_forward(x, w, **case.options)[0]  # noqa: E731
    other_x, other_w = rng.normal(size=x.shape), rng.normal(size=w.shape)
    np.testing.assert_allclose(conv(a * x + other_x, w), a * conv(x, w) + conv(other_x, w), atol=1e-11)
    np.testing.assert_allclose(conv(x, a * w + other_w), a * conv(x, w) + conv(x, other_w), atol=1e-11)


@given(case=cases("conv2d"))
def test_backward_is_the_adjoint(case):
    # <conv(x), dy> = <x, conv^T(dy)>, and the same for the kernel: one number holds every index to account.
    x, w, _ = case.args
    y, cache = conv2d_forward(x, w, **case.options)
    dy = case.upstream(y)
    dx, dw, _ = conv2d_backward(dy, cache)
    assert close(inner(y, dy), inner(x, dx))
    assert close(inner(y, dy), inner(w, dw))


@pytest.mark.parametrize("axis", [2, 3])
def test_a_shifted_image_gives_a_shifted_result(axis, rng):
    x, w = rng.normal(size=(2, 3, 9, 8)), rng.normal(size=(4, 3, 3, 2))
    y = conv2d_forward(x, w)[0]
    shifted = conv2d_forward(np.roll(x, 2, axis), w)[0]
    inside = [slice(None)] * 4
    inside[axis] = slice(2, None)
    np.testing.assert_allclose(shifted[tuple(inside)], np.roll(y, 2, axis)[tuple(inside)], atol=1e-13)


def test_a_stride_takes_every_second_result(rng):
    x, w = rng.normal(size=(2, 3, 9, 8)), rng.normal(size=(4, 3, 3, 3))
    dense = conv2d_forward(x, w, padding=1)[0]
    strided = conv2d_forward(x, w, padding=1, stride=(2, 3))[0]
    np.testing.assert_allclose(strided, dense[:, :, ::2, ::3], atol=1e-13)


def test_dilation_is_a_kernel_with_holes(rng):
    x, w = rng.normal(size=(2, 3, 9, 8)), rng.normal(size=(4, 3, 2, 3))
    holes = np.zeros((4, 3, 4, 5))
    holes[:, :, ::3, ::2] = w
    dilated = conv2d_forward(x, w, dilation=(3, 2))[0]
    np.testing.assert_allclose(dilated, conv2d_forward(x, holes)[0], atol=1e-13)


def test_groups_are_convolutions_side_by_side(rng):
    x, w = rng.normal(size=(2, 6, 5, 4)), rng.normal(size=(4, 3, 2, 2))
    grouped = conv2d_forward(x, w, groups=2)[0]
    first, second = conv2d_forward(x[:, :3], w[:2])[0], conv2d_forward(x[:, 3:], w[2:])[0]
    np.testing.assert_allclose(grouped, np.concatenate([first, second], axis=1), atol=1e-13)


def test_one_by_one_is_a_linear_layer_at_each_pixel(rng):
    x, w, b = rng.normal(size=(2, 3, 4, 5)), rng.normal(size=(6, 3, 1, 1)), rng.normal(size=6)
    pixels = x.transpose(0, 2, 3, 1).reshape(-1, 3)
    want = linear_forward(pixels, w[:, :, 0, 0], b)[0].reshape(2, 4, 5, 6).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(conv2d_forward(x, w, b)[0], want, atol=1e-13)


def test_the_kernel_is_not_flipped():
    x = np.zeros((1, 1, 3, 3))
    x[0, 0, 0, 1] = 1.0
    w = np.arange(9.0).reshape(1, 1, 3, 3)
    assert conv2d_forward(x, w)[0].item() == 1.0  # flipped it would be 7


def test_padding_is_vertical_first():
    x, w = np.ones((1, 1, 2, 4)), np.ones((1, 1, 1, 1))
    assert conv2d_forward(x, w, padding=(1, 0))[0].shape == (1, 1, 4, 4)
    assert conv2d_forward(x, w, stride=(1, 2))[0].shape == (1, 1, 2, 2)


def test_entries_that_no_window_sees_get_no_gradient():
    x, w = np.ones((1, 1, 4, 4)), np.ones((1, 1, 1, 1))
    y, cache = conv2d_forward(x, w, stride=3)
    dx = conv2d_backward(np.full_like(y, -2.0), cache).dx[0, 0]
    want = np.zeros((4, 4))
    want[::3, ::3] = -2.0
    assert np.array_equal(dx, want)
