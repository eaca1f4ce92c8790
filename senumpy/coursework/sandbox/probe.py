"""The walls tried from inside: what a run attempts that it must not be able to do."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from senumpy.coursework.sandbox.outcome import Limits, Reply

WORK = f"{__name__}:attempt"
FORBIDDEN = {
    "read": "reading other files",
    "write": "writing elsewhere",
    "network": "the network",
    "process": "starting processes",
    "signal": "signals to other processes",
}


def attempt(job: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Try everything; return what was not refused, and the names of the walls that stand.

    Parameters
    ----------
    job : dict
        ``folder``: one that the run must neither read nor write, with a file ``there`` in it.
    """
    from senumpy.coursework.sandbox.walls import standing

    folder = Path(job["folder"])
    attempts: dict[str, Callable[[], Any]] = {
        "read": (folder / "there").read_bytes,
        "write": lambda: (folder / "new").write_bytes(b"x"),
        "network": _connect,
        "process": _start,
        "signal": lambda: os.kill(os.getppid(), 0),
    }
    open_ = []
    for name, try_ in attempts.items():
        with contextlib.suppress(OSError, RuntimeError, AttributeError):
            try_()
            open_.append(name)
    return {}, {"open": open_, "walls": standing(), "threads": _threads(), "system": sys.platform}


def describe(reply: Reply, limits: Limits) -> str:
    """Return what a run of `attempt` found, in words."""
    if reply.status != "done":
        return f"the walls could not be tried: {reply.message}"
    notes = reply.notes
    names = {"capabilities": "no privileges", "limits": "limits of resources"}
    spaces = [wall for wall in notes["walls"] if wall in ("users", "processes", "network")]
    walls = [names.get(wall, wall) for wall in notes["walls"] if wall not in (*spaces, "threads")]
    if spaces:
        walls.append(f"name spaces of {_and(spaces)}")
    if notes["threads"] < max(64, limits.processes + 1) and "threads" in notes["walls"]:
        walls.append(f"{notes['threads'] + 1} threads at most")
    walls.append("a limit of time")
    text = ", ".join(walls)
    if notes["open"]:
        text += f". Not refused on this system: {_and([FORBIDDEN[name] for name in notes['open']])}"
    return text


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _connect() -> None:
    with socket.socket() as one:
        one.settimeout(0.2)
        try:
            one.connect(("127.0.0.1", 1))
        except ConnectionRefusedError:
            return  # somebody was asked: the network is there


def _start() -> None:
    if sys.platform == "win32":
        return
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def _threads() -> int:
    """Return how many threads could be started, up to 64."""
    done = threading.Event()
    threads: list[threading.Thread] = []
    with contextlib.suppress(RuntimeError):
        while len(threads) < 64:
            thread = threading.Thread(target=done.wait)
            thread.start()
            threads.append(thread)
    done.set()
    for thread in threads:
        thread.join()
    return len(threads)
