"""What rounding explains: right implementations stay within the bound, and the bound is tight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import senumpy
from senumpy.crosscheck.strategy import calls
from senumpy.verify import OPS
from senumpy.verify.calls import OpCall, call_of, results
from senumpy.verify.judgement import judge
from senumpy.verify.rounding import expect, longest_sum, roundoff

DTYPES = ("float32", "float64")


def answers(name, call, dtype):
    engine = senumpy.engine(name)
    pair = [getattr(engine, f"{call.op}_{side}") for side in ("forward", "backward")]
    with np.errstate(all="ignore"):
        return results(call, dtype, *pair)


@pytest.mark.parametrize("op", OPS)
@given(data=st.data())
def test_right_implementations_are_within_the_bound(op, data):
    call = data.draw(calls(op))
    dtype = data.draw(st.sampled_from(DTYPES))
    expectation = expect(call, dtype)
    # The naive engine sums in another order than NumPy; in float64 it is an implementation like any other.
    for engine in ("numpy", "naive") if dtype == "float64" else ("numpy",):
        for judgement in judge(expectation, answers(engine, call, dtype)):
            assert judgement.level in ("exact", "accurate"), (engine, judgement)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_bound_is_tight(op, dtype):
    """In ordinary calls it lets through some hundred units of roundoff; more where gates are saturated."""
    units = 2e4 if "w1" in OPS[op].arguments else 3e3
    for case in OPS[op].cases(seed=0):
        if "cancels" in case.name or "overflows" in case.name or "10,000" in case.name:
            continue
        expectation = expect(call_of(op, case), dtype)
        for name, want in expectation.want.items():
            if want is not None and np.abs(want).max() > 1e-3:
                scale = np.abs(want).max()
                assert expectation.bound(name) < units * roundoff(dtype) * scale, (case.name, name)


def test_sums_that_cancel_have_room_and_no_others():
    x = np.array([[1e4, 1.0]], np.float32).astype(float)
    w = np.array([[1.0, 1.0], [1e-4, 1.0]], np.float32).astype(float)
    large = expect(OpCall("linear", (x, w[:1], None)), "float32").bound("y")
    small = expect(OpCall("linear", (x, w[1:], None)), "float32").bound("y")
    assert large > 1000 * small


def test_the_bound_grows_with_the_roundoff_and_the_sum():
    rng = np.random.default_rng(0)

    def linear(size):
        x, w = (rng.normal(size=shape).astype(np.float32).astype(float) for shape in ((1, size), (1, size)))
        return OpCall("linear", (x, w, None))

    short, long = expect(linear(8), "float32"), expect(linear(800), "float32")
    assert long.bound("y") > 20 * short.bound("y")
    assert np.isclose(short.bound("y", 2.0**-11) / short.bound("y"), 2.0**13, rtol=1e-6)
    ratio = short.bound("y") / expect(short.call, "float64").bound("y")
    assert 2.0**28 < ratio < 2.0**30


def test_longest_sum():
    def sizes(op, *shapes):
        call = OpCall(op, tuple(np.zeros(shape) for shape in shapes))
        return longest_sum(call, np.zeros((2, 5, 4, 4)))

    assert sizes("conv2d", (2, 3, 6, 6), (5, 3, 3, 3)) == 2 * 6 * 6  # the bias's gradient: over the batch
    assert sizes("conv2d", (1, 64, 3, 3), (5, 64, 3, 3)) == 64 * 9  # what a window sees
    assert sizes("linear", (2, 70), (5, 70)) == 70


def test_near_kinks_are_seen():
    def call(value):
        c = np.array([[[[1.0, -1.0]]], [[[1.0, -1.0]]]])
        one, zero = np.ones(1), np.zeros(1)
        return OpCall("residual_tail", (c, one, zero, None, None, None, None, np.full((2, 1, 1, 2), value)))

    # The branch is +-(1 - 5e-6); a shortcut of nearly its opposite leaves a sum that rounding decides.
    near = float(np.float32(0.999995))
    assert expect(call(near), "float32").near_kink
    assert not expect(call(0.5), "float32").near_kink
    assert not expect(call(near), "float64").near_kink or abs(near - 0.999995) < 1e-13


def test_exact_ties_and_zeros_are_judged():
    x = np.array([[[[1.0, 1.0], [0.0, 1.0]]]])
    expectation = expect(OpCall("max_pool2d", (x,), {"kernel": 2}), "float32")
    assert not expectation.near_kink
    got = results(expectation.call, "float32")
    got["dx"] = got["dx"][..., ::-1, ::-1].copy()  # the last of the equal maxima takes it all
    assert {j.result: j.level for j in judge(expectation, got)} == {"y": "exact", "dx": "wrong"}
    assert not expect(OpCall("relu", (np.array([0.0, -0.0, 1.0]),)), "float32").near_kink


def test_a_call_may_say_what_its_running_statistics_are():
    """A subclass that gives them keeps its say when arguments are off."""

    class Given(OpCall):
        def running(self, dtype=np.float64):
            return super().running(dtype)._replace(momentum=0.5)

    x = np.random.default_rng(0).normal(size=(3, 2, 2, 2)).astype(np.float32).astype(float)
    expectation = expect(Given("batchnorm2d", (x, np.ones(2), np.zeros(2))), "float32")
    assert expectation.bound("running_mean") < 1e-5
