"""Candidates on NumPy arrays and as commands: right answers, and every sort of bad conduct, named."""

from __future__ import annotations

import sys
import textwrap
import time
import warnings

import numpy as np
import pytest

from senumpy.crosscheck.candidates import candidate, close
from senumpy.crosscheck.exchange import call_tensors, result_names
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


# --- commands


ANSWER = """
    import json, sys
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file
    question, answer = sys.argv[-2:]
    t = load_file(question)
    with safe_open(question, "np") as file:
        options = json.loads(file.metadata()["options"])
    y, dx = np.maximum(t["x"], 0), t["dy"] * (t["x"] > 0)
"""


@pytest.fixture
def command(tmp_path):
    def make(ending, **options):
        path = tmp_path / "answer.py"
        path.write_text(textwrap.dedent(ANSWER) + textwrap.dedent(ending))
        return candidate("relu", f"cmd:{sys.executable} {path} --some", **options)

    return make


def test_a_command_that_is_right(command):
    for dtype in (np.float32, np.float64):
        answer = command('print("done"); save_file({"y": y, "dx": dx}, answer)').run(CALL, dtype)
        assert answer.conduct == []
        for name in ("y", "dx"):
            np.testing.assert_array_equal(answer.results[name], results(CALL, dtype)[name], strict=True)


@pytest.mark.parametrize(
    ("ending", "kind", "message"),
    [
        ("raise ValueError('oh no')", "exited", "status 1, wanted 0; its last words: ValueError: oh no"),
        ("pass", "type", "cannot read the answer"),
        ("open(answer, 'w').write('garbage' * 9)", "type", "the answer"),
        ("save_file({'z': y}, answer)", "type", "unknown tensor 'z'"),
        ("save_file({'dx': dx}, answer)", "type", "no tensor 'y'"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "SIGSEGV"),
        ("save_file({'y': y[0]}, answer)", "shape", "(3,), wanted (2, 3)"),
        ("save_file({'y': y.astype('f2')}, answer)", "dtype", "float16"),
    ],
)
def test_a_command_that_is_not(command, ending, kind, message):
    assert message in only(command(ending).run(CALL, np.float64), kind).message


def test_a_command_that_hangs_is_killed(command):
    start = time.monotonic()
    answer = command("import time; time.sleep(60)", timeout=1.0).run(CALL, np.float64)
    assert "did not end within 1 s" in only(answer, "timeout").message
    assert time.monotonic() - start < 10


def test_a_command_that_forgets_a_gradient(tmp_path):
    path = tmp_path / "add.py"
    path.write_text(
        "import sys; from safetensors.numpy import *; t = load_file(sys.argv[1])\n"
        "save_file({'y': t['branch'] + t['shortcut'], 'dbranch': t['dy']}, sys.argv[2])"
    )
    answer = candidate("residual_add", f"cmd:{sys.executable} {path}").run(ADD, np.float64)
    assert "no tensor 'dshortcut'" in only(answer, "type").message


@pytest.mark.parametrize("op", OPS)
def test_a_call_in_a_file_has_all_that_it_takes(op):
    for seed, case in enumerate(OPS[op].cases(seed=2)):
        call = call_of(op, case, seed)
        tensors, metadata = call_tensors(call, np.float32)
        want = results(call, np.float32)
        assert set(result_names(call)) == {name for name, array in want.items() if array is not None}
        assert tensors["dy"].shape == want["y"].shape
        assert metadata["op"] == op
        floats = {n: a for n, a in tensors.items() if n not in ("labels", "kept")}
        assert all(array.dtype == np.float32 for array in floats.values())


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


# --- in a process of its own


STRANGER = """
    import ctypes, os, signal, sys, time
    import numpy as np

    def relu(x): return np.maximum(x, 0), x > 0
    def back(dy, on): return dy * on
    def hangs(x): time.sleep(100)
    def deaf(x):
        import collections, itertools
        collections.deque(itertools.repeat(0), maxlen=0)
    def leaves(x): os._exit(3)
    def crashes(x): os.kill(os.getpid(), signal.SIGSEGV)
    def exits(x): sys.exit("bye")
    def raises(x): raise KeyError("x")
    def prints(x):
        print("much\\n" * 2_000_000)
        return relu(x)
    def echoes(x):
        os.write(1, b"past Python")
        return relu(x)
    def prints_negative(x):
        if x.min() < 0:
            os.write(1, b"negative")
        return relu(x)
    def forks(x):
        os.fork()
        return relu(x)
    def once(x):
        if os.path.exists("been"):
            return relu(x)
        open("been", "w").close()
        os._exit(1)
"""


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    (tmp_path / "stranger.py").write_text(textwrap.dedent(STRANGER))
    monkeypatch.chdir(tmp_path)
    made = []

    def make(name, **options):
        made.append(candidate("relu", f"stranger:{name}", backward="stranger:back", isolated=True, **options))
        return made[-1]

    yield make
    for one in made:
        close(one)
        close(one)


