"""The sandbox: whatever a run does, a reply comes, in time, and the next run is as if nothing had been."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from senumpy.coursework.sandbox import Limits, Sandbox
from senumpy.coursework.sandbox.pool import LINUX

WORK = "tests.coursework.sandbox_work:run_code"
ROOT = Path(__file__).parents[2]
SHORT = Limits(seconds=1.5, cpu=1.0, memory=2**28)

linux = pytest.mark.skipif(not LINUX, reason="the walls are Linux's")


@pytest.fixture(scope="module")
def module_path():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield


@pytest.fixture(scope="module")
def sandbox(module_path):
    with Sandbox(SHORT) as box:
        yield box


def run(box, code, **job):
    return box.run(WORK, {"code": textwrap.dedent(code), **job})


def test_arrays_and_notes_come_back(sandbox):
    reply = run(
        sandbox,
        """
        import numpy as np
        print("hello")
        arrays = {"a": job["x"] * 2, "scalar": np.float32(3), "empty": np.zeros((0, 2), complex),
                  "turned": np.arange(6).reshape(2, 3).T, "yes": np.array([True])}
        notes = {"shape": job["x"].shape, "mean": np.float64(0.5), "nan": float("nan")}
        """,
        x=np.arange(3.0),
    )
    assert (reply.status, reply.message, reply.printed) == ("done", "", "hello\n")
    np.testing.assert_array_equal(reply.arrays["a"], [0, 2, 4])
    assert reply.arrays["scalar"].dtype == np.float32
    assert reply.arrays["scalar"].shape == ()
    assert reply.arrays["empty"].shape == (0, 2)
    np.testing.assert_array_equal(reply.arrays["turned"], [[0, 3], [1, 4], [2, 5]])
    assert reply.arrays["turned"].flags.writeable
    assert reply.notes["shape"] == [3]
    assert reply.notes["nan"] != reply.notes["nan"]


ENDINGS = {
    "a loop": ("while True: pass", "timeout", ""),
    "sleep": ("import time; time.sleep(60)", "timeout", "within 1.5 s"),
    "a loop in C": ("import itertools; max(itertools.repeat(0))", "timeout", ""),
    "swallows exceptions": (
        """
        while True:
            try:
                while True: pass
            except BaseException: pass
        """,
        "timeout", "",
    ),
    "ignores signals": (
        """
        import signal
        for s in signal.valid_signals():
            try: signal.signal(s, signal.SIG_IGN)
            except OSError: pass
        while True: pass
        """,
        "timeout", "",
    ),
    "blocks signals": (
        "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(60)",
        "timeout", "",
    ),
    "stops itself": ("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", "timeout", ""),
    "memory": ("import numpy as np; x = np.ones(2**28)", "memory", "memory"),
    "memory bit by bit": ("x = []\nwhile True: x.append(bytes(10**6))", "memory", "memory"),
    "os._exit": ("import os; os._exit(0)", "crashed", "lost"),
    "os._exit(7)": ("import os; os._exit(7)", "exited", "status 7"),
    "sys.exit": ("import sys; sys.exit('bye')", "exited", "bye"),
    "segmentation fault": ("import ctypes; ctypes.string_at(0)", "crashed", "SIGSEGV"),
    "abort": ("import os; os.abort()", "crashed", "SIGABRT"),
    "recursion in C": (
        "import sys; sys.setrecursionlimit(10**9)\nclass A:\n def __getattr__(s, n): getattr(s, n)\nA().x",
        "crashed", "",
    ),
    "kills itself": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "memory", "killed"),
    "prints": ("while True: print('x' * 10_000)", "too much output", "1 MiB"),
    "prints past Python": ("import os\nwhile True: os.write(2, b'x' * 10_000)", "too much output", ""),
    "many files": (
        "import itertools\nfor i in itertools.count(): open(str(i), 'w').close()",
        "too much output", "1000 files",
    ),
    "deep folders": (
        "import os\nwhile True:\n os.mkdir('d'); os.chdir('d')", "too much output", "",
    ),
    "large files": (
        "import itertools\nfor i in itertools.count(): open(str(i), 'wb').write(bytes(9 * 2**20))",
        "too much output", "64 MiB",
    ),
    "raises": ("raise KeyError('gone\\nfar')", "crashed", "KeyError: 'gone\\nfar'"),
    "raises an interrupt": ("raise KeyboardInterrupt", "crashed", "KeyboardInterrupt"),
    "an exception that can't be shown": (
        "class E(Exception):\n def __str__(self): raise SystemExit\nraise E", "crashed", "E: ?",
    ),
    "closes files": ("import os; os.closerange(0, 1000)", "crashed", "handed over"),
    "objects for results": ("import numpy as np; arrays = {'a': np.array([{}])}", "crashed", "object"),
    "notes that are no JSON": ("notes = object()", "crashed", "JSON"),
    "large results": ("import numpy as np; arrays = {'a': np.zeros(9 * 2**20)}", "too much output", "64 MiB"),
}  # fmt: skip


@linux
@pytest.mark.parametrize("name", ENDINGS)
def test_whatever_it_does_a_reply_comes_and_the_next_run_is_untouched(sandbox, name):
    code, status, words = ENDINGS[name]
    began = time.monotonic()
    reply = run(sandbox, code)
    assert time.monotonic() - began < 6
    assert reply.status == status, reply
    assert words in reply.message
    assert reply.arrays == {}
    assert "\n" not in reply.message
    assert len(reply.message) <= 300
    assert len(reply.printed) <= 2000
    assert run(sandbox, "notes = 1").notes == 1


def test_what_is_shown_cannot_move_the_terminal(sandbox):
    reply = run(sandbox, "print('\\033[2J\\x07caf\\u00e9'); raise ValueError('\\033[31mred\\u202e')")
    assert reply.printed == "?[2J?café\n"
    assert reply.message == "ValueError: ?[31mred?"


def test_messages_are_cut(sandbox):
    reply = run(sandbox, "print('y' * 5000); raise ValueError('x' * 10**6)")
    assert len(reply.message) == 300
    assert reply.printed == "y" * 2000


@linux
def test_the_end_of_time_is_the_same_with_threads(sandbox):
    code = """
    import threading, time
    threading.Thread(target=time.sleep, args=(60,)).start()
    notes = 1
    """
    began = time.monotonic()
    assert run(sandbox, code).notes == 1
    assert time.monotonic() - began < 1


@linux
def test_each_run_has_an_empty_folder_of_its_own(sandbox):
    code = """
    import os, tempfile
    there = os.listdir()
    open("mine", "w").write("x")
    os.close(tempfile.mkstemp()[0])
    notes = [there, os.getcwd(), os.environ["HOME"], tempfile.gettempdir()]
    """
    first, second = run(sandbox, code).notes, run(sandbox, code).notes
    assert first[0] == second[0] == []
    assert len(set(first[1:])) == 1
    assert first[1] != second[1]
    assert not Path(first[1]).exists()


@linux
def test_products_work_and_so_do_a_few_threads(sandbox):
    code = """
    import numpy as np
    from concurrent.futures import ThreadPoolExecutor
    x = np.random.default_rng(0).standard_normal((200, 300))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda i: x[i] @ x.T, range(200)))
    arrays = {"difference": np.abs(np.array(parts) - x @ x.T).max()}
    """
    reply = run(sandbox, code)
    assert reply.status == "done", reply
    assert reply.arrays["difference"] < 1e-10


@linux
def test_the_environment_has_no_secrets(module_path, monkeypatch):
    monkeypatch.setenv("COURSE_TOKEN", "secret")
    with Sandbox(SHORT) as box:
        reply = run(box, "import os; notes = dict(os.environ)")
    assert "COURSE_TOKEN" not in reply.notes
    assert reply.notes["OPENBLAS_NUM_THREADS"] == "1"


def test_several_threads_may_ask_at_once(module_path):
    with Sandbox(Limits(seconds=20), workers=2) as box:
        found = {}

        def ask(number):
            for i in range(5):
                code = f"import time; time.sleep(0.05); notes = {number * 10 + i}"
                found[number * 10 + i] = run(box, code).notes

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 20
    assert all(key == value for key, value in found.items())


def test_work_that_cannot_be_imported_is_our_mistake(sandbox):
    with pytest.raises(RuntimeError, match="no_such_module"):
        sandbox.run("no_such_module:function", {})
    assert run(sandbox, "notes = 1").notes == 1


def test_a_closed_sandbox_leaves_nothing(module_path, tmp_path):
    box = Sandbox(SHORT, folder=tmp_path)
    with box:
        assert run(box, "notes = 1").notes == 1
        assert list(tmp_path.iterdir())
    assert not list(tmp_path.iterdir())
    with pytest.raises(RuntimeError, match="closed"):
        run(box, "notes = 1")


def test_closing_ends_a_run_of_another_thread(module_path):
    box = Sandbox(Limits(seconds=60))
    errors = []

    def ask():
        try:
            run(box, "import time; time.sleep(60)")
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(1.5)
    box.close()
    thread.join(5)
    assert errors == ["the sandbox is closed"]


@linux
def test_a_process_that_was_killed_is_replaced(module_path):
    with Sandbox(SHORT) as box:
        run(box, "notes = 1")
        (process,) = box._running
        process._popen.kill()
        process._popen.wait()
        assert run(box, "notes = 2").status == "crashed"
        assert run(box, "notes = 3").notes == 3


def test_the_description_says_what_was_tried(sandbox):
    text = sandbox.describe()
    assert "a limit of time" in text
    if LINUX:
        assert "limits of resources" in text
    if "Landlock, seccomp" in text:
        assert "Not refused" not in text


@pytest.mark.parametrize(
    "name", ["a loop", "sleep", "sys.exit", "os._exit(7)", "prints", "segmentation fault"]
)
def test_a_plain_process_where_there_are_no_walls(module_path, name, monkeypatch, tmp_path):
    monkeypatch.setattr("senumpy.coursework.sandbox.plain._START", 1.0)
    if sys.platform == "win32" and name == "segmentation fault":
        pytest.skip("Python catches it there")
    code, status, words = ENDINGS[name]
    with Sandbox(Limits(seconds=1.5, cpu=5), folder=tmp_path) as box:
        box._walled = False
        began = time.monotonic()
        reply = run(box, code)
        assert time.monotonic() - began < 10
        assert reply.status == status, reply
        assert words in reply.message
        if name == "a loop":
            text = box.describe()
            assert "Not refused on this system: reading other files, writing elsewhere" in text
            reply = run(box, "arrays = {'x': job['x']}; print('hello')", x=np.arange(3))
            assert reply.printed == "hello\n"
            np.testing.assert_array_equal(reply.arrays["x"], [0, 1, 2])
    assert not list(tmp_path.iterdir())


def alive(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
