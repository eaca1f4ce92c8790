"""A program in any language: it reads a call from one file and writes its answer to another."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from senumpy.crosscheck.exchange import read_answer, write_call
from senumpy.errors import InputError
from senumpy.verify.calls import OpCall, result_names
from senumpy.verify.conduct import Conduct, Record, Restriction, StopCallError, one_line


class Command:
    """A command line, called as ``PROGRAM ARG... IN OUT``.

    IN and OUT are paths of safetensors files; `senumpy.crosscheck.exchange` describes both. What the program
    prints is nobody's business; when it ends with another status than 0 the last line of its standard error
    is quoted. An answer has ``y``, and either all gradients or none.

    Parameters
    ----------
    line : str
        As in a shell, without its magic.
    timeout : float
        Seconds; then the program and what it started is killed.

    Raises
    ------
    InputError
        There is no such program.
    """

    framework = "command"

    def __init__(self, line: str, timeout: float) -> None:
        try:
            self._words = shlex.split(line)
        except ValueError as error:
            raise InputError(f"cmd:{line}: {error}") from None
        if not self._words:
            raise InputError("cmd: got no program, wanted cmd:PROGRAM ARG...")
        if shutil.which(self._words[0]) is None:
            raise InputError(f"cmd:{line}: no program {self._words[0]!r} that can be run; give its path")
        self._timeout = timeout

    def accepts(self, call: OpCall) -> str:
        """Return an empty string: the program sees what it can do."""
        return ""

    def restrict(self) -> Restriction | None:
        """Return None: the program gets every call."""
        return None

    def run(self, call: OpCall, dtype: np.dtype[np.floating], record: Record) -> None:
        """Write the call, run the program, read the answer."""
        with tempfile.TemporaryDirectory(prefix="senumpy-") as folder:
            question, answer = Path(folder, "call.safetensors"), Path(folder, "answer.safetensors")
            write_call(question, call, dtype)
            asked = question.read_bytes()
            problem = self._execute([*self._words, str(question), str(answer)], Path(folder))
            if problem is not None:
                record.answer.conduct.append(problem)
                raise StopCallError
            if not question.is_file() or question.read_bytes() != asked:
                record.note(
                    "changed input", "the program changes the file that it reads, wanted it left as it was"
                )
            self._read(answer, call, record)

    def _execute(self, words: list[str], folder: Path) -> Conduct | None:
        with Path(folder, "stdout").open("wb") as out, Path(folder, "stderr").open("wb") as err:
            try:
                program = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
                )
            except OSError as error:
                raise InputError(f"{words[0]}: can't be run: {error.strerror or error}") from None
            try:
                status = program.wait(self._timeout)
            except subprocess.TimeoutExpired:
                return Conduct("timeout", f"{words[0]} did not end within {self._timeout:g} s")
            finally:
                kill(program)
        if not status:
            return None
        last = _last_line(folder / "stderr")
        said = f"; its last words: {one_line(last, 200)}" if last else ""
        if status < 0:
            return Conduct("crashed", f"{words[0]} was killed by {signal_name(-status)}{said}")
        return Conduct("exited", f"{words[0]} ended with status {status}, wanted 0{said}")

    def _read(self, path: Path, call: OpCall, record: Record) -> None:
        try:
            found = read_answer(path, call)
        except InputError as error:
            record.note("type", one_line(str(error).replace(str(path), "the answer")))
            raise StopCallError from None
        record.forward(found.pop("y"))
        for name, array in found.items():
            record.take(name, array)
        gradients = [name for name in result_names(call) if name.startswith("d")]
        if any(name in found for name in gradients):
            for name in gradients:
                if name not in found:
                    record.note("type", f"the answer has no tensor {name!r}, but other gradients", name)


def kill(program: subprocess.Popen[bytes]) -> None:
    """Kill a process and all that it started in its session, and wait for it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(program.pid, signal.SIGKILL)
        else:
            program.kill()
    program.wait()


def signal_name(number: int) -> str:
    """Return ``SIGSEGV`` for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 4000))
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
