"""Candidates on NumPy arrays and as commands: right answers, and every sort of bad conduct, named."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest

from senumpy.crosscheck.candidates import candidate
from senumpy.errors import InputError
from senumpy.verify import OPS
from senumpy.verify.calls import OpCall, call_of, results

CALL = OpCall("relu", (np.array([[-1.5, 0.25, 2.0], [3.0, -4.0, 0.5]]),))
ADD = OpCall("residual_add", (np.ones((1, 1, 2, 2)), np.full((1, 1, 2, 2), 2.0)))


def relu(x):
    return np.maximum(x, 0), x > 0


def back(dy, on):
    return dy * on


def run(forward, backward=back, call=CALL, dtype=np.float64, **options):
    return candidate(call.op, forward, backward=backward, **options).run(call, dtype)


def kinds(answer):
    return [entry.kind for entry in answer.conduct]


def only(answer, kind):
    assert kinds(answer) == [kind], answer.conduct
    return answer.conduct[0]


@pytest.mark.parametrize("op", OPS)
def test_the_library_answers_with_its_own_results_and_behaves(op):
    spec = OPS[op]
    for seed, case in enumerate(spec.cases(seed=1)):
        call = call_of(op, case, seed)
        for dtype in (np.float32, np.float64):
            them = candidate(op, spec.forward, backward=spec.backward)
            assert them.accepts(call) == ""
            answer, want = them.run(call, dtype), results(call, dtype)
            assert answer.conduct == []
            assert set(answer.results) == set(want) - {"running_mean", "running_var"}
            for name, array in answer.results.items():
                np.testing.assert_array_equal(array, want[name], strict=True)


def raises(x):
    raise ValueError("no\ngood")


def exits(x):
    sys.exit(3)


def hangs(x):
    while True:
        time.sleep(0.01)


def stubborn(x):
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            continue


def test_an_exception_is_told_with_its_place():
    entry = only(run(raises), "raised")
    assert entry.fatal
    assert "ValueError: no good" in entry.message
    assert "test_candidates.py, line " in entry.message
    assert "in raises" in entry.message


def test_exit_and_hanging_end_the_call_and_no_more():
    assert "sys.exit(3)" in only(run(exits), "exited").message
    for function in (hangs, stubborn):
        start = time.monotonic()
        entry = only(run(function, timeout=0.3), "timeout")
        assert time.monotonic() - start < 5
        assert f"in {function.__name__}" in entry.message


def test_what_came_before_the_end_is_kept():
    answer = run(relu, lambda dy, cache: raises(dy))
    assert "ValueError" in only(answer, "raised").message
    np.testing.assert_array_equal(answer.results["y"], results(CALL, np.float64)["y"])


def test_an_alarm_of_somebody_else_goes_on():
    signal = pytest.importorskip("signal")
    before = signal.getitimer(signal.ITIMER_REAL)[0]
    run(hangs, timeout=0.2)
    after = signal.getitimer(signal.ITIMER_REAL)[0]
    assert before == 0 or 0 < before - after < 60


def test_printing_is_noted_and_swallowed(capfd):
    def chatty(x):
        print("\nhere I am\nagain")
        sys.stderr.write("and here")
        sys.stdout.buffer.write(b"bytes")
        return relu(x)

    first, second = run(chatty).conduct
    assert first.kind == second.kind == "printed"
    assert "stdout" in first.message
    assert "'here I am'" in first.message
    assert "stderr" in second.message
    assert capfd.readouterr() == ("", "")


def test_warnings_are_no_misconduct():
    def forward(x):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
        return np.maximum(x, 0), (x > 0) & (np.ones(1) / np.zeros(1) > 0)

    assert run(forward).conduct == []


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        (lambda x: None, "type", "y is None"),
        (lambda x: [1.0], "type", "y is a list"),
        (lambda x: "text", "type", "y is a str"),
        (lambda x: x.astype(object), "dtype", "object"),
        (lambda x: x + 0j, "dtype", "complex"),
        (lambda x: x > 0, "dtype", "bool"),
        (lambda x: np.maximum(x, 0).T.copy(), "shape", "(3, 2), wanted (2, 3) (the transpose?)"),
        (lambda x: np.maximum(x, 0).sum(), "shape", "wanted (2, 3)"),
    ],
)
def test_a_result_that_is_no_result(value, kind, message):
    entry = only(run(lambda x: (value(x), x > 0)), kind)
    assert entry.result == "y"
    assert message in entry.message
    assert "y" not in run(lambda x: (value(x), x > 0)).results


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_another_precision_is_noted_and_its_numbers_are_kept(dtype):
    answer = run(lambda x: (np.maximum(x, 0).astype(dtype), x > 0), dtype=np.float32)
    assert only(answer, "dtype").message == f"y has dtype {dtype}, wanted float32, as the arguments"
    assert answer.results["y"].dtype == dtype


@pytest.mark.parametrize(
    ("gradients", "kind", "message"),
    [
        (lambda dy, c: (dy * c, dy * c), "type", "2 values, wanted 1 gradient: dx"),
        (lambda dy, c: None, "type", "None, wanted 1 gradient"),
        (lambda dy, c: {"dw": dy * c}, "type", "wanted a key 'dx'"),
        (lambda dy, c: (dy * c).T, "shape", "dx has shape (3, 2), wanted (2, 3)"),
        (lambda dy, c: [None], "type", "dx is None"),
    ],
)
def test_gradients_that_are_none(gradients, kind, message):
    answer = run(relu, gradients)
    assert message in only(answer, kind).message
    assert set(answer.results) == {"y"}


@pytest.mark.parametrize(
    "way",
    [lambda g: g, lambda g: (g,), lambda g: [g], lambda g: {"dx": g}, lambda g: {"x": g}],
    ids=["array", "tuple", "list", "dx", "x"],
)
def test_every_way_of_naming_a_gradient(way):
    answer = run(relu, lambda dy, c: way(dy * c))
    assert answer.conduct == []
    np.testing.assert_array_equal(answer.results["dx"], results(CALL, np.float64)["dx"])


def test_numbers_that_are_not_finite():
    answer = run(lambda x: (np.where(x < 0, np.nan, x), x > 0))
    entry = only(answer, "not finite")
    assert entry.message.startswith("y[0, 0] is nan, and 2 of 6 numbers")
    assert "y" in answer.results


def test_a_view_of_an_argument():
    add = candidate("residual_add", lambda a, b: (a, None), backward=lambda dy, c: (dy, dy.copy()))
    entries = add.run(ADD, np.float64).conduct
    assert [(e.kind, e.result) for e in entries] == [("alias", "y"), ("alias", "dbranch")]
    assert "y shares memory with branch" in entries[0].message
    one = candidate("residual_add", lambda a, b: (a + b, None), backward=lambda dy, c: (dy.copy(),) * 2)
    assert "dshortcut shares memory with dbranch" in only(one.run(ADD, np.float64), "alias").message


def test_changed_arguments():
    def in_place(x):
        x *= x > 0
        return x.copy(), x > 0

    def spoil(dy, on):
        dy *= on
        return dy.copy()

    assert "forward changes x" in only(run(in_place), "changed input").message
    assert "backward changes the upstream gradient" in only(run(relu, spoil), "changed input").message


def test_two_equal_calls_that_differ():
    rng = np.random.default_rng(0)
    answer = run(lambda x: (np.maximum(x, 0) + 1e-6 * rng.normal(), x > 0))
    entry = only(answer, "not repeatable")
    assert entry.result == "y"
    assert "e-0" in entry.message
    calls = []

    def second(x):
        calls.append(0)
        return relu(x) if len(calls) == 1 else raises(x)

    assert "ValueError" in only(run(second), "not repeatable").message


def test_a_buffer_that_is_used_again_spoils_nothing():
    buffer = np.zeros((2, 3))

    def forward(x):
        np.maximum(x, 0, out=buffer)
        return buffer, x > 0

    def backward(dy, on):
        buffer[:] = 7
        return dy * on

    answer = run(forward, backward)
    np.testing.assert_array_equal(answer.results["y"], results(CALL, np.float64)["y"])


class Foreign:
    """An array that shows itself by DLPack alone."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


