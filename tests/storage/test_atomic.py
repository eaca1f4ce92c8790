from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from senumpy.errors import InputError
from senumpy.storage import append_line, load_tensors, read_lines, save_tensors, write_atomic

posix = pytest.mark.skipif(os.name != "posix", reason="file size limits and kill -9 are POSIX")


def run_python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_writes_and_replaces(tmp_path):
    path = tmp_path / "config.toml"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_new_file_is_readable_as_any_other(tmp_path):
    write_atomic(tmp_path / "a", b"x")
    (tmp_path / "b").write_bytes(b"x")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("name", ["missing/a", "folder"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"cannot save .*nothing is left behind"):
        write_atomic(tmp_path / name, b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_at_any_step_leaves_the_previous_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    owner = os if failing == "fsync" else type(path)
    monkeypatch.setattr(owner, failing, fail)
    with pytest.raises(InputError, match="No space left on device; the previous a is untouched"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_does_not_read_back_is_not_kept(tmp_path, monkeypatch):
    """A disk that loses bytes without saying so."""
    path = tmp_path / "a"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.truncate(descriptor, 2))
    with pytest.raises(InputError, match="3 bytes were written, 2 read back; the previous a is untouched"):
        write_atomic(path, b"new")
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.pwrite(descriptor, b"?", 0))
    with pytest.raises(InputError, match="differs when read back"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"


def test_ctrl_c_while_saving_leaves_the_previous_file(tmp_path, monkeypatch):
    path = tmp_path / "a"
    write_atomic(path, b"old")

    def interrupt(_descriptor):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_a_full_disk_leaves_the_last_checkpoint(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_tensors(path, {"w": np.arange(1000.0)}, {"epoch": "1"})
    result = run_python(
        """
        import resource, sys
        import numpy as np
        from senumpy.storage import append_line, save_tensors
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
        try:
            save_tensors(sys.argv[1], {"w": np.zeros(100_000)}, {"epoch": "2"})
        except Exception as error:
            print(type(error).__name__, error)
        """,
        path,
    )
    assert result.stdout.startswith(f"InputError cannot save {path}: File too large; the previous checkpoint")
    assert result.stdout.count("\n") == 1
    assert load_tensors(path)[1] == {"epoch": "1"}
    assert list(tmp_path.iterdir()) == [path]


@posix
def test_a_full_disk_leaves_the_metrics_as_they_were(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"epoch": 1, "note": "x" * 40})
    before = path.read_bytes()
    result = run_python(
        """
        import resource, sys
        from senumpy.storage import append_line
        resource.setrlimit(resource.RLIMIT_FSIZE, (80, 80))
        try:
            append_line(sys.argv[1], {"epoch": 2, "note": "x" * 40})
        except Exception as error:
            print(type(error).__name__, error)
        """,
        path,
    )
    assert result.stdout == f"InputError cannot append to {path}: File too large\n"
    assert path.read_bytes() == before


@posix
def test_kill_in_the_middle_of_saving_leaves_a_whole_file(tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    code = """
        import itertools, sys
        import numpy as np
        from senumpy.storage import save_tensors
        for step in itertools.count():
            save_tensors(sys.argv[1], {"w": np.full(300_000, float(step))}, {"step": str(step)})
            print(step, flush=True)
    """
    rng = np.random.default_rng(7)
    for _ in range(3):
        command = [sys.executable, "-c", textwrap.dedent(code), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.05))
            process.send_signal(signal.SIGKILL)
            finished = [0, *(int(line) for line in process.stdout if line.endswith("\n"))]
        tensors, metadata = load_tensors(path)
        assert int(metadata["step"]) in (finished[-1], finished[-1] + 1)
        np.testing.assert_array_equal(tensors["w"], np.full(300_000, float(metadata["step"])))
    assert len(list(tmp_path.iterdir())) <= 2  # at most one temporary file, however many kills


def test_lines_round_trip(tmp_path):
    path = tmp_path / "metrics.jsonl"
    rows = [{"epoch": 1, "test_accuracy": 0.5}, {"epoch": 2, "test_accuracy": float("nan")}]
    for row in rows:
        append_line(path, row)
    assert read_lines(path) == ([rows[0], {"epoch": 2, "test_accuracy": None}], False)


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_is_left_out_and_then_replaced(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"epoch": 1})
    append_line(
        path, {"epoch": 2, "note": "x" * 5000}
    )  # longer than the piece in which the end is looked for
    path.write_bytes(path.read_bytes()[:-cut])
    assert read_lines(path) == ([{"epoch": 1}], True)
    append_line(path, {"epoch": 3})
    assert read_lines(path) == ([{"epoch": 1}, {"epoch": 3}], False)


def test_a_log_that_is_one_torn_line_starts_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch"')
    assert read_lines(path) == ([], True)
    append_line(path, {"epoch": 1})
    assert read_lines(path) == ([{"epoch": 1}], False)


@pytest.mark.parametrize("line", [b"{", b"3", b"\xff"])
def test_a_bad_line_in_the_middle_is_named(tmp_path, line):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"{}\n" + line + b"\n{}\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 2: "):
        read_lines(path)


def test_a_missing_log_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*No such file"):
        read_lines(tmp_path / "metrics.jsonl")
