"""What every engine promises, whatever it computes: no side effects, no aliases, the dtype that came in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import OPS, arrays_in, cases, results, run

# Promises that don't depend on numbers: some 50 shapes show a breach as well as 500.
few = settings(max_examples=min(settings().max_examples, 50))


def every_op(test):
    return pytest.mark.parametrize("op", OPS)(few(given(data=st.data())(test)))


def frozen(*values):
    """Return copies of all arrays within."""
    return [array.copy() for array in arrays_in(values)]


def unchanged(copies, *values):
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(copies, arrays_in(values), strict=True))


@every_op
def test_arguments_upstream_and_cache_are_never_changed(any_engine, op, data):
    case = data.draw(cases(op)).map(np.copy)  # writable, so that a change would go through
    before = frozen(case.args)
    y, cache = case.forward(any_engine)
    assert unchanged(before, case.args)
    dy = case.upstream(y)
    before = frozen(case.args, y, dy, cache)
    case.backward(any_engine, dy, cache)
    assert unchanged(before, case.args, y, dy, cache)


@every_op
def test_results_alias_nothing_and_are_writable(any_engine, op, data):
    case = data.draw(cases(op))
    y, _, dy, gradients = run(any_engine, case)
    others = [*arrays_in(case.args), dy]
    for result in [*arrays_in(y), *arrays_in(gradients)]:
        assert result.flags.writeable
        for other in others:
            assert not np.shares_memory(result, other)
        others.append(result)  # the next ones may not alias this one either


@every_op
def test_a_second_backward_and_a_second_run_give_the_same(any_engine, op, data):
    case = data.draw(cases(op))
    y, cache, dy, gradients = run(any_engine, case)
    assert unchanged(frozen(gradients), case.backward(any_engine, dy, cache))
    again = run(any_engine, case)
    assert unchanged(frozen(y, gradients), again.y, again.gradients)


@every_op
def test_every_result_has_the_dtype_of_the_arguments(any_engine, op, data):
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    found = results(any_engine, data.draw(cases(op)).astype(dtype))
    assert {name: a.dtype for name, a in found.items() if a is not None and a.dtype != dtype} == {}


@every_op
def test_gradients_come_in_the_order_and_shapes_of_the_arguments(any_engine, op, data):
    case = data.draw(cases(op))
    gradients = run(any_engine, case).gradients
    differentiable = case.args[:1] if op == "softmax_cross_entropy" else case.args
    assert len(gradients) == len(differentiable)
    for name, gradient, argument in zip(gradients._fields, gradients, differentiable, strict=True):
        assert name.startswith("d")
        if argument is None:
            assert gradient is None
        else:
            assert [g.shape for g in arrays_in(gradient)] == [a.shape for a in arrays_in(argument)]


@every_op
def test_backward_is_linear_in_the_upstream_gradient(any_engine, op, data):
    case = data.draw(cases(op))
    once = results(any_engine, case)
    doubled = results(any_engine, case, alter=lambda dy: -2.0 * dy)
    for name in once.keys() - {"y", "mean", "var"}:
        if once[name] is not None:
            assert np.array_equal(doubled[name], -2.0 * once[name]), name  # a power of two: exact


def test_gradients_are_named_after_the_arguments(any_engine):
    x, w = np.ones((1, 2, 3, 3)), np.ones((4, 2, 1, 1))
    y, cache = any_engine.conv2d_forward(x, w)
    gradients = any_engine.conv2d_backward(y, cache)
    assert gradients._fields == ("dx", "dw", "db")
    assert gradients.db is None
