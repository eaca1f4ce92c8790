"""Winograd's convolution against direct sums in extended precision, within a bound that is derived."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy import ops
from senumpy.ops.winograd import (
    A_T,
    B_T,
    G,
    input_transform,
    kernel_transform,
    output_transform,
    winograd_conv2d,
)

POINTS = (0, 1, -1, 2, -2)


def direct(x, w, padding=1):
    return ops.conv2d_forward(x.astype(np.longdouble), w.astype(np.longdouble), padding=padding)[0]


def absolute(x, w, padding):
    """Return the sum of the absolute values of all products, by the algorithm itself, for each tile of y."""
    g, b, a = (np.abs(np.array(rows)) for rows in (G, B_T, A_T))
    height, width = direct(x, w, padding).shape[2:]
    padded = np.pad(np.abs(x), ((0, 0), (0, 0), *((p, p + 6) for p in padding)))
    sums = np.zeros((len(x), len(w), height + 3, width + 3))
    for i in range(0, height, 4):
        for j in range(0, width, 4):
            v = b @ padded[:, :, i : i + 6, j : j + 6] @ b.T
            m = np.einsum("ocij,ncij->noij", g @ np.abs(w) @ g.T, v)
            sums[:, :, i : i + 4, j : j + 4] = (a @ m @ a.T)[:, :, : height + 3 - i, : width + 3 - j]
    return sums[:, :, :height, :width]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@given(
    n=st.integers(1, 2), c=st.integers(1, 5), o=st.integers(1, 4), size=st.tuples(*(st.integers(1, 14),) * 2),
    padding=st.tuples(*(st.integers(0, 3),) * 2), seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_any_size_and_padding(dtype, n, c, o, size, padding, seed):
    size = tuple(max(m, 3 - 2 * p) for m, p in zip(size, padding, strict=True))
    rng = np.random.default_rng(seed)
    x, w = rng.normal(size=(n, c, *size)).astype(dtype), rng.normal(size=(o, c, 3, 3)).astype(dtype)
    y = winograd_conv2d(x, w, padding=padding)
    want = direct(x, w, padding)
    assert y.shape == want.shape
    assert y.dtype == dtype
    # Sums of C channels and of 6 products on either side of three transforms (Higham 2002, section 3.1).
    u = np.finfo(dtype).eps / 2
    assert (np.abs(y - want) <= (c + 4 * 6 + 8) * u * absolute(x, w, padding)).all()


def test_padding_is_one_unless_it_is_said(rng):
    x, w = rng.normal(size=(1, 2, 5, 6)), rng.normal(size=(3, 2, 3, 3))
    assert np.array_equal(winograd_conv2d(x, w), winograd_conv2d(x, w, padding=1))
    assert winograd_conv2d(x, w, padding=0).shape == (1, 3, 3, 4)


def test_it_loses_two_to_four_bits_against_sums_of_products(rng):
    """Measured in float32, with 64 channels: what the file says of rounding."""
    x = rng.normal(size=(2, 64, 28, 28)).astype("float32")
    w = rng.normal(size=(16, 64, 3, 3)).astype("float32")
    want = direct(x, w)
    by_tiles, by_im2col = winograd_conv2d(x, w) - want, ops.conv2d_forward(x, w, padding=1)[0] - want
    bits = np.log2(np.sqrt(np.mean(by_tiles**2) / np.mean(by_im2col**2)))
    most = np.log2(np.abs(by_tiles).max() / np.abs(by_im2col).max())
    assert 2.0 < bits < 3.5
    assert 2.0 < most < 4.5


def test_matrices_come_from_the_points():
    """G and A evaluate polynomials; the rows of B^T are N_p = M / (t - p) and M, without their divisors."""
    assert np.array_equal(np.array(A_T).T, [[p**k for k in range(4)] for p in POINTS] + [[0, 0, 0, 1]])
    for p, g_row, b_row in zip(POINTS, G, B_T, strict=False):
        others = [q for q in POINTS if q != p]
        divisor = np.prod([p - q for q in others])
        assert [Fraction(x).limit_denominator(24) for x in g_row] == [
            Fraction(p**k, int(divisor)) for k in range(3)
        ]
        assert np.array_equal(b_row, [*np.poly(others)[::-1], 0])
    assert np.array_equal(G[5], [0, 0, 1])
    assert np.array_equal(B_T[5], np.poly(POINTS)[::-1])


def test_one_dimension_by_hand():
    """A row of six pixels and three taps: (G g) * (B^T d), then A^T, is the sliding sum."""
    d, g = np.array([1.0, -2.0, 3.0, 0.5, 4.0, -1.0]), np.array([0.5, 2.0, -1.0])
    y = np.array(A_T) @ ((np.array(G) @ g) * (np.array(B_T) @ d))
    np.testing.assert_allclose(y, [g @ d[k : k + 3] for k in range(4)], rtol=0, atol=1e-14)


def test_transforms_shapes(rng):
    w, tiles = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=(5, 2, 3, 7, 6, 6))
    assert kernel_transform(w).shape == (4, 2, 6, 6)
    assert input_transform(tiles).shape == tiles.shape
    assert output_transform(tiles).shape == (5, 2, 3, 7, 4, 4)
    for function, array in ((kernel_transform, w), (input_transform, tiles), (output_transform, tiles)):
        assert function(array.astype("float32")).dtype == np.float32


def test_the_engines_use_the_same_matrices():
    pytest.importorskip("numba")
    from senumpy.engines.numba import winograd_lanes

    class Numbers:
        """Plays the compiler's lanes with plain numbers."""

        lanes = 1
        vector = winograd_lanes.ir.VectorType(winograd_lanes.ir.DoubleType(), 1)
        builder = property(lambda self: self)

        def fadd(self, a, b):
            return a + b

        def fsub(self, a, b):
            return a - b

        def fmul(self, a, constant):
            number = constant.constant[0]
            return a * float(getattr(number, "constant", number))

    def matrix(line, width):
        return np.array([line(Numbers(), list(unit)) for unit in np.eye(width)]).T

    np.testing.assert_allclose(matrix(winograd_lanes._g, 3), G, rtol=1e-15)
    assert np.array_equal(matrix(winograd_lanes._b, 6), B_T)
    assert np.array_equal(matrix(winograd_lanes._a, 6), A_T)
    np.testing.assert_allclose(matrix(winograd_lanes._g_back, 6), np.array(G).T, rtol=1e-15)
    assert np.array_equal(matrix(winograd_lanes._a_back, 4), np.array(A_T).T)


