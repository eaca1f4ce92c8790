"""A run where Linux's walls don't exist: a new process, limits of resources (macOS), a limit of time.

The process gets its job in a file and writes its reply into another; both lie beside its scratch folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from senumpy.coursework.sandbox import child, outcome, scratch
from senumpy.coursework.sandbox.outcome import KEPT, OUTPUT, REPLY, Limits, Outcome, Reply
from senumpy.coursework.sandbox.walls import STANDING

_TICK = 0.02
_START = 5.0  # seconds more, for starting Python and NumPy on a cold disk


def run(work: str, job: bytes, limits: Limits, folder: Path, stop: outcome.Stop) -> Reply:
    """Run the work once in a process of its own, in a new folder under `folder`."""
    base = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
    place, printed = base / "scratch", base / "output"
    place.mkdir()
    (base / "job").write_bytes(job)
    code = import_line("plain", str(base), work, asdict(limits))
    try:
        with printed.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
                cwd=place, env=environment(place), start_new_session=True,
            )  # fmt: skip
        try:
            killed = _watch(process, limits.seconds, base, stop)
        finally:
            _end(process)
        if not killed and printed.stat().st_size > OUTPUT:
            killed = "output"  # it was faster than the looks at it
        reply = base / "reply"
        data = reply.read_bytes() if reply.is_file() and reply.stat().st_size <= REPLY else b""
        with printed.open("rb") as file:
            first = file.read(4 * KEPT)
        return outcome.reply_of(Outcome(killed, process.returncode, 0.0), data, first, limits)
    finally:
        scratch.remove(base)


def import_line(module: str, *arguments: object) -> str:
    """Return Python code that calls a module's `main`, with this process's `sys.path`."""
    path = [entry or str(Path.cwd()) for entry in sys.path]
    values = ", ".join(repr(argument) for argument in arguments)
    name = f"senumpy.coursework.sandbox.{module}"
    return f"import sys; sys.path[:] = {path!r}; from {name} import main; main({values})"


def environment(scratch: Path | None = None) -> dict[str, str]:
    """Return the little that a run needs to know of its surroundings: no secrets, one thread for products."""
    kept = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "LD_LIBRARY_PATH", "SYSTEMROOT", "PYTHONWARNINGS", "TZ")
    found = {name: os.environ[name] for name in kept if name in os.environ}
    for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "NUMBA"):
        found[f"{name}_NUM_THREADS"] = "1"
    found |= {"VECLIB_MAXIMUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "MPLBACKEND": "Agg"}
    if scratch is not None:
        found |= dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TMP", "TEMP"), str(scratch))
    return found


def main(base: str, work: str, limits: dict[str, float]) -> None:
    """In the process: call the work and write its reply."""
    folder = Path(base)
    job = (folder / "job").read_bytes()
    child.find(work)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(folder / "reply", flags, 0o600)
    with contextlib.suppress(ImportError):  # Windows has no such limits
        from senumpy.coursework.sandbox import confine

        confine.limit(Limits(**limits), reply=REPLY)  # type: ignore[arg-type]
        STANDING.append("limits")
    child.hand_over(child.call(work, job), descriptor)


def _watch(
    process: subprocess.Popen[bytes], seconds: float, base: Path, stop: outcome.Stop
) -> outcome.Killed:
    deadline = time.monotonic() + seconds + _START
    while process.poll() is None:
        if stop():
            return "gone"
        if time.monotonic() >= deadline:
            return "timeout"
        if (base / "output").stat().st_size > OUTPUT:
            return "output"
        if scratch.too_much(base / "scratch"):
            return "files"
        time.sleep(_TICK)
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.kill()
    else:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
