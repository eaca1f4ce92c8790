"""A candidate in a process of its own: it may hang, crash, exit and print, and the run goes on.

The process imports the candidate once and then answers call after call. What it writes to file descriptors 1
and 2 goes into files that are looked at after each call. When the time is over, or the process is gone, it is
killed with all that it started, and the next call gets a new one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from senumpy.crosscheck.adapters.commands import kill, signal_name
from senumpy.errors import InputError
from senumpy.verify.calls import OpCall
from senumpy.verify.conduct import Answer, Conduct, Restriction
from senumpy.verify.guard import flush, printed

START = 90.0  # seconds for importing the candidate: frameworks take their time on a cold disk
_GRACE = 1.0  # a call that can be interrupted says where it was; then the process is killed
_TICK = 0.1
_LIMIT = 16 << 20  # bytes of output kept on disk while a call lasts
_GONE, _AGAIN = "gone", "again"


class WorkerCandidate:
    """A candidate named by text, in a process of its own.

    Parameters
    ----------
    op, target, backward, framework, options, timeout
        As of `senumpy.crosscheck.candidates.candidate`.

    Raises
    ------
    InputError
        The candidate can't be imported; the message is one line.
    """

    def __init__(
        self,
        op: str,
        target: str,
        backward: Any,
        framework: str | None,
        options: dict[str, Any],
        timeout: float,
    ) -> None:
        self.label, self._timeout = target, timeout
        second = None if backward is None else str(backward)
        self._order = (op, target, second, framework, options, timeout)
        self._process: _Process | None = None
        self.framework, self._restriction = self._start()

    def accepts(self, call: OpCall) -> str:
        """Return why a call isn't for it; empty where it is."""
        reply = self._ask("accepts", call)
        # What went wrong shows again, with its own verdict, when the call is made.
        return reply if isinstance(reply, str) else ""

    def restrict(self) -> Restriction | None:
        """Return what calls have to look like, or None."""
        return self._restriction

    def run(self, call: OpCall, dtype: DTypeLike) -> Answer:
        """Make a call in the process; killed when the time is over."""
        reply = self._ask("run", call, np.dtype(dtype).name)
        return reply if isinstance(reply, Answer) else Answer(conduct=[reply])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _start(self) -> tuple[str, Restriction | None]:
        self._process = _Process()
        self._process.send(("start", *self._order))
        reply = self._process.receive(START)
        if isinstance(reply, tuple):
            self._process.output()  # what importing prints is no call's
            return reply
        self.close()
        if isinstance(reply, str):
            raise InputError(reply)
        if reply is None:
            raise InputError(f"{self.label}: importing it did not end within {START:g} s")
        raise InputError(f"{self.label}: while importing it, {reply.message}")

    def _ask(self, what: str, *words: Any) -> Any:
        """Return the reply of the process, or a `Conduct` when none comes."""
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None
        process.send((what, *words))
        reply = process.receive(self._timeout + _GRACE)
        output = process.output()
        if isinstance(reply, Answer):
            reply.conduct += output
            if any(entry.kind == "timeout" for entry in reply.conduct):
                self.close()  # interrupted anywhere: whatever it holds may be half done
            return reply
        if isinstance(reply, str):
            return reply
        self.close()
        if reply is None:
            reply = Conduct("timeout", f"did not come back within {self._timeout:g} s and had to be killed")
        return Answer(conduct=[reply, *output])


