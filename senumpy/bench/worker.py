"""One contender in a process of its own: its threads, its memory and its failures are its own.

The parent tells it to prepare a work and then, turn by turn, to do it once. While one contender works, the
others wait in a read and use no processor time.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import sys
import time
from collections.abc import Callable
from typing import Any

from senumpy.bench.workloads import ModelWork, OpWork, Work
from senumpy.errors import InputError

resource: Any
try:
    import resource
except ImportError:  # Windows
    resource = None

_PACKAGES = {
    "pytorch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "numba": ("numba",),
    "numba-exact": ("numba",),
    "numba-steps": ("numba",),
}
# Seconds of a turn: works that are over sooner are repeated, and divided.
_TURN = {ModelWork: 1.0, OpWork: 0.2}
_SETTLE = 0.1  # seconds before a turn: the threads of the one before may spin for a while


class WorkerError(InputError):
    """A contender failed; the message says how."""


def is_installed(library: str) -> bool:
    """Return whether the packages of a peer are there."""
    return all(importlib.util.find_spec(name) for name in _PACKAGES.get(library, ()))


class Worker:
    """A process that does works of one library.

    Parameters
    ----------
    library : str
        "pytorch", "onnxruntime" or the name of an engine.
    threads : int
    """

    def __init__(self, library: str, threads: int):
        self.library = library
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, library, threads), daemon=True)
        self._process.start()
        theirs.close()

    def prepare(self, work: Work) -> None:
        """Build the work and do it once, as a warm-up."""
        self._ask("prepare", work)

    def run(self) -> float:
        """Do the work once, or some times if it is short; return the seconds that once took."""
        return self._ask("run")

    def peak_bytes(self) -> int:
        """Return the most memory that was in use at a time, beyond that of the imported library."""
        return self._ask("peak")

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.terminate()
        self._process.join()

    def _ask(self, *message: Any) -> Any:
        try:
            self._connection.send(message)
            problem, answer = self._connection.recv()
        except (EOFError, OSError) as error:
            self._process.join(5)
            code = self._process.exitcode
            raise WorkerError(f"{self.library}: the process ended with {code} (out of memory?)") from error
        if problem:
            raise WorkerError(f"{self.library}: {problem}")
        return answer


def _serve(connection: Any, library: str, threads: int) -> None:
    """Answer the parent until it closes the connection."""
    start = 0
    run: Callable[[], Any] = lambda: None  # noqa: E731
    times = 1
    while True:
        try:
            command, *rest = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return
        try:
            answer: Any = None
            if command == "prepare":
                prepare = _importer(library, threads)
                start = start or _peak()
                run = prepare(*rest)
                run()
                times = max(1, int(_TURN[type(rest[0])] / _seconds(run, 1)))
            elif command == "run":
                time.sleep(_SETTLE)
                if times > 1:  # the first one finds cold caches and sleeping threads
                    run()
                answer = _seconds(run, times)
            else:
                answer = _peak() - start
            connection.send((None, answer))
        except KeyboardInterrupt:
            return
        except Exception as error:  # goes to the parent, whatever it is
            connection.send((f"{type(error).__name__}: {error}", None))


def _importer(library: str, threads: int) -> Callable[[Work], Callable[[], Any]]:
    """Import a library; return its `prepare`."""
    if library == "pytorch":
        from senumpy.bench import torch_peer

        return lambda work: torch_peer.prepare(work, threads)
    if library == "onnxruntime":
        from senumpy.bench import onnx_peer

        return lambda work: onnx_peer.prepare(work, threads)
    from senumpy.bench import ours

    return lambda work: ours.prepare(library, work, threads)


def _seconds(run: Callable[[], Any], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        run()
    return (time.perf_counter() - start) / times


def _peak() -> int:
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes there, KiB elsewhere