def test_cupys_twins_use_the_same_matrices():
    from tests.cuda.twins import convolutions

    for ours, theirs in ((G, convolutions.G), (B_T, convolutions.BT), (A_T, convolutions.AT)):
        assert np.array_equal(ours, theirs)


def test_arguments_are_left_alone_and_results_are_new(rng):
    x, w = rng.normal(size=(1, 2, 6, 6)), rng.normal(size=(2, 2, 3, 3))
    kept = x.copy(), w.copy()
    y = winograd_conv2d(x, w)
    y += 1.0
    assert np.array_equal(x, kept[0])
    assert np.array_equal(w, kept[1])


@pytest.mark.parametrize(
    ("x", "w", "padding", "error", "words"),
    [
        ((1, 2, 5, 5), (3, 2, 5, 5), 1, ValueError, ["w", "(3, 2, 5, 5)", "(O, 2, 3, 3)"]),
        ((1, 2, 5, 5), (3, 4, 3, 3), 1, ValueError, ["w", "(3, 4, 3, 3)", "(O, 2, 3, 3)"]),
        ((2, 5, 5), (3, 2, 3, 3), 1, ValueError, ["x", "(2, 5, 5)"]),
        ((1, 2, 2, 5), (3, 2, 3, 3), 0, ValueError, ["kernel", "axis H"]),
        ((1, 2, 5, 5), (3, 2, 3, 3), -1, ValueError, ["padding", "-1"]),
        ((1, 2, 5, 5), (3, 2, 3, 3), 0.5, TypeError, ["padding", "0.5"]),
    ],
)
def test_refusals_name_the_argument(x, w, padding, error, words):
    with pytest.raises(error) as raised:
        winograd_conv2d(np.ones(x), np.ones(w), padding=padding)
    assert all(word in str(raised.value) for word in words)


def test_mixed_precisions_are_refused():
    with pytest.raises(TypeError, match="w: got dtype float32"):
        winograd_conv2d(np.ones((1, 1, 4, 4)), np.ones((1, 1, 3, 3), "float32"))