class _Process:
    """The process: started, spoken to, listened to, killed."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="senumpy-worker-"))
        self._streams = [self._folder / name for name in ("stdout", "stderr")]
        for stream in self._streams:
            stream.touch()
        lines = "import sys; sys.path[:] = {!r}; from senumpy.crosscheck.worker import main; main({!r})"
        code = lines.format([entry or str(Path.cwd()) for entry in sys.path], [str(s) for s in self._streams])
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "GRPC_VERBOSITY": "ERROR", **os.environ}
        with self._streams[1].open("ab") as errors:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                env=environment,
            )
        self._counted, self._first = [0, 0], ["", ""]
        self._replies: queue.SimpleQueue[Any] = queue.SimpleQueue()
        assert self._popen.stdout is not None
        threading.Thread(target=_listen, args=(self._popen.stdout, self._replies), daemon=True).start()
        self._finalizer = weakref.finalize(self, _end, self._popen, self._folder)
        atexit.register(self._finalizer)

    def send(self, message: Any) -> None:
        """Send a message; a process that is gone shows in `receive`."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            pickle.dump(message, self._popen.stdin)
            self._popen.stdin.flush()

    def receive(self, seconds: float) -> Any:
        """Return the next message, None when the time is over, a `Conduct` when the process is gone."""
        limit = time.monotonic() + seconds
        while (left := limit - time.monotonic()) > 0:
            try:
                reply = self._replies.get(timeout=min(left, _TICK))
            except queue.Empty:
                self._shorten()
                continue
            if reply == (_AGAIN,):
                limit = time.monotonic() + seconds
            else:
                return self._gone() if reply is _GONE else reply
        return None

    def output(self) -> list[Conduct]:
        """Return a "printed" for each stream that was written to since the last time."""
        found = []
        for i, name in enumerate(("stdout", "stderr")):
            self._take(i, 0)
            if self._counted[i]:
                found.append(printed(name, self._first[i]))
            self._counted[i], self._first[i] = 0, ""
        return found

    def end(self) -> None:
        """Kill the process and all that it started."""
        atexit.unregister(self._finalizer)
        self._finalizer()

    def _gone(self) -> Conduct:
        status = self._popen.wait()
        if status < 0:
            name = signal_name(-status)
            memory = " (out of memory?)" if name == "SIGKILL" else ""
            return Conduct("crashed", f"the process was killed by {name}{memory}")
        return Conduct("exited", f"the process ended with status {status} (os._exit?)")

    def _shorten(self) -> None:
        for i in range(2):
            self._take(i, _LIMIT)

    def _take(self, i: int, least: int) -> None:
        """Count what a stream's file holds and empty it, when it is longer than `least`."""
        path = self._streams[i]
        size = path.stat().st_size
        if size <= least:
            return
        if not self._counted[i]:
            with path.open("rb") as file:
                self._first[i] = file.read(2000).decode(errors="replace")
        self._counted[i] += size
        os.truncate(path, 0)  # the process appends: it goes on at the beginning


def _listen(stream: BinaryIO, replies: queue.SimpleQueue[Any]) -> None:
    """Put all that comes into the queue, and at the end that it is the end."""
    while True:
        try:
            replies.put(pickle.load(stream))
        except Exception:  # the end, or something that is no message: either way there are no more
            replies.put(_GONE)
            return


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    kill(process)
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    shutil.rmtree(folder, ignore_errors=True)


def main(streams: list[str]) -> None:
    """Answer messages from standard input until it ends; the candidate gets other standard streams."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123  (a file descriptor is wanted)
        os.dup2(nothing.fileno(), 0)
    for number, path in enumerate(streams, 1):
        stream = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(stream, number)
        os.close(stream)
    process = os.getpid()
    _end_with_parent()
    candidate: Any = None

    def say(reply: Any) -> None:
        if os.getpid() != process:
            os._exit(0)  # a child that the candidate forked and that came back: it has no say
        pickle.dump(reply, answers)
        answers.flush()

    while True:
        try:
            message = pickle.load(questions)
        except EOFError:
            return
        if message[0] == "start":
            candidate, reply = _begin(*message[1:])
            if candidate is not None:
                candidate.before_repeat = lambda: say((_AGAIN,))
        elif message[0] == "accepts":
            reply = _accepts(candidate, message[1])
        else:
            reply = candidate.run(*message[1:])
        flush()
        say(reply)


def _begin(
    op: str,
    target: str,
    backward: str | None,
    framework: str | None,
    options: dict[str, Any],
    timeout: float,
) -> tuple[Any, Any]:
    from senumpy.crosscheck.candidates import LocalCandidate, adapter_for

    try:
        adapter = adapter_for(op, target, backward, framework, timeout)
        candidate = LocalCandidate(target, adapter, options, timeout, capture=False)
        return candidate, (candidate.framework, candidate.restrict())
    except InputError as error:
        return None, str(error)


def _accepts(candidate: Any, call: OpCall) -> str:
    try:
        return candidate.accepts(call)
    except InputError as error:
        return str(error)
    except (Exception, SystemExit):
        return ""


def _end_with_parent() -> None:
    """Let the process end when its parent does, even in the midst of a call."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
