"""The checker passes what is right and fails what is wrong, for the right reason."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy import InputError, ops
from senumpy.verify import check_gradients


def affine(rng, bias=True):
    return rng.standard_normal((3, 4)), rng.standard_normal((2, 4)), rng.standard_normal(2) if bias else None


def image(rng):
    return rng.standard_normal((3, 2, 4, 3)), rng.uniform(0.5, 2, 2), rng.standard_normal(2)


def gated(rng, side=4):
    """Arguments of the gated pair with both hidden units alive for some sample and dead for none of all."""
    while True:
        u = rng.standard_normal((3, 4, side, side)) + rng.standard_normal((3, 4, 1, 1))
        w1, w2 = rng.standard_normal((2, 4)), rng.standard_normal((4, 2))
        on = u.mean((2, 3)) @ w1.T > 0
        if on.any(0).all() and not on.all():
            return u, w1, w2


@pytest.mark.parametrize("analytic", [None, False])
def test_right_pairs_pass(pairs, rng, analytic):
    for name, args in (("affine", affine(rng)), ("norm", image(rng)), ("gated", gated(rng, 2))):
        forward, backward = getattr(pairs, f"{name}_forward"), getattr(pairs, f"{name}_backward")
        report = check_gradients(forward, backward, args, analytic=analytic)
        assert report.ok, report
        assert report.central_error is not None
        assert report.central_error < 1e-8
        if analytic is None:
            assert report.complex_step_error is not None
            assert report.complex_step_error < 1e-12
        else:
            assert {a.method for a in report.arguments} == {"central differences"}


@given(seed=st.integers(0, 2**32 - 1), analytic=st.sampled_from([None, False]))
def test_right_pairs_are_never_accused(pairs, seed, analytic):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 4, 4) + np.array([1, 0, 0, 1]))
    x = rng.standard_normal(shape) * 10.0 ** rng.integers(-2, 3) + rng.choice([0, 5])
    args = x, rng.standard_normal(shape[1]), rng.standard_normal(shape[1])
    report = check_gradients(pairs.norm_forward, pairs.norm_backward, args, analytic=analytic, seed=seed)
    assert report.verdict != "failed", report
    hidden = int(rng.integers(1, 4))
    weights = rng.standard_normal((hidden, shape[1])), rng.standard_normal((shape[1], hidden))
    report = check_gradients(
        pairs.gated_forward, pairs.gated_backward, (x, *weights), analytic=analytic, seed=seed
    )
    assert report.verdict != "failed", report


def test_scalar_loss_and_absent_argument(pairs, rng):
    assert check_gradients(pairs.loss_forward, pairs.loss_backward, (rng.standard_normal((3, 2)),)).ok
    report = check_gradients(pairs.affine_forward, pairs.affine_backward, affine(rng, bias=False))
    assert report.ok
    assert [a.name for a in report.arguments] == ["x", "w"]


class Gradients(NamedTuple):
    db: np.ndarray
    dw: np.ndarray
    dx: np.ndarray


FORMS: dict[str, Any] = {
    "list": list,
    "tuple": tuple,
    "dictionary of dx": lambda g: {"dx": g[0], "dw": g[1], "db": g[2]},
    "dictionary of x": lambda g: {"b": g[2], "w": g[1], "x": g[0]},
    "named tuple in another order": lambda g: Gradients(g[2], g[1], g[0]),
}


@pytest.mark.parametrize("form", FORMS)
def test_gradients_may_come_in_any_form(pairs, rng, form):
    def backward(dy, cache):
        return FORMS[form](pairs.affine_backward(dy, cache))

    assert check_gradients(pairs.affine_forward, backward, affine(rng)).ok


def test_lists_of_arrays_and_keyword_arrays(rng):
    def forward(parts, *, factor):
        return factor * np.concatenate(parts), (parts, factor)

    def backward(dy, cache):
        parts, factor = cache
        split = np.split(dy, [len(parts[0])])
        return [factor * part for part in split], (dy * np.concatenate(parts)).sum(0)

    args = ([rng.standard_normal((2, 3)), rng.standard_normal((1, 3))],)
    report = check_gradients(forward, backward, args, {"factor": rng.standard_normal(3)})
    assert report.ok, report
    assert [a.name for a in report.arguments] == ["parts[0]", "parts[1]", "factor"]


@given(
    seed=st.integers(0, 2**32 - 1), wrong=st.sampled_from([0, 1, 2]), analytic=st.sampled_from([None, False])
)
def test_one_wrong_entry_is_found_where_it_is(seed, wrong, analytic):
    rng = np.random.default_rng(seed)
    args = affine(rng)
    index = tuple(int(rng.integers(n)) for n in args[wrong].shape)

    def forward(x, w, b):
        return x @ w.T + b, (x, w)

    def backward(dy, cache):
        x, w = cache
        gradients = [dy @ w, dy.T @ x, dy.sum(0)]
        gradients[wrong] = gradients[wrong].copy()
        gradients[wrong][index] *= 1 + 1e-6
        return gradients

    report = check_gradients(forward, backward, args, analytic=analytic, purity=False)
    bad = [a for a in report.arguments if a.verdict == "failed"]
    assert [a.name for a in bad] == [("x", "w", "b")[wrong]]
    assert bad[0].index == index
    assert bad[0].ratio == pytest.approx(1 + 1e-6, abs=1e-8)


@pytest.mark.parametrize("analytic", [None, False])
def test_dropped_gate_path_at_56_by_56(pairs, rng, analytic):
    u, w1, w2 = gated(rng, 56)
    args = u, w1 / 2, w2 / 2

    def dropped(dy, cache):
        return pairs.gated_backward(dy, cache, gate_path=False)

    # An entry is off by so little that a tolerance of 1e-2 sees nothing.
    y, cache = pairs.gated_forward(*args)
    dy = rng.standard_normal(y.shape)
    np.testing.assert_allclose(
        dropped(dy, cache)[0], pairs.gated_backward(dy, cache)[0], rtol=1e-2, atol=1e-2
    )
    options = {"analytic": analytic, "purity": False, "pattern": pairs.gated_pattern}
    report = check_gradients(pairs.gated_forward, dropped, args, **options)
    assert [a.verdict for a in report.arguments] == ["failed", "passed", "passed"]
    assert check_gradients(pairs.gated_forward, pairs.gated_backward, args, **options).ok


def test_dropped_gate_path_is_recognised(pairs, rng):
    def dropped(dy, cache):
        return pairs.gated_backward(dy, cache, gate_path=False)

    report = check_gradients(pairs.gated_forward, dropped, gated(rng, 2))
    assert "constant over space" in report.arguments[0].hint


RATIOS = [
    (-1, "wrong sign"),
    (2, "doubled"),
    (0.5, "halved"),
    (0, "missing"),
    (5, "N = 5"),
    (1 / 5, "N = 5"),
    (1 / 12, "H*W = 12"),
    (12, "H*W = 12"),
    (60 / 59, "N*H*W/(N*H*W-1)"),
]


@pytest.mark.parametrize(("factor", "words"), RATIOS)
def test_ratio_hints(pairs, rng, factor, words):
    args = rng.standard_normal((5, 2, 4, 3)), rng.uniform(0.5, 2, 2), rng.standard_normal(2)

    def backward(dy, cache):
        dx, dgamma, dbeta = pairs.norm_backward(dy, cache)
        return dx, factor * dgamma, dbeta

    (bad,) = [
        a for a in check_gradients(pairs.norm_forward, backward, args).arguments if a.verdict == "failed"
    ]
    assert bad.name == "gamma"
    assert bad.ratio == pytest.approx(factor, abs=1e-9)
    assert words in bad.hint


def test_transposed_gradients_are_recognised(pairs, rng):
    args = rng.standard_normal((3, 3)), rng.standard_normal((3, 3)), rng.standard_normal(3)

    def backward(dy, cache):
        dx, dw, db = pairs.affine_backward(dy, cache)
        return dx, dw.T, db

    assert "transpose" in check_gradients(pairs.affine_forward, backward, args).arguments[1].hint
    report = check_gradients(pairs.affine_forward, backward, affine(rng))
    assert report.reasons == ("dw has shape (4, 2), wanted (2, 4) (the transpose?)",)


def test_gradient_that_depends_on_the_sign_of_the_upstream_fails(pairs, rng):
    def guided(dy, cache):
        return pairs.affine_backward(np.maximum(dy, 0), cache)

    assert check_gradients(pairs.affine_forward, guided, affine(rng)).verdict == "failed"


def test_function_that_only_looks_analytic_is_left_to_differences(rng):
    """np.var of a complex array is real: its complex step is wrong in silence."""

    def forward(x):
        return x / np.sqrt(np.var(x) + 0.1), x

    def backward(dy, x):
        s = np.sqrt(np.var(x) + 0.1)
        return dy / s - (x - x.mean()) * (dy * x).sum() / (x.size * s**3)

    args = (rng.standard_normal(6),)
    report = check_gradients(forward, backward, args)
    assert report.ok, report
    assert report.arguments[0].method == "central differences"
    assert "not analytic" in " ".join(report.notes)

    def fooled(dy, x):  # what the complex step alone would confirm: the variance taken for a constant
        return dy / np.sqrt(np.var(x) + 0.1)

    assert check_gradients(forward, fooled, args).verdict == "failed"


def test_casts_to_real_switch_the_complex_step_off(rng):
    def forward(x):
        return np.asarray(x, dtype=x.real.dtype) ** 3, x.real

    report = check_gradients(forward, lambda dy, x: 3 * dy * x * x, (rng.standard_normal(4),))
    assert report.ok, report
    assert "central differences only" in report.notes[0]


def test_oracle_lends_its_derivatives(rng):
    def forward(x):  # refuses complex arrays
        if np.iscomplexobj(x):
            raise TypeError("real only")
        return np.sin(x), x

    def oracle(x):
        return np.sin(x), None

    args = (rng.standard_normal(4),)
    report = check_gradients(forward, lambda dy, x: dy * np.cos(x), args, oracle=oracle)
    assert report.ok
    assert report.arguments[0].method == "complex step"
    assert not check_gradients(forward, lambda dy, x: -dy * np.cos(x), args, oracle=oracle).ok


def test_steps_that_leave_the_domain_are_not_used():
    x = np.array([1e-4, 2.0, 5.0])
    report = check_gradients(
        lambda x: (np.sqrt(x), x), lambda dy, x: dy / (2 * np.sqrt(x)), (x,), analytic=False
    )
    assert report.ok, report


def test_random_generators_are_copied_for_every_call(rng):
    args, generator = (rng.standard_normal((4, 5)),), np.random.default_rng(3)
    before = generator.bit_generator.state
    options = {"p": 0.4, "rng": generator}
    assert check_gradients(ops.dropout_forward, ops.dropout_backward, args, options).ok
    assert generator.bit_generator.state == before


def test_wrong_requests_are_input_errors(pairs, rng):
    with pytest.raises(InputError, match="no floating-point array"):
        check_gradients(pairs.relu_forward, pairs.relu_backward, (np.arange(3),))
    with pytest.raises(InputError, match="'weight' is no floating-point array; those are: x, w, b"):
        check_gradients(pairs.affine_forward, pairs.affine_backward, affine(rng), arguments=["weight"])


def test_report_is_json_and_narrow(pairs, rng):
    def backward(dy, cache):
        dx, dw, db = pairs.affine_backward(dy, cache)
        return dx * np.nan, -dw, db

    for report in (
        check_gradients(pairs.affine_forward, pairs.affine_backward, affine(rng)),
        check_gradients(pairs.affine_forward, backward, affine(rng)),
        check_gradients(pairs.affine_forward, lambda dy, cache: 1 / 0, affine(rng)),
    ):
        record = json.loads(json.dumps(report.to_dict(), allow_nan=False))
        assert record["verdict"] == report.verdict
        assert record["ok"] is report.ok
        text, _, line = str(report).partition("reproduce:\n")
        assert max(map(len, text.splitlines())) <= 80
        assert line.strip() == report.reproduce
        assert all(reason.split(":")[0] in " ".join(text.split()) for reason in report.reasons)


def test_reproduction_line_runs_and_says_the_same(rng):
    args = rng.standard_normal((2, 2, 3, 3)), rng.standard_normal((2, 2, 2, 2)), None
    report = check_gradients(
        ops.conv2d_forward, ops.conv2d_backward, args, {"stride": (1, 2)}, arguments=["x", "w"], seed=5
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(report.reproduce, {})
    assert printed.getvalue().strip() == str(report)


def test_reproduction_line_of_local_functions_runs_in_their_session(pairs, rng):
    forward, args = pairs.affine_forward, (rng.standard_normal((40, 40)), rng.standard_normal((3, 40)))
    kwargs: dict[str, Any] = {}

    def backward(dy, cache):
        return pairs.affine_backward(dy, cache)[:2]

    report = check_gradients(forward, backward, args, kwargs)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(
            report.reproduce,
            {"affine_forward": forward, "backward": backward, "args": args, "kwargs": kwargs},
        )
    assert printed.getvalue().strip() == str(report)


def test_equal_seeds_give_equal_reports(pairs, rng):
    args = affine(rng)
    first, second, third = (
        check_gradients(pairs.affine_forward, pairs.affine_backward, args, seed=seed) for seed in (1, 1, 2)
    )
    assert first == second
    assert first != third
