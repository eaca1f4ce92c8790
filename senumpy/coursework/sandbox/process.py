"""The parent's end of a process that forks (`zygote`)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import time
import weakref
from dataclasses import asdict
from pathlib import Path
from typing import Any

from senumpy.coursework.sandbox import scratch
from senumpy.coursework.sandbox.outcome import Limits, Outcome, Reply, reply_of
from senumpy.coursework.sandbox.plain import environment, import_line
from senumpy.errors import InputError

_LENGTH = struct.Struct("<Q")
_START = 60.0  # seconds for Python and NumPy on a cold disk
_GRACE = 60.0  # seconds beyond a run's own, for importing the work's module
_END = 3.0  # seconds for ending by itself


class ClosedError(Exception):
    """The process is gone, or was closed."""


class StartError(InputError):
    """The process can't be started."""


class ForkingProcess:
    """A process that runs work in children, one at a time.

    Parameters
    ----------
    folder : Path
        Its own, for scratch folders.
    without : tuple of str
        Names of walls not to be put up.

    Raises
    ------
    StartError
    """

    def __init__(self, folder: Path, *, without: tuple[str, ...] = ()) -> None:
        code = import_line("zygote", str(folder), without)
        errors = scratch.errors_of(folder)
        with errors.open("wb") as file:
            self._popen = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                cwd=folder,
                env=environment(),
                start_new_session=True,
            )
        self._finalizer = weakref.finalize(self, _end, self._popen, folder)
        try:
            self._read(time.monotonic() + _START)
        except ClosedError:
            self.end()
            lines = errors.read_text(errors="replace").strip().splitlines() or ["it did not say why"]
            raise StartError(f"the process that runs answers can't be started: {lines[-1]}") from None

    def run(self, work: str, job: bytes, limits: Limits) -> Reply:
        """Run the work once.

        Raises
        ------
        ClosedError
            The process is gone.
        RuntimeError
            The work can't be imported.
        """
        order = json.dumps({"work": work, "limits": asdict(limits)}).encode()
        assert self._popen.stdin is not None
        try:
            for data in (order, job):
                self._popen.stdin.write(_LENGTH.pack(len(data)) + data)
            self._popen.stdin.flush()
        except (OSError, ValueError) as error:
            raise ClosedError from error
        until = time.monotonic() + limits.seconds + _GRACE
        facts: dict[str, Any] = json.loads(self._read(until))
        reply, printed = self._read(until), self._read(until)
        if "problem" in facts:
            raise RuntimeError(f"{work}: {facts['problem']}")
        outcome = Outcome(facts["killed"], facts["status"], facts["cpu"])
        return reply_of(outcome, reply, printed, limits)

    def end(self) -> None:
        """End the process and all that it started."""
        self._finalizer()

    def _read(self, until: float) -> bytes:
        return self._exactly(_LENGTH.unpack(self._exactly(_LENGTH.size, until))[0], until)

    def _exactly(self, size: int, until: float) -> bytes:
        assert self._popen.stdout is not None
        parts = []
        try:
            descriptor = self._popen.stdout.fileno()
            while size:
                if not select.select([descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
                    raise ClosedError
                part = os.read(descriptor, min(size, 1 << 20))
                if not part:
                    raise ClosedError
                parts.append(part)
                size -= len(part)
        except (OSError, ValueError) as error:  # closed by another thread meanwhile
            raise ClosedError from error
        return b"".join(parts)


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Let the process end by closing its input; kill it when it doesn't."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError, ValueError):
        process.stdin.write(_LENGTH.pack(0))  # so that it knows that the parent lives, and cleans up itself
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    scratch.remove(folder)
    with contextlib.suppress(OSError):
        process.stdout.close()
