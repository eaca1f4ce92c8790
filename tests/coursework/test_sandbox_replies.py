"""What a student's process sends is read without trust: it may write into the pipe itself."""

from __future__ import annotations

import json
import resource
import tracemalloc

import numpy as np
import pytest

from senumpy.coursework.sandbox import Sandbox, frames
from senumpy.coursework.sandbox.outcome import Limits, Outcome, reply_of
from senumpy.coursework.sandbox.pool import LINUX
from tests.coursework.test_sandbox import SHORT, module_path, run

__all__ = ["module_path"]
linux = pytest.mark.skipif(not LINUX, reason="the pipe is Linux's")


@pytest.fixture(scope="module")
def sandbox(module_path):
    with Sandbox(SHORT) as box:
        yield box


FORGERIES = {
    "garbage": "os.write(3, b'garbage' * 100)",
    "a length": "os.write(3, (2**63).to_bytes(8, 'little'))",
    "a pickle": "import pickle; os.write(3, pickle.dumps({'status': 'done'}))",
    "two replies": "os.write(3, data); os.write(3, data)",
    "a cut reply": "os.write(3, data[:-1])",
    "a status of its own": "os.write(3, reply(status='passed'))",
    "no status": "os.write(3, reply(status=None))",
    "objects": "os.write(3, reply(arrays=[['a', '|O', [1]]]) + bytes(8))",
    "a structure": "os.write(3, reply(arrays=[['a', 'f8,f8', [1]]]) + bytes(16))",
    "a shape too large": "os.write(3, reply(arrays=[['a', '<f8', [2**60]]]) + bytes(8))",
    "no size times a large one": "os.write(3, reply(arrays=[['a', '<f8', [2**62, 0]]]))",
    "a negative shape": "os.write(3, reply(arrays=[['a', '<f8', [-1]]]) + bytes(8))",
    "too many dimensions": "os.write(3, reply(arrays=[['a', '<f8', [1] * 99]]) + bytes(8))",
    "nested too deeply": "text = b'[' * 10**5; os.write(3, len(text).to_bytes(8, 'little') + text)",
    "no list of arrays": "os.write(3, reply(arrays=5))",
    "a list": "text = b'[]'; os.write(3, len(text).to_bytes(8, 'little') + text)",
    "a message of 45 MB": "os.write(3, reply(message='x' * 45_000_000))",
    "a message of 2 KB": "os.write(3, reply(message='x' * 2000))",
    "a message that is no text": "os.write(3, reply(message=5))",
    "many empty notes": "write(reply(notes=[{}] * 5_000_000))",
    "notes nested deeply": "write(reply(notes=eval('[' * 100 + ']' * 100)))",
    "an extra entry": "os.write(3, reply(more=1))",
    "text": "os.write(3, reply(arrays=[['a', '<U4', [1]]]) + bytes(16))",
    "times": "os.write(3, reply(arrays=[['a', '<M8[s]', [1]]]) + bytes(8))",
    "a dtype that NumPy lacks": "os.write(3, reply(arrays=[['a', '<f3', [1]]]) + bytes(3))",
    "neither true nor false": "os.write(3, reply(arrays=[['a', '|b1', [1]]]) + b'\\x07')",
    "a name twice": "os.write(3, reply(arrays=[['a', '<f8', [1]]] * 2) + bytes(16))",
    "a name that is no text": "os.write(3, reply(arrays=[[['a'], '<f8', [1]]]) + bytes(8))",
    "a long name": "os.write(3, reply(arrays=[['a' * 1000, '<f8', [1]]]) + bytes(8))",
    "a gigantic shape": "os.write(3, reply(arrays=[['a', '<f8', [10**4000, 0]]]))",
    "a text of arrays": "os.write(3, reply(arrays='abc'))",
}  # fmt: skip
FORGE = """
import json, os
def reply(**words):
    text = json.dumps({"status": "done", "message": "", "notes": None, "arrays": [], **words}).encode()
    return len(text).to_bytes(8, "little") + text
def write(data):
    while data:
        data = data[os.write(3, data):]
data = reply(arrays=[["a", "<f8", [1]]]) + bytes(8)
"""


@linux
@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_reply_is_none(sandbox, name):
    reply = run(sandbox, f"{FORGE}\n{FORGERIES[name]}\nos._exit(0)")
    assert (reply.status, reply.arrays, reply.notes) == ("crashed", {}, None)
    assert "\n" not in reply.message
    assert run(sandbox, "notes = 1").notes == 1


def framed(text, data=b""):
    return len(text).to_bytes(8, "little") + text + data


def head(**words):
    return json.dumps({"status": "done", "message": "", "notes": None, "arrays": [], **words}).encode()


@pytest.mark.parametrize(
    "data",
    [
        framed(head(message="x" * 45_000_000)),
        framed(head()[:-1] + b', "notes": [' + b"{}," * 15_000_000 + b"{}]}"),
        framed(b"[" * 45_000_000),
        framed(b" " * 45_000_000 + head()),
    ],
    ids=["message", "notes", "nested", "blanks"],
)
def test_a_reply_does_not_bloat_who_reads_it(data):
    tracemalloc.start()
    reply = reply_of(Outcome("", 0), data, b"", Limits())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reply.status == "crashed"
    assert most < 2**20


def test_the_worst_head_that_is_read_stays_small():
    data = framed(head(notes=[{}] * 250_000))
    tracemalloc.start()
    reply_of(Outcome("", 0), data, b"", Limits())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 64 * 2**20


def test_half_characters_and_those_that_move_a_terminal_are_replaced():
    text = head(message="\x1b[2J\ud800", notes=["\ud800", {"\udfff": 1}])
    reply = reply_of(Outcome("", 0), framed(text), b"", Limits())
    assert (reply.status, reply.message, reply.notes) == ("done", "?[2J?", ["?", {"?": 1}])


def test_only_what_is_done_has_results():
    text = head(status="crashed", message="no", notes=[1], arrays=[["a", "<f8", [1]]])
    reply = reply_of(Outcome("", 0), framed(text, bytes(8)), b"", Limits())
    assert (reply.status, reply.message, reply.notes, reply.arrays) == ("crashed", "no", None, {})


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_bytes_that_were_changed_never_crash_the_reader(cut):
    data = bytearray(frames.encode({"status": "done", "message": ""}, {"a": np.arange(3.0)}))
    for value in range(256):
        data[cut] = value
        reply = reply_of(Outcome("", 0), bytes(data), b"", Limits())
        assert reply.status in ("done", "crashed")


def test_large_notes_are_said(sandbox):
    reply = run(sandbox, "notes = ['x' * 1000] * 2000")
    assert (reply.status, reply.notes) == ("crashed", None)
    assert "wanted at most 1024 KiB" in reply.message


@linux
def test_a_reply_of_many_mebibytes_comes_through(sandbox):
    reply = run(sandbox, "import numpy as np; arrays = {'a': np.arange(7 * 2**20)}")
    assert reply.status == "done", reply
    np.testing.assert_array_equal(reply.arrays["a"], np.arange(7 * 2**20))


@linux
def test_a_flood_of_replies_ends_with_its_time(sandbox):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reply = run(sandbox, "import os\nwhile True: os.write(3, bytes(2**20))")
    assert reply.status == "timeout"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 2**10
    assert run(sandbox, "notes = 1").notes == 1
