"""Mistakes of the bank, planted in the library's own functions, are named; right functions never accused."""

from __future__ import annotations

import importlib.util
import time

import numpy as np
import pytest

from senumpy import ops
from senumpy.engines import engine
from senumpy.verify import op_names
from senumpy.verify.calls import OpCall, results
from senumpy.verify.diagnosis import diagnose
from senumpy.verify.mistakes import MISTAKES
from senumpy.verify.rounding import expect
from tests.verify.planted import (
    Rates,
    evidence_of,
    expectations,
    mistakes_of,
    pairs_of,
    right_answers,
    try_mistake,
)

DTYPES = ["float64", "float32"]
WANTED = 0.95
ENGINES = ["numpy", "naive", *(["numba"] if importlib.util.find_spec("numba") else [])]


def mistake(op, name):
    return next(m for m in mistakes_of(op) if m.name == name)


def call(op, *args, seed=0, **options):
    return OpCall(
        op, tuple(None if a is None else np.float32(a).astype(np.float64) for a in args), options, seed
    )


# -- rates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", op_names())
def test_planted_mistakes_are_named(op):
    rates = Rates()
    for seed, dtype in ((0, "float64"), (1, "float32")):
        for entry in mistakes_of(op):
            try_mistake(expectations(op, seed, dtype), (entry,), rates)
    print(f"{op}: {rates}")
    assert rates.seen >= len(mistakes_of(op))  # most are seen in both dtypes
    assert rates.rate >= WANTED, f"{op}: {rates}; {rates.wrong} {rates.missed}"
    assert not rates.wrong, rates.wrong


def test_pairs_are_named():
    rates = Rates()
    for op in ("conv2d", "batchnorm2d", "squeeze_excite", "linear", "avg_pool2d", "softmax_cross_entropy"):
        for both in pairs_of(op, np.random.default_rng(0), 8):
            try_mistake(expectations(op, 0, "float64"), both, rates)
    assert rates.seen > 20
    assert (rates.named + rates.either + rates.simpler) / rates.seen >= 0.9, (
        f"{rates}; {rates.wrong} {rates.missed}"
    )


