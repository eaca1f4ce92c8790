"""Exact, accurate, lossy, wrong: what each looks like."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy.verify.calls import OpCall, results, rounded_to
from senumpy.verify.judgement import judge, judge_result, verdict_of, within
from senumpy.verify.rounding import expect


def convolution(seed=0, kernel=3, channels=32, size=8):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(2, channels, size, size))
    w = rng.normal(size=(8, channels, kernel, kernel))
    x, w, b = (a.astype(np.float32).astype(float) for a in (x, w, rng.normal(size=8)))
    return OpCall("conv2d", (x, w, b), {"padding": kernel // 2}, seed)


@pytest.fixture(scope="module")
def expectation():
    return expect(convolution(), "float32")


def levels(expectation, got):
    return {j.result: (j.level, j.looks_like) for j in judge(expectation, got)}


def test_the_reference_rounded_once_is_exact(expectation):
    got = {name: want.astype(np.float32) for name, want in expectation.want.items()}
    assert levels(expectation, got) == dict.fromkeys(("y", "dx", "dw", "db"), ("exact", ""))


def test_float32_is_accurate_and_one_number_off_is_wrong(expectation):
    got = results(expectation.call, np.float32)
    assert verdict_of(judge(expectation, got)) == "accurate"
    got["dw"][3, 2, 1, 0] += 0.5
    bad = [j for j in judge(expectation, got) if j.level == "wrong"]
    assert [(j.result, j.index) for j in bad] == [("dw", (3, 2, 1, 0))]
    assert bad[0].max_error == pytest.approx(0.5, rel=1e-4)
    assert bad[0].max_ulp > 1e4 > 10 > bad[0].typical_ulp
    assert bad[0].ratio > 1


@pytest.mark.parametrize(("bits", "label"), [(11, "float16"), (8, "bfloat16")])
def test_inputs_rounded_to_a_shorter_format(expectation, bits, label):
    call = expectation.call
    rounded = OpCall("conv2d", tuple(rounded_to(a, bits) for a in call.args), call.options, call.seed)
    y = results(rounded, np.float32)["y"]
    assert levels(expectation, {"y": y}) == {"y": ("lossy", f"inputs rounded to {label} ({bits} bits)")}


def test_a_result_stored_in_half_precision(expectation):
    y = np.float32(np.float16(expectation.want["y"]))
    assert levels(expectation, {"y": y}) == {"y": ("lossy", "float16: the result was rounded to it")}


def test_a_number_with_few_digits_by_chance_is_not_called_float16():
    """1 - 1 leaves 0: an absolute error of a library's sigmoid, say, where the true value is tiny."""
    expectation = expect(OpCall("sigmoid", (np.array([-20.0, 0.0]),)), "float32")
    judgement = judge_result(expectation, "y", np.array([0.0, 0.5 + 2.0**-12], np.float32))
    assert judgement.level == "wrong"
    assert judgement.looks_like == ""


def test_sums_in_half_precision(expectation):
    """As many terms as there are channels and taps, each sum rounded to float16."""
    x, w, b = expectation.call.args
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    total = np.zeros((2, 8, 8, 8), np.float16)
    for c in range(x.shape[1]):
        for p in range(3):
            for q in range(3):
                window = padded[:, c, p : p + 8, q : q + 8]
                term = window[:, None] * w[:, c, p, q][:, None, None]
                total = (total + term.astype(np.float32)).astype(np.float16)
    y = total.astype(np.float32) + b.astype(np.float32)[:, None, None]
    level, looks_like = levels(expectation, {"y": y})["y"]
    assert level == "lossy"
    assert "float16" in looks_like or "lower precision" in looks_like


def test_float32_inside_float64():
    expectation = expect(convolution(), "float64")
    y = results(expectation.call, np.float32)["y"]
    assert levels(expectation, {"y": y.astype(float)}) == {
        "y": ("lossy", "float32: the result was rounded to it")
    }
    assert levels(expectation, {"y": y.astype(float) * (1 + 1e-9)}) == {
        "y": ("lossy", "float32 somewhere inside, or sums that cancel")
    }


def winograd_2d(x, w, B, G, A):
    """One output tile of a 3x3 convolution by Winograd's transforms, summed over channels, in float32."""
    B, G, A = (np.asarray(a, np.float32) for a in (B, G, A))
    V = np.einsum("ij,cjk,lk->cil", B.T, x, B.T, dtype=np.float32)
    U = np.einsum("ij,ocjk,lk->ocil", G, w, G, dtype=np.float32)
    return np.einsum("ij,ojk,lk->oil", A.T, (U * V).sum(1), A.T, dtype=np.float32)


@pytest.mark.parametrize("factor", [1.0004, 1 + 5e-5, 0.999])
def test_a_constant_factor_is_no_lost_precision(expectation, factor):
    y = (expectation.want["y"] * factor).astype(np.float32)
    assert levels(expectation, {"y": y}) == {"y": ("wrong", "")}


