"""What may be used by a run, how it ended, and the reply that is made of both."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from senumpy.coursework.sandbox.frames import BadReplyError, decode

Status = Literal["done", "timeout", "memory", "crashed", "exited", "too much output"]
Stop = Callable[[], bool]  # whether nobody wants the reply any more
Killed = Literal["", "timeout", "output", "files", "gone"]

OUTPUT = 1 << 20  # bytes that may be printed
REPLY = 64 << 20  # bytes of a reply
SCRATCH = 64 << 20  # bytes in the scratch folder, all files together
ENTRIES = 1000  # files and folders there
KEPT = 2000  # characters of what was printed
LOST = 70  # exit status of a child that could not hand its reply over
_LINE = 300  # characters of a message


@dataclass(frozen=True)
class Limits:
    """What a run may use.

    Attributes
    ----------
    seconds : float
        On the clock.
    cpu : float
        Of processors, all threads together.
    memory : int
        Bytes, beyond what the process has at its beginning.
    file_bytes : int
        Of one file that it writes.
    processes : int
        Threads; further processes are refused where the system can refuse them.
    """

    seconds: float = 10.0
    cpu: float = 10.0
    memory: int = 2 * 2**30
    file_bytes: int = 10 * 2**20
    processes: int = 16


@dataclass(frozen=True)
class Reply:
    """How a run ended, and what it gave.

    Attributes
    ----------
    status : {"done", "timeout", "memory", "crashed", "exited", "too much output"}
    message : str
        What happened, one line; empty when done.
    arrays : dict of str to ndarray
    notes : JSON value
    printed : str
        The first 2,000 characters written to standard output and standard error.
    """

    status: Status
    message: str = ""
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    notes: Any = None
    printed: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a process ended: by itself (``""``), or why it was killed; wait status; seconds of processors."""

    killed: Killed
    status: int = 0
    cpu: float = 0.0


def reply_of(outcome: Outcome, data: bytes, printed: bytes, limits: Limits) -> Reply:
    """Return the reply of a run, from what is known of its process and what it sent."""
    text = clean(printed.decode(errors="replace"))[:KEPT]
    status, message = _ending(outcome, limits)
    if status != "done":
        return Reply(status, message, printed=text)
    try:
        head, arrays = decode(data)
        kind, message = head["status"], clean(head["message"], lines=False)[:_LINE]
        if kind not in get_args(Status):
            raise BadReplyError("no status")
        if kind != "done":
            return Reply(kind, message, printed=text)
        return Reply(kind, message, arrays, head["notes"], text)
    except BadReplyError:
        message = "the code wrote into files that are not its own, and its results were lost"
        return Reply("crashed", message, printed=text)


def clean(text: str, *, lines: bool = True) -> str:
    """Return text without characters that would move a terminal's cursor or colour it."""
    kept = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in kept else " " if c.isspace() else "?" for c in text)


def _ending(outcome: Outcome, limits: Limits) -> tuple[Status, str]:
    if outcome.killed == "timeout":
        return "timeout", f"did not end within {limits.seconds:g} s and was stopped"
    if outcome.killed == "output":
        return "too much output", f"printed more than {OUTPUT // 2**20} MiB and was stopped"
    if outcome.killed == "files":
        limit = f"{SCRATCH // 2**20} MiB or {ENTRIES} files"
        return "too much output", f"wrote more than {limit} and was stopped"
    if outcome.killed == "gone":
        return "crashed", "the process that runs answers went away"
    if outcome.status < 0:
        return _by_signal(-outcome.status, outcome, limits)
    if outcome.status == LOST:
        return "crashed", "its results could not be handed over: did it close files that are not its own?"
    if outcome.status > 0:
        return "exited", f"the code ended the process with status {outcome.status}"
    return "done", ""


def _by_signal(number: int, outcome: Outcome, limits: Limits) -> tuple[Status, str]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if name == "SIGXCPU" or (name == "SIGKILL" and outcome.cpu >= limits.cpu):
        return "timeout", f"used more than {limits.cpu:g} s of the processor and was stopped"
    if name == "SIGKILL":
        return "memory", "was killed by the system, which was most likely out of memory"
    what = {"SIGSEGV": "segmentation fault", "SIGABRT": "aborted", "SIGFPE": "arithmetic error"}.get(name)
    return "crashed", f"the process crashed: {name}" + (f" ({what})" if what else "")
