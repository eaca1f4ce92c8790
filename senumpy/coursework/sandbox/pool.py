"""The parent's side: processes that fork, each busy with one run at a time."""

from __future__ import annotations

import os
import pickle
import queue
import sys
import tempfile
import threading
import weakref
from pathlib import Path
from types import TracebackType
from typing import Any

from senumpy.coursework.sandbox import plain, probe, scratch
from senumpy.coursework.sandbox.outcome import Limits, Outcome, Reply, reply_of
from senumpy.coursework.sandbox.process import ClosedError, ForkingProcess, StartError
from senumpy.errors import InputError

LINUX = sys.platform.startswith("linux")


class Sandbox:
    """Runs work in processes that can harm nothing.

    Parameters
    ----------
    limits : Limits, optional
    folder : path, optional
        Where scratch folders are made: the system's folder for temporary files where not given.
    workers : int
        How many runs may go on at once, asked for by as many threads.
    """

    def __init__(
        self, limits: Limits | None = None, *, folder: str | os.PathLike[str] | None = None, workers: int = 1
    ) -> None:
        self.limits = Limits() if limits is None else limits
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="senumpy-sandbox-", dir=folder)).resolve()
        except OSError as error:
            raise InputError(f"no folder for scratch files can be made: {error}") from error
        self._idle: queue.LifoQueue[ForkingProcess | None] = queue.LifoQueue()
        for _ in range(max(1, workers)):
            self._idle.put(None)
        self._lock = threading.Lock()
        self._running: set[ForkingProcess] = set()
        self._walled = LINUX
        self._without: tuple[str, ...] = ()
        self._closed = False
        self._description = ""
        weakref.finalize(self, scratch.remove, self._folder)

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, work: str, job: dict[str, Any]) -> Reply:
        """Call ``module:function`` with the job, walled in; return what became of it.

        Parameters
        ----------
        work : str
            A function of ours, ``function(job) -> (arrays, notes)``.
        job : dict
            Pickled on its way in.

        Raises
        ------
        InputError
            No process can be started on this system.
        RuntimeError
            The sandbox is closed, or the work can't be imported: a mistake of ours.
        """
        data = pickle.dumps(job)
        process = self._idle.get()
        try:
            if self._closed:
                raise RuntimeError("the sandbox is closed")
            if not self._walled:
                return plain.run(work, data, self.limits, self._folder, lambda: self._closed)
            if process is None:
                process = self._start()
            try:
                return process.run(work, data, self.limits)
            except ClosedError:
                self._drop(process)
                process = None
                if self._closed:
                    raise RuntimeError("the sandbox is closed") from None
                return reply_of(Outcome("gone"), b"", b"", self.limits)
            except BaseException:  # Ctrl-C: it is busy with something that nobody waits for
                self._drop(process)
                process = None
                raise
        finally:
            self._idle.put(process)

    def describe(self) -> str:
        """Return which walls stand on this system, each of them tried: a list in words."""
        if not self._description:
            guarded = self._folder / "not-for-runs"
            guarded.mkdir(exist_ok=True)
            (guarded / "there").write_bytes(b"x")
            reply = self.run(probe.WORK, {"folder": str(guarded)})
            scratch.remove(guarded)
            self._description = probe.describe(reply, self.limits)
        return self._description

    def close(self) -> None:
        """End all processes and remove all scratch folders."""
        self._closed = True
        with self._lock:
            running = list(self._running)
        for process in running:
            self._drop(process)
        scratch.remove(self._folder)

    def _start(self) -> ForkingProcess:
        number = len(list(self._folder.iterdir()))
        try:
            process = ForkingProcess(self._own_folder(number), without=self._without)
        except StartError:
            # Files of another user that root reads by privilege can't be read in a name space of users.
            if "name spaces" in self._without:
                raise
            self._without = (*self._without, "name spaces")
            process = ForkingProcess(self._own_folder(number), without=self._without)
        with self._lock:
            self._running.add(process)
        if self._closed:
            self._drop(process)
        return process

    def _own_folder(self, number: int) -> Path:
        return Path(tempfile.mkdtemp(prefix=f"{number}-", dir=self._folder))

    def _drop(self, process: ForkingProcess) -> None:
        with self._lock:
            self._running.discard(process)
        process.end()
