"""Every operation and unit, forward and backward, against the loops of the naive engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import senumpy.ops
from senumpy.verify.layouts import LAYOUTS, laid_out
from tests.strategies import OPS, arrays_in, cases, results

EPS32 = float(np.finfo(np.float32).eps)


def assert_close(got, want, tolerance):
    """Hold every result to its oracle: |got - want| <= tolerance (1 + max |want|); None to None alone."""
    assert got.keys() == want.keys()
    for name, expected in want.items():
        if expected is None:
            assert got[name] is None, name
            continue
        assert got[name].shape == expected.shape, name
        limit = tolerance * (1.0 + np.max(np.abs(expected)))
        error = np.abs(got[name] - expected)
        worst = np.unravel_index(np.argmax(error), error.shape)
        assert np.all(error <= limit), f"{name}{list(worst)}: {got[name][worst]} for {expected[worst]}"


def test_every_operation_is_in_the_table():
    named = {name.removesuffix("_forward") for name in senumpy.ops.__all__ if name.endswith("_forward")}
    assert named == set(OPS)


@pytest.mark.parametrize("op", OPS)
@given(data=st.data())
def test_float64(engine, naive, op, data):
    case = data.draw(cases(op))
    layout = data.draw(st.sampled_from(LAYOUTS))
    got = results(engine, case, alter=lambda dy: laid_out(dy, layout) if dy.ndim else dy)
    assert_close(got, results(naive, case), 1e-12)


# A sum of L numbers in float32 is the exact sum of numbers that are off by at most L eps (Higham 2002, sec.
# 4.2), and a unit has a handful of sums in a row. So a float32 result has to be as close to the oracle as the
# oracle's own results are to one another when all arguments are off by delta = 8 L eps. This gives large room
# exactly where the operation is ill-conditioned or at a kink. It can't see digits lost between the arguments
# and the result: batch norm over two nearly equal values divides their difference, which is all rounding, by
# next to nothing, and its gradient then cancels. A large eps keeps that divisor away from zero.
@pytest.mark.parametrize("op", OPS)
@given(data=st.data())
def test_float32(engine, naive, op, data):
    case = data.draw(cases(op)).astype(np.float32)
    if "eps" in case.options:
        case = replace(case, options={**case.options, "eps": 0.5})
    got, exact = results(engine, case), results(naive, case.astype(np.float64))
    assert {name: a.dtype for name, a in got.items() if a is not None} == {
        name: np.dtype(np.float32) for name, a in exact.items() if a is not None
    }
    # The largest array bounds every sum; 16 leaves room for the steps of an operation without any.
    delta = 8 * EPS32 * max(16, *(array.size for array in [*arrays_in(case.args), got["y"]]))
    noise = np.random.default_rng(case.seed)

    def off(array):
        return array * (1.0 + delta * noise.choice([-1.0, 1.0], array.shape))

    others = [results(naive, case.astype(np.float64).map(off), alter=off) for _ in range(3)]
    for name, expected in exact.items():
        if expected is not None:
            spread = max(np.max(np.abs(other[name] - expected)) for other in others)
            error = np.max(np.abs(got[name] - expected))
            assert error <= delta * (1.0 + np.max(np.abs(expected))) + 3.0 * spread, name
