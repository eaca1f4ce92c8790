"""Cross-checks of whole operations: verdicts, diagnosis, shrinking, scripts, reports, budgets."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from types import ModuleType

import numpy as np
import pytest

import senumpy
from senumpy import InputError, ops
from senumpy.crosscheck import OpCall, assert_matches, check, check_call
from senumpy.crosscheck.junit import write_junit
from senumpy.verify import OPS


def pair(engine, op):
    return [getattr(senumpy.engine(engine), f"{op}_{side}") for side in ("forward", "backward")]


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("op", OPS)
def test_the_engines_are_accurate(op, engine):
    forward, backward = pair(engine, op)
    report = check(op, forward, backward=backward, max_examples=40, timeout=250)  # Numba may compile first
    assert report.ok, str(report)
    assert report.verdict in ("exact", "accurate")
    assert report.calls == 40
    assert {row.dtype for row in report.rows} == {"float32", "float64"}
    assert report.failure is None
    assert report.script == ""
    assert report.diagnosis is None


def linear(x, w, b=None):
    return x @ w.T + (0 if b is None else b), (x, w, b)


def linear_backward(dy, cache):
    x, w, b = cache
    return dy @ w, dy.T @ x, None if b is None else dy.sum(0)


def averaged(dy, cache):
    dx, dw, db = linear_backward(dy, cache)
    return dx, dw, None if db is None else db / len(dy)


def wrong_for_three(x, w, b=None):
    y, cache = linear(x, w, b)
    return (y + 1 if x.shape[1] == 3 else y), cache


def test_a_mistake_is_named_and_the_failing_call_is_small():
    report = check("linear", linear, backward=averaged, max_examples=60)
    assert not report.ok
    assert report.verdict == "wrong"
    assert [m.name for m in report.diagnosis.mistakes] == ["db-averaged"]
    wrong = {row.result for row in report.rows if row.level == "wrong"}
    assert wrong == {"db"}
    assert sum(row.calls for row in report.rows if row.result == "y") == report.calls == 60
    call = report.failure.call
    assert (call.args[0].shape, call.args[1].shape) == ((2, 1), (1, 1))  # one sample would be right


def test_what_is_wrong_for_some_sizes_only_shrinks_to_them():
    report = check("linear", wrong_for_three, backward=linear_backward)
    assert report.failure.call.args[0].shape == (1, 3)
    assert report.failure.call.args[1].shape == (1, 3)
    assert report.diagnosis.mistakes == ()
    assert "No known mistake" in report.diagnosis.text


def test_several_faults_each_have_their_smallest_call():
    def forward(x, w, b=None):
        y, cache = linear(x, w, b)
        return (y * 1.5 if len(x) > 1 else y), cache

    report = check("linear", forward, backward=averaged)
    sizes = {fault: outcome.call.args[0].shape for fault, outcome in report.smallest.items()}
    assert sizes == {"wrong y": (2, 1), "wrong db": (2, 1)}


def test_the_script_repeats_the_failure():
    report = check("linear", linear, backward=averaged, max_examples=30)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(report.script, {"linear": linear, "averaged": averaged})
    assert "db is wrong" in out.getvalue()
    module = ModuleType("somebodys")
    module.f, module.b = linear, averaged
    sys.modules["somebodys"] = module
    try:
        script = check("linear", "somebodys:f", backward="somebodys:b", max_examples=30).script
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(script, {})
        assert "db is wrong" in out.getvalue()
    finally:
        del sys.modules["somebodys"]


@pytest.mark.parametrize("op", ["concat", "dropout", "softmax_cross_entropy", "shake", "residual_tail"])
def test_scripts_of_other_kinds_of_arguments(op):
    def zeros(dy, cache):
        right = getattr(ops, f"{op}_backward")(dy, cache)
        first = right[0]
        off = tuple(a + 1 for a in first) if isinstance(first, tuple) else first + 1
        return type(right)(off, *right[1:])

    forward = getattr(ops, f"{op}_forward")
    report = check(op, forward, backward=zeros, max_examples=10)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(report.script, {"zeros": zeros})
    assert " is wrong" in out.getvalue()


def test_equal_seeds_give_equal_reports_and_others_other_calls():
    def run(seed):
        record = check("conv2d", *pair("numpy", "conv2d")[:1], backward=ops.conv2d_backward, seed=seed,
                       max_examples=25).to_dict()  # fmt: skip
        del record["seconds"]
        return record

    assert run(0) == run(0)
    assert run(0)["results"] != run(1)["results"]


def test_the_time_is_kept():
    def slow(x, w, b=None):
        time.sleep(0.05)
        return linear(x, w, b)

    start = time.monotonic()
    report = check("linear", slow, backward=linear_backward, max_examples=1000, seconds=1.0)
    assert time.monotonic() - start < 3
    assert 0 < report.calls < 1000
    assert report.ok
    assert "the time is over" in str(report)
    assert check("linear", linear, backward=averaged, seconds=2.0, max_examples=10**6).diagnosis.mistakes


def test_hanging_stops_the_run_soon():
    def hangs(x, w, b=None):
        while True:
            pass

    report = check("linear", hangs, backward=linear_backward, timeout=0.2)
    assert report.verdict == "timeout"
    assert report.calls == 3
    assert "stopped after 3 calls" in str(report)


def test_bad_manners_alone_fail_and_are_counted():
    def chatty(x, w, b=None):
        print("x has shape", x.shape)
        return linear(x, w, b)

    report = check("linear", chatty, backward=linear_backward, max_examples=20)
    assert report.verdict == "printed"
    assert not report.ok
    assert report.level in ("exact", "accurate")
    assert [(b.conduct.kind, b.count) for b in report.behaviour] == [("printed", 20)]


def test_lossy_is_accepted_on_demand():
    def half(x, w, b=None):
        y, cache = linear(x, w, b)
        return y.astype(np.float16).astype(x.dtype), cache

    def run(**settings):
        return check(
            "linear", half, backward=linear_backward, max_examples=60, dtypes=["float32"], **settings
        )

    assert run().verdict == "lossy"
    assert not run().ok
    assert run(accept="lossy").ok
    assert "float16" in str(run())


def test_a_mistake_with_small_effects_is_wrong_and_not_lossy():
    """eps outside the root changes results by 1e-5: no more than TF32 would, and yet it is known."""

    def forward(x, gamma, beta, *, eps=1e-5):
        axes = (0, 2, 3)
        std = np.sqrt(((x - x.mean(axes, keepdims=True)) ** 2).mean(axes, keepdims=True))
        y = gamma[:, None, None] * (x - x.mean(axes, keepdims=True)) / (std + eps) + beta[:, None, None]
        return y, ops.batchnorm2d_forward(x, gamma, beta, eps=eps)[1]

    for accept in ("accurate", "lossy"):
        report = check("batchnorm2d", forward, backward=ops.batchnorm2d_backward, max_examples=40,
                       dtypes=["float64"], accept=accept)  # fmt: skip
        assert report.verdict == "wrong"
        assert [m.name for m in report.diagnosis.mistakes] == ["eps-outside-root"]
        assert report.failure is not None


def test_dtypes_are_chosen():
    report = check("linear", linear, backward=linear_backward, max_examples=10, dtypes=["float64"])
    assert {row.dtype for row in report.rows} == {"float64"}


def test_options_that_are_built_in():
    def strided(x, w, b=None):
        return ops.conv2d_forward(x, w, b, stride=2)

    report = check("conv2d", strided, backward=ops.conv2d_backward, max_examples=40, options={
        "stride": 2, "padding": 0, "dilation": 1, "groups": 1,
    })  # fmt: skip
    assert report.ok, str(report)
    assert report.calls == 40


def test_c_order_alone():
    def strict(x):
        if not x.flags.c_contiguous:
            raise ValueError("C order only")
        return np.maximum(x, 0)

    assert check("relu", strict, max_examples=30).verdict == "raised"
    assert check("relu", strict, max_examples=30, c_order=True).ok


def test_forward_alone_is_judged_alone():
    def forward(x):
        return np.maximum(x, 0)

    report = check("relu", forward, max_examples=20)
    assert report.ok
    assert {row.result for row in report.rows} == {"y"}


def test_one_call():
    call = OpCall("relu", (np.array([1.0, -2.0]),))
    outcome = check_call(call, lambda x: np.abs(x), dtype="float32")
    assert outcome.faults() == ("wrong y",)
    assert str(outcome).startswith("relu, float32: x (2)\n  y is wrong: got 2, wanted 0 at (1,)")
    assert check_call(call, lambda x: np.maximum(x, 0)).level == "exact"


def test_in_somebodys_tests():
    assert_matches("linear", linear, backward=linear_backward, max_examples=20)
    with pytest.raises(AssertionError, match="db-averaged"):
        assert_matches("linear", linear, backward=averaged, max_examples=20)


def test_reports_fit_a_terminal_and_are_json(tmp_path):
    report = check("linear", linear, backward=averaged, max_examples=30)
    text = str(report).partition("to repeat it:")[0]
    assert max(map(len, text.splitlines())) <= 80
    record = json.loads(report.to_json())
    assert record["ok"] is False
    assert record["diagnosis"]["mistakes"] == ["db-averaged"]
    assert record["smallest_failure"]["script"] == report.script
    assert {row["level"] for row in record["results"] if row["result"] == "db"} == {"wrong"}


def test_junit(tmp_path):
    import junitparser

    good = check("relu", ops.relu_forward, backward=ops.relu_backward, max_examples=20)
    bad = check("linear", linear, backward=averaged, max_examples=20)
    write_junit(tmp_path / "report.xml", [good, bad])
    suites = list(junitparser.JUnitXml.fromfile(str(tmp_path / "report.xml")))
    assert [suite.failures for suite in suites] == [0, 2]
    assert [suite.tests for suite in suites] == [4, 8]
    failed = [case for case in suites[1] if case.result]
    assert [case.name for case in failed] == ["db (float32)", "db (float64)"]
    assert "db-averaged" in failed[0].result[0].text


def test_what_is_not_explained_is_said():
    """dw is a known mistake, dx is none, and only in float32."""

    def backward(dy, cache):
        dx, dw, db = linear_backward(dy, cache)
        return dx * (dx.dtype.type(1.01) if dx.dtype == np.float32 else 1), dw / len(dy), db

    report = check("linear", linear, backward=backward, max_examples=40)
    assert [m.name for m in report.diagnosis.mistakes] == ["dw-averaged"]
    assert report.diagnosis.results == ("dw",)
    assert "No known mistake gives dx." in report.diagnosis.text


def test_a_mistake_that_changes_the_shape_is_named():
    def forward(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
        return ops.conv2d_forward(x, w, b, stride=stride, dilation=dilation, groups=groups)[0]

    report = check("conv2d", forward, max_examples=60)
    assert "padding-ignored" in [m.name for m in report.diagnosis.mistakes], report.diagnosis


def test_what_a_candidate_says_is_made_printable(tmp_path):
    def forward(x):
        raise ValueError("\x00 \x1b[31m \ud800 ü")

    report = check("relu", forward, max_examples=5)
    assert "\\x00 \\x1b[31m \\ud800 ü" in report.behaviour[0].conduct.message
    write_junit(tmp_path / "a.xml", [report])
    import junitparser

    assert list(junitparser.JUnitXml.fromfile(str(tmp_path / "a.xml")))


def test_junit_goes_through_links_and_pipes(tmp_path):
    import os
    import threading

    report = check("relu", ops.relu_forward, max_examples=5)
    (tmp_path / "real.xml").write_text("old")
    (tmp_path / "link.xml").symlink_to(tmp_path / "real.xml")
    write_junit(tmp_path / "link.xml", [report])
    assert (tmp_path / "link.xml").is_symlink()
    assert "<testsuite" in (tmp_path / "real.xml").read_text()
    os.mkfifo(tmp_path / "pipe")
    seen = []
    reader = threading.Thread(target=lambda: seen.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_junit(tmp_path / "pipe", [report])
    reader.join(10)
    assert b"<testsuite" in seen[0]
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(
    ("op", "options", "message"),
    [
        ("conv2d", {"groups": "banana"}, "option groups: got 'banana', wanted a whole number"),
        ("conv2d", {"stride": (1, 2, 3)}, "option stride: got (1, 2, 3), wanted a whole number or two"),
        ("excitation", {"gate": "gelu"}, "option gate: got 'gelu', wanted one of sigmoid, tanh, relu"),
        ("max_pool2d", {"ceil_mode": 1}, "option ceil_mode: got 1, wanted True or False"),
        ("batchnorm2d", {"eps": "1e-5"}, "option eps: got '1e-5', wanted a number"),
    ],
)
def test_options_of_the_wrong_kind(op, options, message):
    with pytest.raises(InputError) as caught:
        check(op, getattr(ops, f"{op}_forward"), options=options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed: got -1"),
        ({"seconds": float("nan")}, "seconds: got nan"),
        ({"timeout": float("inf")}, "timeout: got inf"),
        ({"options": {"stride": 2}}, "unknown option of linear 'stride'"),
        ({"op": "conv2"}, "did you mean 'conv2d'"),
        ({"accept": "wrong"}, "accept: got 'wrong', wanted 'accurate' or 'lossy'"),
        ({"max_examples": 0}, "max_examples: got 0"),
        ({"dtypes": ["float16"]}, "dtypes: got 'float16'"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    arguments = {"op": "linear", "target": linear, "backward": linear_backward, **settings}
    with pytest.raises(InputError) as caught:
        check(**arguments)
    assert message in str(caught.value)


def test_more_evidence_may_run_out_of_time():
    """Asking for more calls ends quietly when their time is over."""
    from senumpy.crosscheck.candidates import candidate
    from senumpy.crosscheck.explore import Explorer

    seen = []
    explorer = Explorer(
        candidate("linear", linear, backward=linear_backward), "linear", dtypes=["float64"], seed=0,
        max_examples=10**9, seconds=0.0, record=lambda *found: seen.append(found) or [], skip=seen.append,
    )  # fmt: skip
    explorer.small_calls(1)
    assert seen == []
    assert explorer.stopped
