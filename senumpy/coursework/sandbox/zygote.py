"""The process that forks a child for each run, and watches it. Linux only.

It is started with one thread and stays with one: a fork of it is a whole process. Where the system lends name
spaces it is process 1 of its own: when it ends, all that was started in there ends.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import random
import re
import select
import signal
import struct
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

from senumpy.coursework.sandbox import child, confine, kernel, scratch
from senumpy.coursework.sandbox.collect import Collected
from senumpy.coursework.sandbox.outcome import KEPT, LOST, OUTPUT, REPLY, Killed, Limits
from senumpy.coursework.sandbox.walls import STANDING

_LENGTH = struct.Struct("<Q")
_TICK = 0.05  # seconds between two looks at how much was written
_REPLY = 3  # the child's file descriptor for its reply
# Imported before any walls stand, beside the work's own module: behind them the library can't be read.
_AHEAD = ("coursework.subjects", "ops", "training", "models", "verify")


def main(folder: str, without: tuple[str, ...]) -> None:
    """Answer requests from standard input until it ends.

    Parameters
    ----------
    folder : str
        Where scratch folders are made; removed at the end.
    without : tuple of str
        Walls not to be put up: "name spaces", "capabilities", "Landlock", "seccomp".
    """
    questions, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    root = os.geteuid() == 0
    alone = _own_user() if root else False
    spaces = [] if "name spaces" in without else _name_spaces()
    if "processes" in spaces and (first := os.fork()):
        os.close(questions)
        os.close(answers)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
    if "processes" in spaces:
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # who waits above has nothing else to do
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Linux 5.14 began to count a user's threads by name space.
    alone = alone or (not root and "users" in spaces and _version() >= (5, 14))
    zygote = Zygote(folder, questions, answers, spaces, alone, without)
    try:
        zygote.serve()
    finally:
        scratch.remove(folder)
        if zygote.abandoned:  # a parent that was killed removes nothing: the last one here does
            with contextlib.suppress(OSError):
                scratch.errors_of(folder).unlink()
                Path(folder).parent.rmdir()


class Zygote:
    """The loop of the process.

    Parameters
    ----------
    folder : str
    questions, answers : int
        File descriptors.
    spaces : list of str
        The name spaces that it has.
    alone : bool
        Whether all threads that are counted for its user are its own.
    without : tuple of str
    """

    def __init__(
        self,
        folder: str,
        questions: int,
        answers: int,
        spaces: list[str],
        alone: bool,
        without: tuple[str, ...],
    ) -> None:
        self._folder, self._questions, self._answers = folder, questions, answers
        self._spaces, self._alone, self._without = spaces, alone, without
        self._paths = confine.readable()
        self._known: set[str] = set()
        self.abandoned = False

    def serve(self) -> None:
        """Say that all is ready, then answer until nobody asks any more."""
        for name in _AHEAD:
            with contextlib.suppress(ImportError):  # an optional dependency that is broken, for example
                importlib.import_module(f"senumpy.{name}")
        self._send(b"ready")
        while (request := self._read()) and (job := self._read()) is not None:
            order = json.loads(request)
            problem = self._import(order["work"])
            if problem:
                self._write({"problem": problem}, b"", b"")
            elif not self._run(order["work"], Limits(**order["limits"]), job):
                request = self._read()
                break
        self.abandoned = request is None  # an empty request is a farewell

    def _import(self, work: str) -> str:
        """Have the work's module at hand; return what is wrong with it."""
        if work in self._known:
            return ""
        try:
            child.find(work)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        gc.collect()
        gc.freeze()  # what is here now stays shared with the children
        self._known.add(work)
        return ""

    def _run(self, work: str, limits: Limits, job: bytes) -> bool:
        """Run once and answer; return whether somebody still wants answers."""
        place = tempfile.mkdtemp(prefix="run-", dir=self._folder)
        source, reply = os.pipe()  # not a file: what it may hold has a limit of its own
        output = os.memfd_create("output")
        try:
            collected = Collected(source, REPLY)
            began = time.monotonic()
            pid = os.fork()
            if not pid:
                self._be_child(work, limits, job, place, reply, output)
            killed = self._watch(pid, began + limits.seconds, place, output, source, collected)
            status, cpu = self._end(pid)
            collected.read()
            if not killed and os.fstat(output).st_size > OUTPUT:
                killed = "output"
            if killed != "gone":
                facts = {"killed": killed, "status": status, "cpu": cpu}
                self._write(facts, collected.content(), _content(output, 4 * KEPT))
            return killed != "gone"
        finally:
            for descriptor in (source, reply, output):
                os.close(descriptor)
            scratch.remove(place)

    def _be_child(
        self, work: str, limits: Limits, job: bytes, place: str, reply: int, output: int
    ) -> NoReturn:
        """Own nothing but a scratch folder and files for reply and output; then call the work."""
        try:
            os.setsid()
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.dup2(reply, _REPLY)
            os.closerange(_REPLY + 1, os.sysconf("SC_OPEN_MAX"))
            os.chdir(place)
            os.environ.update(HOME=place, TMPDIR=place, TMP=place, TEMP=place)
            tempfile.tempdir = place
            confine.usual_signals()
            if self._alone:
                # The forking process counts, too, and the one that waits for it.
                confine.limit_threads(limits.processes + 1 + ("processes" in self._spaces))
            confine.confine(limits, place, self._paths, self._without)
            STANDING.extend(self._spaces)
            if self._alone:
                STANDING.append("threads")
            child.hand_over(child.call(work, job), _REPLY)
        finally:
            os._exit(LOST)

    def _watch(
        self, pid: int, deadline: float, place: str, output: int, source: int, collected: Collected
    ) -> Killed:
        """Wait for the child's end, and collect its reply; return why it has to be killed, if it has."""
        poll = select.poll()
        poll.register(self._questions, 0)  # the other end closed: nobody wants answers any more
        poll.register(source, select.POLLIN)
        try:
            handle, tick = os.pidfd_open(pid), _TICK
            poll.register(handle, select.POLLIN)
        except OSError:  # Linux before 5.3, and imitations of it
            handle, tick = -1, 0.003
        look = time.monotonic() + _TICK
        try:
            while True:
                now = time.monotonic()
                events = poll.poll(max(0.0, min(tick, deadline - now)) * 1000)
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    return ""
                ready = {descriptor for descriptor, _ in events}
                if self._questions in ready:
                    return "gone"
                if source in ready and not collected.read():
                    poll.unregister(source)
                if time.monotonic() >= deadline:
                    return "timeout"
                if now >= look:
                    look = now + _TICK
                    why = _too_much(place, output)
                    if why:
                        return why
        finally:
            if handle >= 0:
                os.close(handle)

    def _end(self, pid: int) -> tuple[int, float]:
        """Kill the child and whatever it started; return its status and its seconds of processors."""
        for kill in (os.kill, os.killpg):
            with contextlib.suppress(OSError):
                kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        if "processes" in self._spaces:
            with contextlib.suppress(OSError):
                os.kill(-1, signal.SIGKILL)  # everything else in this table of processes
            with contextlib.suppress(ChildProcessError):
                while True:
                    os.waitpid(-1, 0)
        return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime

    def _read(self) -> bytes | None:
        head = _exactly(self._questions, _LENGTH.size)
        return None if head is None else _exactly(self._questions, _LENGTH.unpack(head)[0])

    def _write(self, facts: dict[str, Any], reply: bytes, output: bytes) -> None:
        for data in (json.dumps(facts).encode(), reply, output):
            self._send(data)

    def _send(self, data: bytes) -> None:
        view = memoryview(_LENGTH.pack(len(data)) + data)
        while view:
            view = view[os.write(self._answers, view) :]


def _exactly(descriptor: int, size: int) -> bytes | None:
    """Read that many bytes; None at the end."""
    parts = []
    while size:
        part = os.read(descriptor, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _content(descriptor: int, most: int) -> bytes:
    parts, at = [], 0
    while at < most and (part := os.pread(descriptor, min(most - at, 1 << 20), at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)


def _too_much(place: str, output: int) -> Killed:
    if os.fstat(output).st_size > OUTPUT:
        return "output"
    return "files" if scratch.too_much(place) else ""


def _own_user() -> bool:
    """Give a process of root a real user of its own, whose threads can be counted; files don't see it."""
    try:
        os.setresuid(random.SystemRandom().randrange(1 << 30, 1 << 31), -1, -1)
        return True
    except OSError:
        return False


def _name_spaces() -> list[str]:
    """Move into all name spaces that the system lends; return which."""
    rest = kernel.NEW_PID | kernel.NEW_NET | kernel.NEW_IPC
    for flags, names in ((kernel.NEW_USER | rest, ["users"]), (rest, [])):
        with contextlib.suppress(OSError):
            kernel.unshare(flags)
            return [*names, "processes", "network"]
    return []


def _version() -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", os.uname().release)[:2])
