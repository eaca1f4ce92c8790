"""What a run may read and write: not the library's own sources, and no more than is counted."""

from __future__ import annotations

import os
import platform
import textwrap
from pathlib import Path

import pytest

import senumpy
from senumpy.coursework.sandbox import Sandbox, confine, probe, scratch, seccomp
from senumpy.coursework.sandbox.pool import LINUX
from tests.coursework.test_sandbox import SHORT, module_path, run

__all__ = ["module_path"]
pytestmark = pytest.mark.skipif(not LINUX, reason="the walls are Linux's")
PACKAGE = Path(senumpy.__file__).parent


@pytest.fixture(scope="module")
def sandbox(module_path):
    with Sandbox(SHORT) as box:
        box.stand = box.run(probe.WORK, {"folder": "/"}).notes["walls"]
        yield box


def needs(box, *walls):
    if not set(walls) <= set(box.stand):
        pytest.skip(f"needs {' and '.join(walls)}")


def attempted(box, code):
    """Return the exception that code ends in, as text."""
    body = textwrap.indent(textwrap.dedent(code), "    ")
    reply = run(
        box,
        f"try:\n{body}\n    notes = 'done'\nexcept Exception as e: notes = f'{{type(e).__name__}}: {{e}}'",
    )
    assert reply.status == "done", reply
    return reply.notes


