"""In the child: the work is called, and its reply written."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import sys
from collections.abc import Callable
from typing import Any

from senumpy.coursework.sandbox.frames import encode
from senumpy.coursework.sandbox.outcome import LOST, REPLY


def find(work: str) -> Callable[[Any], Any]:
    """Return the function named by ``module:function``."""
    module, _, name = work.partition(":")
    found: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    return found


def call(work: str, job: bytes) -> bytes:
    """Call the work; return its reply as bytes, whatever it does."""
    try:
        arrays, notes = find(work)(pickle.loads(job))
        data = encode({"status": "done", "message": "", "notes": notes}, arrays)
        if len(data) > REPLY:
            message = f"its results take {len(data) >> 20} MiB, wanted at most {REPLY >> 20} MiB"
            data = encode({"status": "too much output", "message": message}, {})
    except MemoryError:
        data = encode({"status": "memory", "message": "needed more memory than is allowed"}, {})
    except SystemExit as error:
        data = encode({"status": "exited", "message": f"the code asked to exit ({_text(error.code)})"}, {})
    except BaseException as error:  # a KeyboardInterrupt that was raised by hand, too
        data = encode({"status": "crashed", "message": f"{type(error).__name__}: {_text(error)}"}, {})
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BaseException):
            stream.flush()
    return data


def hand_over(data: bytes, descriptor: int) -> None:
    """Write the reply and end the process, without anything that was left to be done at its end."""
    try:
        _larger_files()
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
    except BaseException:
        os._exit(LOST)
    os._exit(0)


def _text(value: Any) -> str:
    try:
        return " ".join(str(value).split())[:300]
    except BaseException:
        return "?"


def _larger_files() -> None:
    """Let the reply be larger than a file of the student's may be."""
    with contextlib.suppress(ImportError):  # Windows has no such limits
        import resource

        most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
