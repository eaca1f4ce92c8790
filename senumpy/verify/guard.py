"""A stranger's code run so that whatever it does becomes a message: printing, ending, hanging."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from senumpy.verify.conduct import Conduct, StopCallError, one_line

_AGAIN = 1.0  # seconds until a candidate that swallowed the interruption is interrupted again
_FIRST = 2000  # characters kept of what was printed


class _TimeUp(BaseException):
    """Raised by the alarm inside the candidate's code."""


class Sink(io.TextIOBase):
    """A stream that counts what is written and keeps only the beginning."""

    def __init__(self) -> None:
        self.first, self.length = "", 0
        self.buffer = _ByteSink(self)

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Count `text`, and keep it if it is at the beginning."""
        self.first += text[: max(0, _FIRST - len(self.first))]
        self.length += len(text)
        return len(text)


class _ByteSink(io.RawIOBase):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, data: Any) -> int:
        self._sink.write(bytes(data).decode(errors="replace"))
        return len(data)


def printed(stream: str, first: str) -> Conduct:
    """Return the conduct of having printed what begins with `first`."""
    line = next((line.strip() for line in first.splitlines() if line.strip()), "")
    return Conduct("printed", f"wrote to {stream}, beginning {one_line(line, 80)!r}; wanted silence")


def guarded(
    work: Callable[[], None], note: Callable[[Conduct], None], *, timeout: float, capture: bool = True
) -> None:
    """Run `work` and note all that it does besides.

    Standard output and error are taken as Python sees them (``sys.stdout``, ``sys.stderr``); what compiled
    code writes past Python is only seen in a worker. Warnings are silenced: they are no misconduct. A process
    that `work` forks ends here.

    The time is kept by the interval timer of the process, in its main thread and where there is one (not on
    Windows; elsewhere nothing is interrupted). It ends Python code and what Python waits for; compiled code
    that doesn't come back to Python can't be interrupted in process: that takes a worker.

    Parameters
    ----------
    work : callable
        May raise `StopCallError` to end quietly.
    note : callable
        Called with each `Conduct`.
    timeout : float
        Seconds.
    capture : bool
        Whether to look at what is printed.
    """
    process, sinks = os.getpid(), (Sink(), Sink())
    try:
        with contextlib.ExitStack() as stack:
            if capture:
                stack.enter_context(contextlib.redirect_stdout(sinks[0]))
                stack.enter_context(contextlib.redirect_stderr(sinks[1]))
            stack.enter_context(warnings.catch_warnings())
            warnings.simplefilter("ignore")
            stack.enter_context(np.errstate(all="ignore"))
            stack.enter_context(alarm(timeout))
            work()
    except StopCallError:
        pass
    except _TimeUp as error:
        note(Conduct("timeout", f"did not come back within {timeout:g} s{where(error)}"))
    except SystemExit as error:
        note(Conduct("exited", f"called sys.exit({error.code!r}){where(error)}"))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        note(Conduct("raised", f"{type(error).__name__}: {one_line(error) or 'no message'}{where(error)}"))
    if os.getpid() != process:
        os._exit(0)  # a child that the candidate forked and that came back
    for name, sink in zip(("stdout", "stderr"), sinks, strict=True):
        if sink.length:
            note(printed(name, sink.first))


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise inside the block when the time is over; another alarm that was set goes on afterwards."""
    usable = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not usable:
        yield
        return
    active = [True]

    def ring(number: int, frame: FrameType | None) -> None:
        if active[0]:
            raise _TimeUp

    start = time.monotonic()
    handler = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        active[0] = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - start)), interval)


def where(error: BaseException) -> str:
    """Return `` (file.py, line 12, in name)``: the candidate's own last line on the way to an error."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not _is_library(frame.filename)]
    if not own:
        return ""
    frame = own[-1]
    return f" ({_short(frame.filename)}, line {frame.lineno}, in {frame.name})"


_SENUMPY = str(Path(__file__).parents[1])
_LIBRARIES = tuple({sysconfig.get_path(key) for key in ("stdlib", "platstdlib", "purelib", "platlib")})


def _is_library(filename: str) -> bool:
    return filename.startswith(("<", _SENUMPY, *_LIBRARIES))


def _short(filename: str) -> str:
    path = Path(filename)
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return path.name


def flush() -> None:
    """Write out what Python and C still hold back of standard output and error."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    with contextlib.suppress(Exception):
        import ctypes

        ctypes.CDLL(None).fflush(None)
