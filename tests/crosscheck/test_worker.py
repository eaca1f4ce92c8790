"""Candidates in a process of their own: whatever they do, the run goes on; imports that fail are one line."""

from __future__ import annotations

import sys
import textwrap
import time

import numpy as np
import pytest

from senumpy.crosscheck.candidates import candidate, close
from senumpy.errors import InputError
from senumpy.verify.calls import OpCall, results
from tests.crosscheck.test_candidates import CALL, kinds, only

STRANGER = """
    import ctypes, os, signal, sys, time
    import numpy as np

    def relu(x): return np.maximum(x, 0), x > 0
    def back(dy, on): return dy * on
    def hangs(x): time.sleep(100)
    def deaf(x):
        import collections, itertools
        collections.deque(itertools.repeat(0), maxlen=0)
    calls = []
    def hangs_first(x):
        calls.append(0)
        return time.sleep(100) if len(calls) == 1 else relu(x)
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
        ("hangs_first", "timeout", "in hangs_first"),  # each time: after the first it is another process
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