SOURCES = {
    "by the library": """
        import timeit
        setup = "from senumpy.coursework.strip import solution_text; " \\
                "from senumpy.coursework.catalogue import exercise_named"
        timeit.timeit("print(solution_text(exercise_named('scale_backward')))", setup, number=1)
        """,
    "a source": f"print(open({str(PACKAGE / 'ops' / 'scale.py')!r}).read())",
    "what is compiled of it": """
        import importlib.util, senumpy.ops.scale as module
        open(importlib.util.cache_from_source(module.__file__), "rb").read()
        """,
    "by inspect": """
        import inspect, senumpy.ops.scale
        print(inspect.getsource(senumpy.ops.scale))
        """,
    "by its loader": """
        import senumpy.ops.scale as module
        print(module.__loader__.get_source("senumpy.ops.scale"))
        """,
    "by pkgutil": "import pkgutil; print(pkgutil.get_data('senumpy.ops', 'scale.py'))",
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_library_s_sources_are_not_read(sandbox, name):
    needs(sandbox, "Landlock")
    said = attempted(sandbox, SOURCES[name])
    refusals = (
        "PermissionError",
        "FileNotFoundError",
        "OSError",
        "ImportError",
        "InputError: unknown exercise",
    )
    assert said.startswith(refusals), said
    assert "\n" not in said


def test_no_lines_of_the_library_are_kept_for_tracebacks(sandbox):
    needs(sandbox, "Landlock")
    code = f"""
    import linecache
    assert not linecache.getlines({str(PACKAGE / "ops" / "scale.py")!r})
    assert not [name for name in linecache.cache if "senumpy" in name and linecache.cache[name][2:3]]
    """
    assert attempted(sandbox, code) == "done"


def test_what_an_answer_may_import_is_there(sandbox):
    code = """
    import senumpy.coursework.subjects, senumpy.models, senumpy.training, senumpy.verify
    from senumpy.ops.windows import *
    from senumpy.training import cosine
    import numpy.polynomial, numpy.testing, decimal, statistics, fractions, logging, heapq, pprint
    from concurrent.futures import ThreadPoolExecutor
    """
    assert attempted(sandbox, code) == "done"


def test_a_module_that_is_imported_too_late_is_said_in_one_line(sandbox):
    needs(sandbox, "Landlock")
    said = attempted(sandbox, "import senumpy.cli_lessons")
    assert said == "ModuleNotFoundError: senumpy.cli_lessons can't be read in here"


def test_a_traceback_through_the_library_can_be_shown(sandbox):
    code = """
    import traceback, numpy as np
    from senumpy.models import create_model
    try:
        create_model("no such model")
    except Exception:
        traceback.print_exc()
    """
    reply = run(sandbox, code)
    assert reply.status == "done", reply
    assert "no such model" in reply.printed


def test_installed_beside_others_the_library_is_hidden_and_they_are_not(tmp_path):
    packages = tmp_path / "lib" / "python3" / "site-packages"
    for name in ("numpy", "senumpy/ops", "senumpy_other"):
        (packages / name).mkdir(parents=True)
    (packages / "six.py").touch()
    (packages / "loop").symlink_to(tmp_path)
    (packages / "out").symlink_to(tmp_path.parent)
    (packages / "link").symlink_to(packages / "senumpy")
    (tmp_path / "lib" / "os.py").touch()
    kept, listed = confine._beside({tmp_path / "lib", packages}, {packages / "senumpy"})
    assert kept == sorted(
        map(
            str,
            (
                packages / "numpy", packages / "senumpy_other", packages / "six.py",
                tmp_path / "lib" / "os.py",
            ),
        )
    )  # fmt: skip
    assert {str(tmp_path / "lib"), str(packages.parent), str(packages)} == set(listed)


def test_the_readable_folders_hold_no_copy_of_the_library():
    kept, _ = confine.readable()
    assert not [path for path in kept if PACKAGE.is_relative_to(path) or Path(path).is_relative_to(PACKAGE)]
    assert not [path for path in kept if (Path(path) / "senumpy").exists()]


HOARDS = {
    "removed, still open": """
        import os
        files = []
        for i in range(40):
            f = open("x", "wb"); files.append(f); os.unlink("x"); f.write(bytes(9 * 2**20)); f.flush()
        """,
    "without a name": """
        import os
        files = []
        for i in range(40):
            files.append(os.open(".", os.O_TMPFILE | os.O_RDWR)); os.write(files[-1], bytes(9 * 2**20))
        """,
    "overwritten by another": """
        import os
        files = []
        for i in range(40):
            f = open("x", "wb"); files.append(f); f.write(bytes(9 * 2**20)); f.flush()
            open("y", "w"); os.rename("y", "x")
        """,
    "in a folder that can't be listed": """
        import os, time
        os.mkdir("d", 0o300)
        for i in range(40):
            open(f"d/{i}", "wb").write(bytes(9 * 2**20))
        time.sleep(0.3)
        """,
    "deeper than a path": """
        import os, time
        for i in range(20):
            os.mkdir("d" * 250); os.chdir("d" * 250)
        for i in range(40):
            open(str(i), "wb").write(bytes(9 * 2**20))
        time.sleep(0.3)
        """,
    "larger after all": """
        import resource
        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        with open("x", "wb") as f: f.write(bytes(30 * 2**20))
        """,
}


@pytest.mark.parametrize("name", HOARDS)
def test_no_way_of_writing_is_left_uncounted(sandbox, name):
    needs(sandbox, "Landlock", "seccomp")
    reply = run(sandbox, HOARDS[name])
    assert reply.status != "done"
    assert reply.status == "too much output" or "OSError" in reply.message or "PermissionE" in reply.message


def test_a_folder_that_cannot_be_looked_into_is_too_much(tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    (tmp_path / "open").mkdir()
    assert not scratch.too_much(tmp_path)
    scandir = os.scandir

    def as_a_user(path):  # root may list every folder
        if str(path).endswith("closed"):
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", as_a_user)
    assert scratch.too_much(tmp_path)
    assert not scratch.too_much(tmp_path / "gone")


def test_few_files_are_open_at_once(sandbox):
    said = attempted(sandbox, "files = [open('/dev/null') for _ in range(40)]")
    assert "Too many open files" in said


@pytest.mark.parametrize(
    "name",
    [
        "open_tree_attr", "fsconfig", "fspick", "fsopen", "fsmount", "io_setup", "inotify_init1",
        "fanotify_init", "personality", "userfaultfd", "perf_event_open", "bpf", "kexec_load",
        "kexec_file_load", "init_module", "finit_module", "socketpair",
    ],
)  # fmt: skip
def test_calls_that_no_answer_needs_are_refused(sandbox, name):
    needs(sandbox, "seccomp")
    number = seccomp._REFUSED[name][0 if platform.machine() == "x86_64" else 1]
    code = f"""
    import ctypes, errno
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall({number}, -1, 0, 0, 0, 0, 0) == -1
    notes = errno.errorcode[ctypes.get_errno()]
    """
    reply = run(sandbox, code)
    assert reply.notes == "EPERM", reply


def test_no_call_stands_twice_in_the_tables():
    tables = (seccomp._REFUSED, seccomp._ON_ITSELF, seccomp._SIGNALS, seccomp._CHANGES)
    for which in (0, 1):
        numbers = [pair[which] for table in tables for pair in table.values() if pair[which] is not None]
        assert len(numbers) == len(set(numbers))