def test_a_worker_answers_fast_and_the_same(stranger):
    them = stranger("relu")
    assert (them.label, them.framework, them.restrict()) == ("stranger:relu", "numpy", None)
    assert them.accepts(CALL) == ""
    start = time.monotonic()
    for _ in range(200):
        answer = them.run(CALL, np.float32)
    assert time.monotonic() - start < 4
    assert answer.conduct == []
    np.testing.assert_array_equal(answer.results["dx"], results(CALL, np.float32)["dx"], strict=True)


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("hangs", "timeout", "in hangs"),
        ("deaf", "timeout", "had to be killed"),
        ("leaves", "exited", "status 3"),
        ("crashes", "crashed", "SIGSEGV"),
        ("exits", "exited", "sys.exit('bye') (stranger.py, line "),
        ("raises", "raised", "KeyError"),
        ("prints", "printed", "stdout, beginning 'much'"),
        ("echoes", "printed", "beginning 'past Python"),
    ],
)
def test_a_worker_survives(stranger, capfd, name, kind, message):
    them = stranger(name, timeout=0.7)
    for _ in range(2):
        assert message in only(them.run(CALL, np.float64), kind).message
    assert capfd.readouterr() == ("", "")


def test_a_worker_that_forks_answers_once(stranger):
    them = stranger("forks")
    for value in (1.0, 2.0, 3.0):
        answer = them.run(OpCall("relu", (np.array([value]),)), np.float64)
        assert answer.conduct == []
        assert answer.results["y"] == value


def test_a_worker_whose_import_forks_answers_once(tmp_path, monkeypatch):
    (tmp_path / "twins.py").write_text("import os\nos.fork()\ndef relu(x): return x.clip(0), None")
    monkeypatch.chdir(tmp_path)
    them = candidate("relu", "twins:relu", isolated=True)
    for value in (1.0, 2.0, 3.0):
        answer = them.run(OpCall("relu", (np.array([value]),)), np.float64)
        assert answer.conduct == []
        assert answer.results["y"] == value
    close(them)


def test_a_worker_is_quiet_after_it_printed(stranger):
    them = stranger("prints_negative")
    positive = OpCall("relu", (np.array([1.0]),))
    assert [kinds(them.run(call, np.float64)) for call in (positive, CALL, positive)] == [[], ["printed"], []]


def test_after_a_crash_the_next_call_is_answered(stranger):
    them = stranger("once")
    assert kinds(them.run(CALL, np.float64)) == ["exited"]
    assert them.run(CALL, np.float64).conduct == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:", "broken.py, line 1: syntax error"),
        ("import sys; sys.exit(4)", "importing it calls sys.exit(4)"),
        ("1 / 0", "ZeroDivisionError: division by zero (broken.py, line 1"),
        ("import no_such_thing_xyz", "asks for 'no_such_thing_xyz', which is not installed"),
        ("def g(): pass", "unknown name 'f': known are g"),
        ("import os; os._exit(5)", "while importing it, the process ended with status 5"),
    ],
)
@pytest.mark.parametrize("isolated", [True, False])
def test_imports_that_fail_are_one_line(tmp_path, monkeypatch, text, message, isolated):
    isolated = isolated or "_exit" in text  # in this process it would end the tests
    (tmp_path / "broken.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    for target in ("broken.py:f", "broken:f"):
        monkeypatch.delitem(sys.modules, "broken", raising=False)
        with pytest.raises(InputError, match=r"^[^\n]*$") as error:
            candidate("relu", target, isolated=isolated)
        assert message in str(error.value)


def test_an_import_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr("senumpy.crosscheck.worker.START", 1.5)
    path = tmp_path / "slow.py"
    path.write_text("import time; time.sleep(60)")
    with pytest.raises(InputError, match=r"importing it did not end within 1\.5 s"):
        candidate("relu", f"{path}:f", isolated=True)
