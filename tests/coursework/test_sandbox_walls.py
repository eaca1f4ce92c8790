"""Each wall tried by what it is there to stop, also where other walls are missing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import senumpy
from senumpy.coursework.sandbox import Limits, Sandbox, probe
from senumpy.coursework.sandbox.pool import LINUX
from tests.coursework.test_sandbox import ROOT, SHORT, WORK, alive, module_path, run

__all__ = ["module_path"]
pytestmark = pytest.mark.skipif(not LINUX, reason="the walls are Linux's")

# Systems that lend fewer walls: in containers name spaces are missing, on old kernels Landlock.
SYSTEMS = {
    "all walls": (),
    "no name spaces": ("name spaces",),
    "no Landlock": ("Landlock",),
    "seccomp alone": ("Landlock", "name spaces"),
    "no seccomp": ("seccomp",),
}


@pytest.fixture(scope="module", params=SYSTEMS)
def walled(request, module_path):
    with Sandbox(SHORT) as box:
        box._without = SYSTEMS[request.param]
        box.stand = box.run(probe.WORK, {"folder": "/"}).notes["walls"]
        yield box


def needs(box, *walls):
    """Leave a test out where none of the walls that it tries stands."""
    if not set(walls) & set(box.stand):
        pytest.skip(f"only {' or '.join(walls)} stops that")


def refused(box, code, **job):
    """Run code that has to end in a PermissionError, or a message about what isn't there."""
    reply = run(
        box,
        f"""
try:
{textwrap.indent(textwrap.dedent(code), "    ")}
    notes = "done"
except (OSError, RuntimeError) as error:
    notes = type(error).__name__
""",
        **job,
    )
    assert reply.status == "done", reply
    assert reply.notes != "done"
    return reply.notes


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "submissions"
    folder.mkdir()
    (folder / "other.py").write_text("secret")
    yield folder
    assert [path.name for path in folder.iterdir()] == ["other.py"]
    assert (folder / "other.py").read_text() == "secret"
    assert (folder / "other.py").stat().st_mode & 0o777 != 0


CHANGES = {
    "delete": "os.unlink(path)",
    "overwrite": "open(path, 'w')",
    "append": "open(path, 'a')",
    "cut": "os.truncate(path, 0)",
    "new file": "open(path + 'x', 'w')",
    "new folder": "os.mkdir(path + 'x')",
    "rename": "os.rename(path, path + 'x')",
    "move away": "os.rename(path, 'here')",
    "link": "os.link(path, path + 'x')",
    "symbolic link": "os.symlink('/', path + 'x')",
    "pipe": "os.mkfifo(path + 'x')",
    "delete by shutil": "shutil.rmtree(os.path.dirname(path))",
}


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_else_is_written_or_deleted(walled, outside, name):
    needs(walled, "Landlock", "seccomp")
    path = str(outside / "other.py")
    refused(walled, f"import os, shutil; path = {path!r}; {CHANGES[name]}")


@pytest.mark.parametrize(
    "call",
    [
        "os.chmod(path, 0)",
        "os.chown(path, 1, 1)",
        "os.utime(path, (0, 0))",
        "os.setxattr(path, 'user.a', b'b')",
    ],
)
def test_modes_and_owners_stay(walled, outside, call):
    needs(walled, "seccomp")
    before = (outside / "other.py").stat()
    refused(walled, f"import os; path = {str(outside / 'other.py')!r}; {call}")
    after = (outside / "other.py").stat()
    assert (before.st_mode, before.st_uid, before.st_mtime) == (after.st_mode, after.st_uid, after.st_mtime)


def test_other_submissions_the_home_and_the_machine_are_not_read(walled, outside):
    needs(walled, "Landlock")
    for path in (outside / "other.py", Path(__file__), "/etc/passwd", "/proc/1/environ", "/proc/self/maps"):
        refused(walled, f"open({str(path)!r}).read()")
    for path in (outside, Path.home(), ROOT, "/", "/tmp"):
        refused(walled, f"import os; os.listdir({str(path)!r})")
    refused(walled, f"import os; os.chdir({str(outside)!r}); os.listdir()")


def test_the_library_itself_stays_as_it_is(walled):
    needs(walled, "Landlock", "seccomp")
    file = Path(senumpy.__file__)
    before = file.read_bytes()
    refused(walled, f"open({str(file)!r}, 'a')")
    refused(walled, f"import os; os.unlink({str(file)!r})")
    refused(walled, "import os; open(os.path.dirname(os.__file__) + '/sitecustomize.py', 'w')")
    assert file.read_bytes() == before