@pytest.mark.parametrize("name", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_right_engines_are_not_accused(name, dtype):
    right = engine(name)
    for op in op_names():
        for seed in range(2):
            evidence = [(e, right_answers(right, e)) for e in expectations(op, seed, dtype)]
            diagnosis = diagnose(op, evidence)
            assert diagnosis.text == "No result is wrong.", f"{op}, seed {seed}: {diagnosis.text}"
            assert diagnosis.mistakes == diagnosis.alternatives == ()


# -- what it says ------------------------------------------------------------------------------------------


def test_the_text_names_result_mistake_and_what_is_right():
    found = diagnose(
        "batchnorm2d",
        evidence_of(
            expectations("batchnorm2d", 0, "float32"), mistake("batchnorm2d", "running-biased-variance")
        ),
    )
    assert found.results == ("running_var",)
    assert found.text == (
        "Your running_var follows a known mistake, running-biased-variance: running_var follows the biased "
        "variance; PyTorch stores the unbiased one, ONNX the biased."
    )


def test_similar_mistakes_are_alternatives_until_a_call_tells_them_apart(rng):
    """1/N for 1/(H' W') in db: with N = H' W' they are the same."""

    def db_averaged(expectation):
        found = results(expectation.call, "float64")
        return expectation, found | {"db": found["db"] / expectation.call.args[0].shape[0]}

    n = rng.standard_normal
    same = call("conv2d", n((4, 2, 3, 3)), n((3, 2, 2, 2)), n(3))  # N = 4 = 2 * 2
    other = call("conv2d", n((3, 2, 3, 3)), n((3, 2, 2, 2)), n(3))
    evidence = [db_averaged(expect(same, "float64"))]
    found = diagnose("conv2d", evidence)
    names = {m.name for some in (found.mistakes, *found.alternatives) for m in some}
    assert names == {"db-averaged", "db-averaged-over-space"}
    assert "same numbers; another case would tell" in found.text
    found = diagnose("conv2d", [*evidence, db_averaged(expect(other, "float64"))])
    assert found.names == ("db-averaged",)
    assert found.alternatives == ()


def test_batch_norm_divided_by_n_or_hw(rng):
    n = rng.standard_normal
    same = call("batchnorm2d", n((4, 2, 2, 2)), n(2), n(2))
    other = call("batchnorm2d", n((4, 2, 3, 2)), n(2), n(2))
    planted = mistake("batchnorm2d", "divided-by-hw")
    found = diagnose("batchnorm2d", evidence_of([expect(same, "float32")], planted))
    assert {m.name for (m,) in (found.mistakes, *found.alternatives)} == {"divided-by-n", "divided-by-hw"}
    both = [expect(same, "float32"), expect(other, "float32")]
    assert diagnose("batchnorm2d", evidence_of(both, planted)).names == ("divided-by-hw",)


def test_nothing_is_guessed(rng):
    expected = expectations("conv2d", 0, "float64")
    noise = [
        (e, {n: a if a is None else a + rng.standard_normal(a.shape) for n, a in e.want.items()})
        for e in expected
    ]
    found = diagnose("conv2d", noise)
    assert (found.mistakes, found.alternatives, found.results) == ((), (), ())
    assert found.text == "No known mistake, and no two together, give these numbers."


def test_ratios_are_called_ratios():
    expected = expectations("linear", 0, "float64")
    odd = [(e, {n: a if n != "dx" else 2 * a for n, a in e.want.items()}) for e in expected]
    found = diagnose("linear", odd)
    assert found.mistakes == ()
    assert "What the ratios say, which names no mistake: dx: every entry is doubled" in found.text


def test_a_result_that_is_right_acquits():
    """dw-averaged on one call and right on another is not dw-averaged."""
    expected = expectations("linear", 0, "float64")
    evidence = evidence_of(expected, mistake("linear", "dw-averaged"))
    evidence[0] = (expected[0], results(expected[0].call, "float64"))
    assert diagnose("linear", evidence).mistakes == ()


def test_low_precision_is_no_mistake(rng):
    """Errors of 1e-4 everywhere are near many numbers, and explained by none."""
    for op in ("batchnorm2d", "squeeze_excite", "softmax_cross_entropy"):
        expected = expectations(op, 0, "float64")
        blurred = [
            (
                e,
                {
                    n: a if a is None else a * (1 + 1e-4 * rng.standard_normal(a.shape))
                    for n, a in e.want.items()
                },
            )
            for e in expected
        ]
        assert diagnose(op, blurred).mistakes == ()


def test_near_a_mistakes_numbers_is_not_near_enough():
    expected = expectations("conv2d", 0, "float64")
    evidence = evidence_of(expected, mistake("conv2d", "flipped-kernel"))
    further = [(e, got | {"y": got["y"] + 0.03 * (got["y"] - e.want["y"])}) for e, got in evidence]
    assert diagnose("conv2d", evidence).names == ("flipped-kernel",)
    assert diagnose("conv2d", further).mistakes == ()


def test_an_error_of_rounding_size_accuses_nobody(rng):
    """Off by as little as a forgotten eps, but to the other side: within rounding of that, and not it."""
    args = 3 * rng.standard_normal((3, 2, 4, 4)), np.ones(2), np.zeros(2)
    for eps in 1e-5 * 2.0 ** np.arange(20):
        one = expect(call("batchnorm2d", *args, eps=float(eps)), "float32")
        (_, got) = evidence_of([one], mistake("batchnorm2d", "eps-forgotten"))[0]
        off = got["y"] - one.want["y"]
        if np.abs(off).max() > 1.2 * one.bound("y"):
            break
    assert np.abs(off).max() < 3 * one.bound("y")
    right = results(one.call, "float32")
    assert diagnose("batchnorm2d", [(one, right | {"y": got["y"]})]).names == ("eps-forgotten",)
    assert diagnose("batchnorm2d", [(one, right | {"y": one.want["y"] - off})]).mistakes == ()


# -- shapes ------------------------------------------------------------------------------------------------


def test_gradients_in_nhwc_order():
    expected = expectations("conv2d", 0, "float32")
    found = diagnose(
        "conv2d",
        [(e, results(e.call, "float32") | {"dx": e.want["dx"].transpose(0, 2, 3, 1)}) for e in expected],
    )
    assert found.names == ("nhwc-dx",)
    assert "NHWC order" in found.text


def test_axes_that_were_kept():
    expected = expectations("global_avg_pool", 0, "float32")
    found = diagnose("global_avg_pool", [(e, {"y": e.want["y"][:, :, None, None]}) for e in expected])
    assert found.names == ("shape-of-y",)
    assert "where (2, 3) is wanted" in found.text


def test_another_hidden_width():
    expected = expectations("squeeze_excite", 0, "float32")
    wide = [(e, {"y": 2 * e.want["y"], "dw1": np.ones((8, e.want["dw1"].shape[1]))}) for e in expected]
    found = diagnose("squeeze_excite", wide)
    assert found.names == ("hidden-width",)
    assert "SE has 8 hidden units where its weights have 2" in found.text


# -- gradients of a wrong forward --------------------------------------------------------------------------


def numerical_gradients(expectation, forward, skip=()):
    """Return all results of a forward whose gradients come coordinate by coordinate."""
    call = expectation.call
    args = call.arguments("complex128")
    y = forward(*call.arguments("float64"), **call.keywords())[0]
    dy = call.upstream(y.shape)
    found = {"y": y}
    for name, arg in zip(call.names, args, strict=False):
        if arg is None or name in skip:
            continue
        gradient = np.zeros(arg.shape)
        for index in np.ndindex(arg.shape):
            arg[index] += 1e-30j
            gradient[index] = (dy * forward(*args, **call.keywords())[0].imag).sum() / 1e-30
            arg[index] -= 1e-30j
        found[f"d{name}"] = gradient
    return found


def test_a_wrong_forward_with_its_own_derivatives(rng):
    """As automatic differentiation gives; and not where one of them is something else."""
    n = rng.standard_normal
    one = expect(call("conv2d", n((2, 2, 4, 4)), n((2, 2, 3, 3)), n(2), padding=1), "float64")
    forward = mistake("conv2d", "flipped-kernel").forward
    got = numerical_gradients(one, forward)
    found = diagnose("conv2d", [(one, got)])
    assert found.names == ("flipped-kernel",)
    assert "derivative of that wrong result" in found.text
    assert diagnose("conv2d", [(one, got | {"dx": 1.001 * got["dx"]})]).mistakes == ()


def test_a_wrong_forward_with_a_wrong_backward():
    entries = mistake("conv2d", "swapped-stride"), mistake("conv2d", "dw-averaged")
    found = diagnose("conv2d", evidence_of(expectations("conv2d", 0, "float32"), *entries))
    assert set(found.names) == {"swapped-stride", "dw-averaged"}


def test_two_on_different_results():
    entries = mistake("conv2d", "dw-averaged"), mistake("conv2d", "db-averaged")
    found = diagnose("conv2d", evidence_of(expectations("conv2d", 0, "float64"), *entries))
    assert set(found.names) == {"dw-averaged", "db-averaged"}
    assert "two known mistakes together" in found.text
    assert found.results == ("dw", "db")


# -- speed, order ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["conv2d", "batchnorm2d", "squeeze_excite"])
def test_it_is_fast_even_where_nothing_fits(op, rng):
    expected = expectations(op, 0, "float32")
    strange = [
        (e, {n: a if a is None else a + np.float64(0.1) * np.cos(a) for n, a in e.want.items()})
        for e in expected
    ]
    start = time.process_time()
    assert diagnose(op, strange).mistakes == ()
    assert time.process_time() - start < 2.0


def test_the_bank_has_the_named_conventions():
    have = {m.name for m in MISTAKES} | {m.name for m in mistakes_of("batchnorm2d")}
    wanted = {
        "running-momentum-reversed", "running-biased-variance", "eps-outside-root", "eps-forgotten",
        "flipped-kernel", "nhwc-result", "read-as-nhwc", "same-uneven", "pad-count-inverted",
        "ceil-mode-ignored", "always-ceil-mode", "no-biases", "first-bias-forgotten", "sum-over-batch",
        "windows-from-the-end", "last-of-each-stride", "derivative-1-at-zero", "derivative-half-at-zero",
        "last-maximum", "ties-share-evenly",
    }  # fmt: skip
    assert wanted <= have


def test_uneven_padding_is_tensorflows(rng):
    """At stride 2 and an even size, SAME pads (0, 1): windows start at pixels 0, 2, 4."""
    x, w = rng.standard_normal((1, 1, 6, 6)), rng.standard_normal((1, 1, 3, 3))
    y, _ = mistake("conv2d", "same-uneven").forward(x, w, None, stride=2, padding=1)
    assert y.shape == ops.conv2d_forward(x, w, stride=2, padding=1)[0].shape
    assert y[0, 0, 1, 2] == pytest.approx((x[0, 0, 2:5, 4:6] * w[0, 0, :, :2]).sum())
    pooled, _ = mistake("max_pool2d", "same-uneven").forward(x - 9, kernel=3, stride=2, padding=1)
    assert pooled[0, 0, 2, 1] == (x - 9)[0, 0, 4:6, 2:5].max()
