"""The Numba engine's ways to convolve and pool, at sizes and values where they could go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import senumpy
from senumpy.engines import engine_names
from senumpy.verify.layouts import LAYOUTS, laid_out

if "numba" not in engine_names():
    pytest.skip("engine 'numba' is not installed", allow_module_level=True)

EPS32 = float(np.finfo(np.float32).eps)


# -- convolution -------------------------------------------------------------------------------------------

# Winograd's transforms multiply rounding errors: the rows of B^T sum up to 10 in absolute value, those of A^T
# to 19, each twice (two axes), those of G to at most 1. The C products of a point are summed like a random
# walk. That bounds an entry's error by (10 * 19)^2 eps sqrt(C) max|x| max|w|; what is seen is a hundredth.
WINOGRAD_GROWTH = (10 * 19) ** 2


@given(data=st.data())
def test_winograd_agrees_with_float64(numba, reference, data):
    c, o = data.draw(st.sampled_from([(16, 16), (32, 48), (64, 32), (144, 32), (32, 144)]))
    h, w = data.draw(st.integers(7, 17)), data.draw(st.integers(7, 17))
    n, padding = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    h, w = max(h, 9 - 2 * padding), max(w, 9 - 2 * padding)  # a result of at least 7x7
    x = laid_out(rng.normal(size=(n, c, h, w)), data.draw(st.sampled_from(LAYOUTS)))
    kernels = rng.normal(size=(o, c, 3, 3))
    y, cache = numba.conv2d_forward(x.astype(np.float32), kernels.astype(np.float32), padding=padding)
    assert cache.conv.way == "winograd"
    want, want_cache = reference.conv2d_forward(x, kernels, padding=padding)
    dy = rng.normal(size=y.shape)
    got = numba.conv2d_backward(dy.astype(np.float32), cache)
    wanted = reference.conv2d_backward(dy, want_cache)
    peak = [float(np.abs(a).max()) for a in (x, kernels, dy)]
    growth = WINOGRAD_GROWTH * EPS32
    assert np.abs(y - want).max() <= growth * np.sqrt(c) * peak[0] * peak[1]
    assert np.abs(got.dx - wanted.dx).max() <= growth * np.sqrt(o) * peak[1] * peak[2]
    # dw sums over tiles instead of channels, and its transforms are the transposed ones
    tiles = n * -(-y.shape[2] // 4) * -(-y.shape[3] // 4)
    assert np.abs(got.dw - wanted.dw).max() <= growth * np.sqrt(tiles) * peak[0] * peak[2]


@pytest.mark.parametrize("batch_size", [1, 40])  # in phases, and fused
def test_both_forms_of_winograd(numba, reference, rng, batch_size):
    x, w = rng.normal(size=(batch_size, 32, 15, 14)), rng.normal(size=(64, 32, 3, 3))
    b = 10 * rng.normal(size=64)
    got, cache = numba.conv2d_forward(*(a.astype(np.float32) for a in (x, w, b)), padding=1)
    assert cache.conv.way == "winograd"
    want, want_cache = reference.conv2d_forward(x, w, b, padding=1)
    assert np.abs(got - want).max() <= 1e-4 * want.std()
    dy = rng.normal(size=want.shape)
    found = numba.conv2d_backward(dy.astype(np.float32), cache)
    for name, expected in reference.conv2d_backward(dy, want_cache)._asdict().items():
        if expected is not None:
            assert np.abs(getattr(found, name) - expected).max() <= 2e-4 * expected.std(), name


def test_exact_and_float64_go_without_winograd(numba, exact, rng):
    x, w = rng.normal(size=(2, 32, 12, 12)), rng.normal(size=(32, 32, 3, 3))
    _, cache = numba.conv2d_forward(x, w, padding=1)
    assert cache.conv.way == "direct"
    x, w = x.astype(np.float32), w.astype(np.float32)
    y, cache = exact.conv2d_forward(x, w, padding=1)
    assert cache.conv.way == "direct"
    want, _ = numba.conv2d_forward(x.astype(np.float64), w.astype(np.float64), padding=1)
    # a sum of 288 products in float32, as a random walk
    assert np.abs(y - want).max() <= 8 * EPS32 * np.sqrt(288) * want.std()


# Sizes beyond one block of everything: rows, columns, depth, lines, panels that are not full.
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "settings", "way"),
    [
        ((3, 300, 13, 11), (531, 300, 1, 1), {}, "direct"),
        ((2, 530, 5, 5), (20, 530, 1, 1), {}, "direct"),
        ((2, 20, 40, 37), (10, 20, 1, 1), {"stride": 2}, "decimated"),
        ((2, 3, 50, 45), (24, 3, 7, 7), {"stride": 2, "padding": 3}, "direct"),
        ((2, 40, 23, 19), (150, 40, 3, 3), {"stride": 2, "padding": 1}, "direct"),
        ((2, 40, 23, 19), (24, 40, 3, 3), {"padding": 2, "dilation": 2}, "direct"),
        ((2, 24, 17, 9), (24, 24, 3, 5), {"padding": (1, 0)}, "direct"),
        ((2, 64, 14, 14), (64, 2, 3, 3), {"padding": 1, "groups": 32}, "grouped"),
        ((2, 64, 15, 14), (128, 16, 3, 3), {"padding": 1, "groups": 4, "stride": 2}, "direct"),
        ((2, 70, 15, 14), (70, 1, 3, 3), {"padding": 1, "groups": 70, "stride": 2}, "grouped"),
        ((2, 6, 15, 14), (12, 1, 5, 3), {"padding": (2, 1), "groups": 6}, "direct"),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_convolutions(numba, reference, rng, x_shape, w_shape, settings, way, dtype):
    x, w, b = (rng.normal(size=shape) for shape in (x_shape, w_shape, w_shape[:1]))
    y, cache = numba.conv2d_forward(*(a.astype(dtype) for a in (x, w, b)), **settings)
    assert cache.conv.way == way
    want, want_cache = reference.conv2d_forward(x, w, b, **settings)
    dy = rng.normal(size=want.shape)
    gradients = numba.conv2d_backward(dy.astype(dtype), cache)
    bound = 1e-12 if dtype == "float64" else 3e-5
    assert np.abs(y - want).max() <= bound * np.abs(want).max()
    for name, expected in reference.conv2d_backward(dy, want_cache)._asdict().items():
        error = np.abs(getattr(gradients, name) - expected).max()
        assert error <= bound * np.abs(expected).max(), name


# With five groups, the last block of channels is not full.
SMALL_GROUPS = [("float64", 1), ("float64", 2), ("float64", 8), ("float32", 4), ("float32", 16)]


@pytest.mark.parametrize(
    ("dtype", "members", "groups"),
    [
        *((dtype, members, groups) for dtype, members in SMALL_GROUPS for groups in (2, 5)),
        ("float64", 1, 21),  # enough channels to go by depthwise.py; the last block begins earlier
        ("float32", 1, 16),
        ("float32", 1, 35),
    ],
)
@pytest.mark.parametrize(
    ("size", "kernel", "settings"),
    [
        ((7, 9), (3, 3), {"padding": 1}),
        ((8, 7), (3, 3), {"padding": 1, "stride": 2}),
        ((9, 10), (3, 2), {"padding": (2, 0), "stride": (2, 3), "dilation": (1, 2)}),
        ((5, 7), (1, 1), {"stride": 3}),  # pixels that no window sees
        ((3, 1), (3, 3), {"padding": 3, "stride": 2}),  # windows that see no pixel
        ((28, 12), (3, 3), {"padding": 3, "stride": 5}),
        ((23, 9), (3, 1), {"padding": (4, 3), "stride": 2}),
        ((70, 33), (3, 3), {"padding": 1}),  # more lines than are copied at a time
    ],
)
def test_small_groups(numba, reference, rng, dtype, members, groups, size, kernel, settings):
    channels = members * groups
    x, w = rng.normal(size=(2, channels, *size)), rng.normal(size=(channels, members, *kernel))
    b = rng.normal(size=channels)
    y, cache = numba.conv2d_forward(*(a.astype(dtype) for a in (x, w, b)), groups=groups, **settings)
    assert cache.conv.way == "grouped"
    want, want_cache = reference.conv2d_forward(x, w, b, groups=groups, **settings)
    dy = rng.normal(size=y.shape)
    got = [y, *numba.conv2d_backward(dy.astype(dtype), cache)]
    wanted = [want, *reference.conv2d_backward(dy, want_cache)]
    for a, b in zip(got, wanted, strict=True):
        # A sum of k products of numbers around 1 is off by about sqrt(k) eps, at most by k eps.
        terms = max(members * kernel[0] * kernel[1], 2 * dy[0, 0].size)
        np.testing.assert_allclose(a, b, rtol=0, atol=terms * np.finfo(dtype).eps * (1 + abs(b).max()))


@pytest.mark.parametrize("members", [2, 16])
def test_what_is_not_finite_stays_in_its_group(numba, rng, members):
    x = rng.normal(size=(1, 2 * members, 4, 4)).astype(np.float32)
    x[0, members - 1, 1, 1] = np.inf
    w = rng.normal(size=(2 * members, members, 3, 3)).astype(np.float32)
    y, cache = numba.conv2d_forward(x, w, padding=1, groups=2)
    dx, dw, _ = numba.conv2d_backward(np.ones_like(y), cache)
    assert not np.isfinite(y[0, :members]).all()
    assert np.isfinite(y[0, members:]).all()
    assert np.isfinite(dx).all()
    assert not np.isfinite(dw[:members]).all()
    assert np.isfinite(dw[members:]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_reaches_every_window_that_sees_it(numba, exact, rng, value):
    x, w = rng.normal(size=(1, 32, 12, 12)).astype(np.float32), np.ones((32, 32, 3, 3), np.float32)
    x[0, 3, 5, 6] = value
    seen = np.zeros((12, 12), bool)
    seen[4:7, 5:8] = True
    y, _ = exact.conv2d_forward(x, w, padding=1)
    assert np.array_equal(np.isfinite(y[0, 0]), ~seen)
    y, _ = numba.conv2d_forward(x, w, padding=1)
    assert not np.isfinite(y[0][:, seen]).any()
    # Winograd may take the whole 4x4 tiles with it, no more.
    assert np.isfinite(y[0, :, :, 8:]).all()


# -- pooling: blocks of channels in registers, and a rest of three -------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": 3, "stride": 2, "padding": 1},
        {"kernel": (2, 3), "stride": 1},
        {"kernel": 3, "stride": 2, "ceil_mode": True},
        {"kernel": 17, "stride": 1, "padding": 8},  # more taps than a byte can number
    ],
)
def test_max_pool_ties_and_nan(numba, reference, rng, settings, dtype):
    x = rng.integers(3, size=(2, 35, 18, 17)).astype(dtype)  # three values: ties everywhere
    x[0, [2, 33], 5, 6] = np.nan
    x[1, [3, 34], 4, 4] = -np.inf
    y, cache = numba.max_pool2d_forward(x, **settings)
    want, want_cache = reference.max_pool2d_forward(x, **settings)
    np.testing.assert_array_equal(y, want)
    dy = rng.integers(-9, 9, size=y.shape).astype(dtype)  # small ints: their sums are exact
    dx, wanted = numba.max_pool2d_backward(dy, cache).dx, reference.max_pool2d_backward(dy, want_cache).dx
    np.testing.assert_array_equal(dx, wanted)


# -- the memory around results -----------------------------------------------------------------------------

GUARD = 64  # numbers


class Guarded:
    """A memory that lays words around each array, and says whether they still stand."""

    def __init__(self):
        self.given = []

    def empty(self, count, dtype):
        whole = np.full(count + 2 * GUARD, 77, dtype)
        self.given.append(whole)
        return whole[GUARD : GUARD + count]

    def assert_whole(self):
        for whole in self.given:
            assert (whole[:GUARD] == 77).all()
            assert (whole[whole.size - GUARD :] == 77).all()


@given(data=st.data())
def test_no_convolution_writes_beside_its_results(data):
    numba = senumpy.engine("numba", threads=1)
    guarded = Guarded()
    numba.runtime.memory = guarded
    numba.runtime.scratch = lambda count, dtype: guarded.empty(count, dtype).reshape(1, count)
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    settings = {
        name: data.draw(st.tuples(st.integers(least, most), st.integers(least, most)))
        for name, least, most in (("stride", 1, 5), ("padding", 0, 4), ("dilation", 1, 2))
    }
    size = [
        max(data.draw(st.integers(1, 30)), (k - 1) * d + 1 - 2 * p)
        for k, d, p in zip(kernel, settings["dilation"], settings["padding"], strict=True)
    ]
    groups, members = data.draw(st.sampled_from([(1, 3), (1, 16), (1, 37), (2, 2), (5, 4), (3, 16), (37, 1)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = rng.normal(size=(2, groups * members, *size)).astype(np.float32)
    w = rng.normal(size=(groups * members, members, *kernel)).astype(np.float32)
    y, cache = numba.conv2d_forward(x, w, groups=groups, **settings)
    numba.conv2d_backward(rng.normal(size=y.shape).astype(np.float32), cache)
    guarded.assert_whole()


def test_a_bias_gradient_over_many_pixels_is_exact(numba, rng):
    x, w, b = (np.ones(shape, np.float32) for shape in ((16, 1, 112, 112), (3, 1, 1, 1), (3,)))
    y, cache = numba.conv2d_forward(x, w, b)
    dy = rng.uniform(size=y.shape).astype(np.float32)
    db = numba.conv2d_backward(dy, cache).db
    # lines of 112 numbers are summed in float32
    np.testing.assert_allclose(db, dy.sum(axis=(0, 2, 3), dtype=np.float64), rtol=2 * np.sqrt(112) * EPS32)


def test_the_mean_of_a_large_image_keeps_its_digits(engine, rng):
    # 262,144 pixels far from zero: summed one after the other in float32 they lose five digits.
    x = (rng.normal(size=(1, 3, 512, 512)) + 100).astype("float32")
    got = engine.global_avg_pool_forward(x)[0]
    np.testing.assert_allclose(got, x.astype("float64").mean((2, 3)), rtol=2e-6)