@pytest.mark.parametrize("bits", [11, 8])
def test_rounded_inputs_with_a_bias_as_it_is_and_a_rounded_result(expectation, bits):
    call = expectation.call
    x, w, b = call.args
    factors = OpCall("conv2d", (rounded_to(x, bits), rounded_to(w, bits), b), call.options, call.seed)
    y = results(factors, np.float32)["y"]
    assert judge_result(expectation, "y", y).looks_like.startswith("inputs rounded to")
    stored = rounded_to(y.astype(float), bits).astype(np.float32)
    assert "the result was rounded to it" in judge_result(expectation, "y", stored).looks_like


def test_sums_in_half_precision_of_an_operation_without_products():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(2, 3, 4, 5)).astype(np.float32).astype(float) for _ in range(2))
    y = (np.float16(a) + np.float16(b)).astype(np.float32)
    expectation = expect(OpCall("residual_add", (a, b)), "float32")
    assert judge_result(expectation, "y", y).level == "lossy"


def test_winograd_is_named():
    """F(6x6, 3x3) loses digits that float32 sums don't; a kernel of 1x1 could not have lost them so."""
    G = [[1, 0, 0], [-2 / 9, -2 / 9, -2 / 9], [-2 / 9, 2 / 9, -2 / 9], [1 / 90, 1 / 45, 2 / 45],
         [1 / 90, -1 / 45, 2 / 45], [32 / 45, 16 / 45, 8 / 45], [32 / 45, -16 / 45, 8 / 45],
         [0, 0, 1]]  # fmt: skip
    A = np.array([[1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [1, -1, 1, -1, 1, -1], [1, 2, 4, 8, 16, 32],
                  [1, -2, 4, -8, 16, -32], [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32],
                  [1, -1 / 2, 1 / 4, -1 / 8, 1 / 16, -1 / 32], [0, 0, 0, 0, 0, 1]])  # fmt: skip
    B = np.array([[1, 0, -21 / 4, 0, 21 / 4, 0, -1, 0], [0, 1, 1, -17 / 4, -17 / 4, 1, 1, 0],
                  [0, -1, 1, 17 / 4, -17 / 4, -1, 1, 0], [0, 1 / 2, 1 / 4, -5 / 2, -5 / 4, 2, 1, 0],
                  [0, -1 / 2, 1 / 4, 5 / 2, -5 / 4, -2, 1, 0], [0, 2, 4, -5 / 2, -5, 1 / 2, 1, 0],
                  [0, -2, 4, 5 / 2, -5, -1 / 2, 1, 0], [0, -1, 0, 21 / 4, 0, -21 / 4, 0, 1]]).T  # fmt: skip
    rng = np.random.default_rng(1)
    x, w = (rng.normal(size=s).astype(np.float32) for s in ((1, 256, 8, 8), (4, 256, 3, 3)))
    expectation = expect(OpCall("conv2d", (x.astype(float), w.astype(float), None)), "float32")
    y = winograd_2d(x[0], w, B, G, A)[None]
    judgement = judge_result(expectation, "y", y)
    plain = judge_result(expectation, "y", results(expectation.call, np.float32)["y"])
    assert judgement.max_error > 5 * plain.max_error
    worse = expectation.want["y"] + 8 * (y - expectation.want["y"])  # as with a rougher set of points
    assert "Winograd" in judge_result(expectation, "y", worse.astype(np.float32)).looks_like
    one = expect(convolution(kernel=1), "float32")
    off = one.want["y"] + 20 * one.bound("y")
    assert "Winograd" not in judge_result(one, "y", off.astype(np.float32)).looks_like


def test_wrong_shapes_none_and_values_that_are_not_finite(expectation):
    y = expectation.want["y"].astype(np.float32)
    assert judge_result(expectation, "y", y[:1]).level == "wrong"
    assert judge_result(expectation, "y", None).level == "wrong"
    for bad in (np.nan, np.inf, -np.inf):
        y = expectation.want["y"].astype(np.float32)
        y[1, 2, 3, 4] = bad
        judgement = judge_result(expectation, "y", y)
        assert (judgement.level, judgement.index) == ("wrong", (1, 2, 3, 4))
    without = expect(OpCall("linear", (np.ones((2, 2)), np.ones((2, 2)), None)), "float64")
    assert judge_result(without, "db", None).level == "exact"
    assert judge_result(without, "db", np.zeros(2)).level == "wrong"


def test_a_mistake_of_a_percent_is_wrong_where_no_precision_is_lost():
    """A leaky ReLU: no sums, no products, nothing that TF32 or float16 sums would explain."""
    x = np.array([0.5, -1.5, 2.5, -0.75])
    expectation = expect(OpCall("relu", (x,)), "float32")
    assert judge_result(expectation, "y", np.where(x > 0, x, 0.01 * x).astype(np.float32)).level == "wrong"


def test_within(expectation):
    a = results(expectation.call, np.float32)["y"]
    assert within(expectation, "y", a, expectation.want["y"])
    assert not within(expectation, "y", a, a + np.float32(0.01))
    assert within(expectation, "y", a, a + np.float32(0.01), u=2.0**-8)
    assert not within(expectation, "y", a, a[:1])
    assert within(expectation, "db", None, None)
    assert not within(expectation, "db", None, a)


def test_results_that_are_missing_are_not_judged(expectation):
    assert [j.result for j in judge(expectation, {"dx": expectation.want["dx"], "else": None})] == ["dx"]
    assert verdict_of([]) == "exact"
