"""Processes that check answers, each with a sandbox of its own: judging takes processors, too."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from senumpy.coursework.sandbox import Limits, Sandbox
from senumpy.coursework.verdict import Verdict
from senumpy.verify.conduct import one_line

CHECKER = "senumpy.coursework.check:Checker"
_BROKEN = "the checker itself broke off on this answer: a teacher has to look at it"


class Checks(Protocol):
    """What a worker needs of a checker."""

    def check(self, name: str, text: bytes | None, *, label: str) -> Verdict:
        """Check one answer."""


@dataclass(frozen=True)
class Task:
    """An answer to be checked: exercise, file, the file's name."""

    exercise: str
    data: bytes
    label: str


@dataclass(frozen=True)
class Setting:
    """What a worker needs to begin: exercises, seed, limits, and the checker's ``module:class``."""

    names: tuple[str, ...]
    seed: int
    limits: Limits
    checker: str = CHECKER

    @property
    def deadline(self) -> float:
        """Seconds after which an answer is given up: it takes some runs, and judging them takes time."""
        return 15 * self.limits.seconds


class Workers:
    """Checks tasks in several processes.

    Parameters
    ----------
    count : int
    setting : Setting
    """

    def __init__(self, count: int, setting: Setting) -> None:
        self._setting = setting
        self._context = multiprocessing.get_context("spawn")
        self._all = [self._new() for _ in range(count)]

    def check(self, tasks: list[Task]) -> Iterator[tuple[Task, Verdict]]:
        """Yield each task with its verdict, as they come."""
        waiting = list(reversed(tasks))
        busy: dict[Connection, _Begun] = {}
        for number in range(len(self._all)):
            self._next(number, waiting, busy)
        while busy:
            soonest = min(begun.until for begun in busy.values())
            ready = wait(list(busy), max(0.0, soonest - time.monotonic()))
            late = [link for link, begun in busy.items() if begun.until <= time.monotonic()]
            for link in ready or late:
                assert isinstance(link, Connection)
                begun = busy.pop(link)
                verdict = self._verdict(link, begun) if ready else self._given_up(begun)
                yield begun.task, verdict
                self._next(begun.number, waiting, busy)

    def _verdict(self, connection: Connection, begun: _Begun) -> Verdict:
        """Return what a process says of its task; where it is gone, begin another one."""
        try:
            verdict: Verdict = connection.recv()
        except (EOFError, OSError):
            process = self._all[begun.number][0]
            process.join(5)
            verdict = broken(begun.task.exercise, f"its process ended, {process.exitcode}")
            self._all[begun.number] = self._new()
        return verdict

    def _given_up(self, begun: _Begun) -> Verdict:
        """End a process that is over its time, and begin another one."""
        with _held_back():
            _end([self._all[begun.number]])
            self._all[begun.number] = self._new()
        seconds = f"{self._setting.deadline:g} s"
        return broken(begun.task.exercise, f"it took more than {seconds} and was stopped")

    def close(self) -> None:
        """End the processes; whatever they check is given up. Ctrl-C has to wait for that."""
        with _held_back():
            _end(self._all)

    def _next(self, number: int, waiting: list[Task], busy: dict[Connection, _Begun]) -> None:
        if not waiting:
            return
        task = waiting.pop()
        connection = self._all[number][1]
        with contextlib.suppress(OSError):  # a process that is gone shows when its verdict is read
            connection.send(task)
        busy[connection] = _Begun(number, task, time.monotonic() + self._setting.deadline)

    def _new(self) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._setting), daemon=True)
        process.start()
        theirs.close()
        return process, ours


@dataclass(frozen=True)
class _Begun:
    """A task that a process is at, and when it is given up."""

    number: int
    task: Task
    until: float


def _end(processes: list[tuple[Any, Connection]]) -> None:
    for process, connection in processes:
        with contextlib.suppress(OSError):
            connection.close()
        process.terminate()
    for process, _ in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    """Leave Ctrl-C without effect: the first one asked for what is done here."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def broken(exercise: str, what: str) -> Verdict:
    """Return the verdict on an answer that could not be judged."""
    line = f"{_BROKEN} ({what})"
    return Verdict(exercise, "error", 0, line, textwrap.fill(f"{exercise}: {line}", 79))


def _serve(connection: Connection, setting: Setting) -> None:
    """In the process: check what comes until nothing comes any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the sandbox is left in order
    module, _, name = setting.checker.partition(":")
    make = getattr(importlib.import_module(module), name)
    with Sandbox(setting.limits) as sandbox, contextlib.suppress(EOFError, OSError):
        checker: Checks = make(setting.names, seed=setting.seed, sandbox=sandbox)
        while True:
            task: Task = connection.recv()
            try:
                verdict = checker.check(task.exercise, task.data, label=task.label)
            except Exception as error:
                verdict = broken(task.exercise, f"{type(error).__name__}: {one_line(error)}")
            connection.send(verdict)