class OnDevice(Foreign):
    def __dlpack_device__(self):
        return (2, 0)

    def get(self):
        return self._array


@pytest.mark.parametrize("kind", [Foreign, OnDevice])
def test_arrays_of_others_are_results(kind):
    answer = run(lambda x: (kind(np.maximum(x, 0)), x > 0), lambda dy, on: kind(dy * on))
    assert answer.conduct == []
    np.testing.assert_array_equal(answer.results["dx"], results(CALL, np.float64)["dx"])


def test_forward_alone():
    for function in (lambda x: np.maximum(x, 0), relu):
        answer = run(function, None)
        assert answer.conduct == []
        assert set(answer.results) == {"y"}


def test_running_statistics_are_updated_in_place():
    x = np.random.default_rng(1).normal(size=(3, 2, 2, 2)).astype(np.float32).astype(np.float64)
    call = OpCall("batchnorm2d", (x, np.ones(2), np.zeros(2)), seed=5)

    def forward(x, gamma, beta, running_mean, running_var, momentum, eps=1e-5):
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        running_mean *= 1 - momentum
        running_mean += momentum * mean
        running_var[:] = (1 - momentum) * running_var + momentum * var * 12 / 11
        y = (x - mean[:, None, None]) / np.sqrt(var + eps)[:, None, None] * gamma[:, None, None]
        return y + beta[:, None, None]

    answer, want = run(forward, None, call), results(call, np.float64)
    assert answer.conduct == []
    for name in ("y", "running_mean", "running_var"):
        np.testing.assert_allclose(answer.results[name], want[name], rtol=1e-12, atol=1e-12)