def test_no_network(walled):
    needs(walled, "network", "seccomp")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        refused(walled, f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=1)")
        refused(
            walled, f"import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}', timeout=1)"
        )
        refused(walled, "import socket; socket.getaddrinfo('example.org', 80)")
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("kind", ["file", "abstract"])
def test_no_unix_sockets(walled, tmp_path, kind):
    name = str(tmp_path / "socket") if kind == "file" else f"\0senumpy-{os.getpid()}"
    needs(walled, "seccomp")  # to Landlock a socket in the file system is no network
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        refused(walled, f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({name!r})")


@pytest.mark.parametrize(
    "call",
    [
        "os.fork()",
        "os.forkpty()",
        "subprocess.run(['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "multiprocessing.get_context('fork').Process(target=print).start()",
        "if ctypes.CDLL(None).system(b'true') != 0: raise OSError",
    ],
)
def test_no_processes(walled, call):
    needs(walled, "seccomp")
    refused(walled, f"import ctypes, multiprocessing, os, subprocess\n{call}")


def test_a_fork_bomb_ends_with_its_run(walled):
    code = """
    import os, time
    while True:
        try: os.fork()
        except OSError: time.sleep(0.01)
    """
    began = time.monotonic()
    assert run(walled, code).status == "timeout"
    assert time.monotonic() - began < 8
    assert run(walled, "notes = 1").notes == 1


def test_children_end_with_their_run(module_path, tmp_path):
    """Where processes can be started (no seccomp), they end, also in a session of their own."""
    with Sandbox(SHORT) as box:
        box._without = ("seccomp", "Landlock")
        box.stand = box.run(probe.WORK, {"folder": "/"}).notes["walls"]
        needs(box, "processes")
        code = f"""
        import os, time
        for _ in range(3):
            if not os.fork():
                os.setsid()
                os.fork()
                while True:
                    open({str(tmp_path / "beat")!r}, "a").write("x")
                    time.sleep(0.01)
        time.sleep(0.3)
        notes = 1
        """
        began = time.monotonic()
        assert run(box, code).status in ("done", "crashed")
        assert time.monotonic() - began < 4
        size = (tmp_path / "beat").stat().st_size
        assert size
        time.sleep(0.3)
        assert (tmp_path / "beat").stat().st_size == size


def test_a_bomb_of_threads_is_bounded(walled):
    needs(walled, "threads")
    code = """
    import threading, time
    threading.stack_size(32768)
    notes = 0
    try:
        while True:
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
            notes += 1
            if notes == 100: break
    except RuntimeError: pass
    """
    reply = run(walled, code)
    assert reply.status == "done"
    assert reply.notes <= 15
    assert run(walled, "notes = 1").notes == 1


def test_other_processes_are_out_of_reach(walled):
    needs(walled, "processes", "seccomp")
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        run(walled, "pass")
        (process,) = walled._running
        # Signal 0 asks whether one could be sent: if the wall falls, only the victim does.
        for pid in (os.getpid(), process._popen.pid, victim.pid, -1):
            if pid == -1 and "seccomp" not in walled.stand:
                continue  # it finds itself
            refused(walled, f"import os; os.kill({pid}, 0)")
        for call in ("os.kill({}, 9)", "signal.pidfd_send_signal(os.pidfd_open({}), 9)"):
            refused(walled, f"import os, signal; {call.format(victim.pid)}")
        code = """
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        results = [libc.ptrace(16, p, 0, 0) for p in job["pids"]]  # PTRACE_ATTACH
        results += [libc.prlimit(p, 0, None, ctypes.create_string_buffer(16)) for p in job["pids"] if p > 1]
        notes = results
        """
        reply = run(walled, code, pids=[victim.pid, os.getpid(), 1])
        assert reply.status == "done"
        assert set(reply.notes) == {-1}
        assert victim.poll() is None
        assert run(walled, "notes = 1").notes == 1
    finally:
        victim.kill()
        victim.wait()


def test_a_limit_that_was_lowered_cannot_be_raised(walled):
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))"
    assert run(walled, f"try:\n    {code}\nexcept ValueError: notes = 1").notes == 1
    code = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (-1, -1))"
    assert run(walled, f"try:\n    {code}\nexcept ValueError: notes = 1").notes == 1


def test_a_file_larger_than_allowed_is_an_exception(module_path):
    with Sandbox(Limits(file_bytes=1000)) as box:
        code = "f = open('x', 'wb', buffering=0)\nnotes = f.write(bytes(5000))\nf.write(b'x')"
        reply = run(box, code)
    assert reply.status == "crashed"
    assert "OSError" in reply.message
    assert "File too large" in reply.message


def test_signals_to_the_parent_by_news_of_files(walled):
    """F_SETOWN and O_ASYNC make the kernel send signals: to others, it must not."""
    needs(walled, "seccomp")  # Landlock stops the signal, not the call
    code = "import fcntl, os; r, w = os.pipe(); fcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())"
    refused(walled, code)


PARENT = """
import sys, time
sys.path.insert(0, {root!r})
from senumpy.coursework.sandbox import Limits, Sandbox, probe
with Sandbox(Limits(seconds=60, cpu=60), folder={folder!r}) as box:
    box._without = {without!r}
    box.run({work!r}, {{"code": "pass"}})
    print("ready", flush=True)
    box.run({work!r}, {{"code": "while True: pass"}})
"""


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_no_child_outlives_the_parent(tmp_path, end, system):
    code = PARENT.format(root=str(ROOT), folder=str(tmp_path), work=WORK, without=SYSTEMS[system])
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert parent.stdout is not None
    with parent.stdout:
        assert parent.stdout.readline() == "ready\n"
    time.sleep(0.3)
    started = descendants(parent.pid)
    assert len(started) >= 2
    parent.send_signal(end)
    parent.wait(10)
    until = time.monotonic() + 5
    while any(alive(pid) for pid in started) and time.monotonic() < until:
        time.sleep(0.05)
    assert not [pid for pid in started if alive(pid)]
    until = time.monotonic() + 2
    while list(tmp_path.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not list(tmp_path.iterdir())


def descendants(pid):
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            child = int(stat.parent.name)
            found += [child, *descendants(child)]
    return found
