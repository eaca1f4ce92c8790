"""Pooling against windows cut out by hand, and the cases that libraries got wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from senumpy.crosscheck.draws import both
from senumpy.ops import (
    avg_pool2d_backward,
    avg_pool2d_forward,
    global_avg_pool_backward,
    global_avg_pool_forward,
    global_max_pool_backward,
    global_max_pool_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)
from tests.strategies import cases


def image(rows):
    return np.array([[rows]], dtype=float)


def windows(x, options):
    """Yield (i, j, window) as slices of the padded image; padding and overhang are NaN."""
    (kh, kw), (ph, pw) = both(options["kernel"]), both(options["padding"])
    sh, sw = both(options["kernel"] if options["stride"] is None else options["stride"])
    padded = np.pad(x, ((0, 0), (0, 0), (ph, ph + kh + sh), (pw, pw + kw + sw)), constant_values=np.nan)
    i = 0
    while True:
        whole = i * sh + kh <= x.shape[2] + 2 * ph
        partial = options["ceil_mode"] and (i == 0 or (i - 1) * sh + kh < x.shape[2] + 2 * ph)
        if not whole and not (partial and i * sh < x.shape[2] + ph):
            return
        j = 0
        while True:
            whole = j * sw + kw <= x.shape[3] + 2 * pw
            partial = options["ceil_mode"] and (j == 0 or (j - 1) * sw + kw < x.shape[3] + 2 * pw)
            if not whole and not (partial and j * sw < x.shape[3] + pw):
                break
            yield i, j, padded[:, :, i * sh : i * sh + kh, j * sw : j * sw + kw]
            j += 1
        i += 1


@given(case=cases("max_pool2d"))
def test_max_pool_against_brute_force(case):
    y = max_pool2d_forward(*case.args, **case.options)[0]
    seen = np.full_like(y, np.nan)
    for i, j, window in windows(case.args[0], case.options):
        seen[:, :, i, j] = np.nanmax(window, axis=(2, 3))
    assert np.array_equal(y, seen)


@given(case=cases("avg_pool2d"))
def test_avg_pool_against_brute_force(case):
    options = {**case.options, "count_include_pad": False}
    y = avg_pool2d_forward(*case.args, **options)[0]
    seen = np.full_like(y, np.nan)
    for i, j, window in windows(case.args[0], options):
        seen[:, :, i, j] = np.nanmean(window, axis=(2, 3))
    np.testing.assert_allclose(y, seen, atol=1e-13)


@given(case=cases("max_pool2d"))
def test_max_pool_hands_on_the_whole_gradient(case):
    # Summed over the image nothing is lost and nothing comes twice: `=` for `+=` (CS231n's test let it pass,
    # since its windows don't overlap) and gradients cut from the unpadded image (numpy-ml) lose some.
    y, cache = max_pool2d_forward(*case.args, **case.options)
    dy = case.upstream(y)
    dx = max_pool2d_backward(dy, cache).dx
    np.testing.assert_allclose(dx.sum((2, 3)), dy.sum((2, 3)), atol=1e-12)


def test_overlapping_windows_add_their_gradients():
    x = image([[0, 0, 0], [0, 9, 0], [0, 0, 0]])
    y, cache = max_pool2d_forward(x, kernel=2, stride=1)
    assert np.array_equal(y, np.full((1, 1, 2, 2), 9.0))
    dx = max_pool2d_backward(image([[1, -2], [4, 8]]), cache).dx
    assert np.array_equal(dx, image([[0, 0, 0], [0, 11, 0], [0, 0, 0]]))


def test_padding_never_wins():
    # Padding with zeros would give 0 here; ignoring the padding (deep-learning-from-scratch) another shape.
    y, cache = max_pool2d_forward(image([[-1, -2], [-3, -4]]), kernel=3, stride=2, padding=1)
    assert np.array_equal(y, image([[-1]]))
    y, cache = max_pool2d_forward(image([[-1, -2], [-3, -4]]), kernel=2, stride=1, padding=1)
    assert np.array_equal(y, image([[-1, -1, -2], [-1, -1, -2], [-3, -3, -4]]))
    dx = max_pool2d_backward(image([[1, 2, 4], [8, 16, 32], [64, 128, 256]]), cache).dx
    assert np.array_equal(dx, image([[27, 36], [192, 256]]))


def test_minus_infinity_is_a_value_too():
    x = np.full((1, 1, 2, 2), -np.inf)
    y, cache = max_pool2d_forward(x, kernel=2, padding=1)
    assert np.all(y == -np.inf)
    assert max_pool2d_backward(np.ones_like(y), cache).dx.sum() == 4.0


def test_the_first_maximum_takes_the_gradient():
    y, cache = max_pool2d_forward(image([[1, 5, 5], [5, 5, 0]]), kernel=(2, 3))
    assert np.array_equal(
        max_pool2d_backward(np.full_like(y, -3.0), cache).dx, image([[0, -3, 0], [0, 0, 0]])
    )
    z, cache = global_max_pool_forward(image([[1, 5, 5], [5, 5, 0]]))
    dx = global_max_pool_backward(np.full_like(z, -3.0), cache).dx
    assert np.array_equal(dx, image([[0, -3, 0], [0, 0, 0]]))


def test_nan_propagates_to_every_window_that_sees_it():
    x = image([[np.nan, 1, 2], [3, 4, 5], [6, 7, 8]])
    y = max_pool2d_forward(x, kernel=2, stride=1)[0]
    np.testing.assert_array_equal(y, image([[np.nan, 5], [7, 8]]))
    assert np.isnan(global_max_pool_forward(x)[0]).all()
    later = max_pool2d_forward(image([[1, 2], [np.nan, 0]]), kernel=2)[0]
    assert np.isnan(later).all()


def test_nan_takes_its_window_s_gradient():
    y, cache = max_pool2d_forward(image([[1, 2], [np.nan, 0]]), kernel=2)
    assert np.array_equal(max_pool2d_backward(np.full_like(y, 2.0), cache).dx, image([[0, 0], [2, 0]]))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "floor", "ceil"),
    [
        (112, 3, 2, 0, 55, 56),  # the stem of Caffe's ResNets
        (112, 3, 2, 1, 56, 57),
        (4, 2, 2, 0, 2, 2),
        (5, 2, 2, 0, 2, 3),
        (6, 4, 3, 1, 2, 3),
        (5, 2, 3, 1, 2, 2),  # a third window would start in the padding behind: dropped
        (4, 2, 3, 1, 2, 2),  # and so would this one
        (6, 1, 4, 0, 2, 2),  # a third would start beyond the image: dropped
        (1, 3, 2, 1, 1, 1),
    ],
)
def test_output_sizes(size, kernel, stride, padding, floor, ceil):
    x = np.zeros((1, 1, size, kernel))
    for ceil_mode, want in ((False, floor), (True, ceil)):
        for forward in (max_pool2d_forward, avg_pool2d_forward):
            y, _ = forward(
                x, kernel=(kernel, 1), stride=(stride, 1), padding=(padding, 0), ceil_mode=ceil_mode
            )
            assert y.shape == (1, 1, want, kernel)


def test_ceil_mode_by_hand():
    x = image([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    y, cache = max_pool2d_forward(x, kernel=2, ceil_mode=True)
    assert np.array_equal(y, image([[5, 6], [8, 9]]))
    dx = max_pool2d_backward(image([[1, 2], [3, 4]]), cache).dx
    assert np.array_equal(dx, image([[0, 0, 0], [0, 1, 2], [0, 3, 4]]))
    y, cache = avg_pool2d_forward(x, kernel=2, ceil_mode=True)
    assert np.array_equal(y, image([[3, 4.5], [7.5, 9]]))  # what hangs over doesn't count
    dx = avg_pool2d_backward(image([[4, 2], [2, 1]]), cache).dx
    assert np.array_equal(dx, image([[1, 1, 1], [1, 1, 1], [1, 1, 1]]))


def test_the_divisor_counts_padding_or_not():
    x = image([[8, 8], [8, 8]])
    counted = avg_pool2d_forward(x, kernel=2, stride=1, padding=1)[0]
    assert np.array_equal(counted, image([[2, 4, 2], [4, 8, 4], [2, 4, 2]]))
    inside = avg_pool2d_forward(x, kernel=2, stride=1, padding=1, count_include_pad=False)
    assert np.array_equal(inside[0], np.full((1, 1, 3, 3), 8.0))
    dx = avg_pool2d_backward(np.ones((1, 1, 3, 3)), inside[1]).dx
    assert np.array_equal(dx, np.full((1, 1, 2, 2), 1 + 0.5 + 0.5 + 0.25))


def test_the_divisor_counts_the_padding_but_not_the_overhang():
    # kernel 3 from row 2 on: rows 2, 3 and the padding row 4 (rows of the padded image of 3 + 2 = 5)
    x = image([[1], [1], [1]])
    y = avg_pool2d_forward(x, kernel=(3, 1), stride=(2, 1), padding=(1, 0), ceil_mode=True)[0]
    np.testing.assert_allclose(y.ravel(), [2 / 3, 2 / 3])
    x = image([[1], [1], [1], [1]])
    y = avg_pool2d_forward(x, kernel=(3, 1), stride=(2, 1), padding=(1, 0), ceil_mode=True)[0]
    np.testing.assert_allclose(y.ravel(), [2 / 3, 1.0, 1 / 2])  # the last: one row, one padding, one overhang


def test_global_average(rng):
    x = rng.normal(size=(2, 3, 4, 5))
    z, cache = global_avg_pool_forward(x)
    np.testing.assert_allclose(z, x.reshape(2, 3, 20).mean(2), atol=1e-15)
    dz = rng.normal(size=z.shape)
    np.testing.assert_allclose(
        global_avg_pool_backward(dz, cache).dx, np.ones_like(x) * dz[:, :, None, None] / 20
    )