def test_options_that_a_function_has_not():
    pool = OPS["max_pool2d"].forward
    them = candidate("max_pool2d", lambda x, kernel_size, stride: pool(x, kernel=kernel_size, stride=stride))
    x = np.random.default_rng(2).normal(size=(1, 1, 6, 6))
    assert them.accepts(OpCall("max_pool2d", (x,), {"kernel": 2, "stride": None, "padding": 0})) == ""
    assert "'padding', which is 1" in them.accepts(OpCall("max_pool2d", (x,), {"kernel": 3, "padding": 1}))
    answer = them.run(OpCall("max_pool2d", (x,), {"kernel": 2}), np.float64)
    assert answer.results["y"].shape == (1, 1, 3, 3)
    fixed = candidate("max_pool2d", lambda x: pool(x, kernel=2)[0], options={"kernel": 2})
    assert fixed.restrict().options == {"kernel": 2}
    assert "its kernel is 2, and 3 here" in fixed.accepts(OpCall("max_pool2d", (x,), {"kernel": 3}))


# --- what can't be made a candidate


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("nothing", {}, "wanted module:name"),
        ("no_such_module_xyz:f", {}, "no module 'no_such_module_xyz'"),
        ("no/such.py:f", {}, "no such file"),
        ("senumpy.ops:conv2d_forwart", {}, "did you mean 'conv2d_forward'"),
        ("cmd:", {}, "no program"),
        ("cmd:/no/such/program -x", {}, "'/no/such/program'"),
        ("cmd:'", {}, "No closing quotation"),
        (3, {}, "a int can't be called"),
        (relu, {"framework": "nupmy"}, "did you mean 'numpy'"),
        (relu, {"timeout": 0}, "wanted seconds above 0"),
        (relu, {"isolated": True}, "wanted the target as text"),
        (relu, {"framework": "onnx"}, "wanted text"),
    ],
)
def test_targets_that_are_none(target, options, message):
    with pytest.raises(InputError, match=r"^[^\n]*$") as error:
        candidate("relu", target, **options)
    assert message in str(error.value)


def test_a_fork_in_this_process_comes_back_once():
    lines = """
    import os, numpy as np
    from senumpy.crosscheck.candidates import candidate
    from senumpy.verify.calls import OpCall
    def relu(x):
        os.fork()
        return x.clip(0)
    candidate("relu", relu).run(OpCall("relu", (np.ones(3),)), np.float64)
    print("here", flush=True)
    """
    code = [sys.executable, "-c", textwrap.dedent(lines)]
    done = subprocess.run(code, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "here\n"
