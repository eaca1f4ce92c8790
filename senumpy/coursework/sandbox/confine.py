"""The walls around a child, put up by the child itself before it calls the work."""

from __future__ import annotations

import os
import resource
import signal
import site
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np

from senumpy.coursework.sandbox import kernel, seccomp
from senumpy.coursework.sandbox.outcome import REPLY, Limits
from senumpy.coursework.sandbox.walls import STANDING

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache",
    "/sys/devices/system/cpu",
)  # fmt: skip
_FILES = 64  # open at once


def readable() -> list[str]:
    """Return what a child may read: Python, what is installed beside it, this package, system libraries.

    Not in it: the home folder, the folder where grading was started, anything else on `sys.path`.
    """
    import senumpy

    paths = sysconfig.get_paths()
    found = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {str(Path(prefix) / "lib") for prefix in (sys.prefix, sys.base_prefix)}
    found |= set(site.getsitepackages())
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    numpy = Path(np.__file__).parent  # installed by pip --target, for example
    found |= {str(numpy), str(numpy.with_name("numpy.libs")), str(Path(senumpy.__file__).parent)}
    return sorted({*found, *_SYSTEM})


def confine(limits: Limits, scratch: str, paths: list[str], without: tuple[str, ...] = ()) -> None:
    """Put up all walls that this system has, and note in `STANDING` which they are.

    Parameters
    ----------
    limits : Limits
    scratch : str
        The one folder to write in.
    paths : list of str
        What may be read.
    without : tuple of str
        Names of walls not to be put up.
    """
    limit(limits)
    STANDING.append("limits")
    for name, build in (
        ("capabilities", _no_privileges),
        ("Landlock", lambda: kernel.landlock(paths, _DEVICES, scratch)),
        ("seccomp", lambda: seccomp.install(changes="Landlock" in STANDING)),
    ):
        if name not in without and _try(build):
            STANDING.append(name)


def limit(limits: Limits) -> None:
    """Set the limits of resources."""
    seconds = max(1, int(limits.cpu + 0.999))
    _set(resource.RLIMIT_CPU, seconds, seconds + 1)
    _set(resource.RLIMIT_AS, _in_use() + limits.memory)
    _set(resource.RLIMIT_FSIZE, limits.file_bytes, max(limits.file_bytes, REPLY))
    _set(resource.RLIMIT_NOFILE, _FILES)
    _set(resource.RLIMIT_CORE, 0)
    for name, value in (
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_NICE", 0),
        ("RLIMIT_RTPRIO", 0),
    ):
        if hasattr(resource, name):
            _set(getattr(resource, name), value)


def limit_threads(count: int) -> None:
    """Let this user's processes and threads be that many at most: for a user that has no others."""
    _set(resource.RLIMIT_NPROC, count)


def usual_signals() -> None:
    """Give up what Python and the parent arranged for signals."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if number not in (signal.SIGXFSZ, signal.SIGPIPE):  # these are exceptions in Python
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())


def _no_privileges() -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # no core dumps, also where a program would collect them


def _try(build: Callable[[], None]) -> bool:
    try:
        build()
        return True
    except (OSError, AttributeError, KeyError):
        return False


def _set(what: int, soft: int, hard: int | None = None) -> None:
    hard = soft if hard is None else hard
    most = resource.getrlimit(what)[1]
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    try:
        resource.setrlimit(what, (soft, hard))
    except (OSError, ValueError):
        return  # macOS has some limits in name only


def _in_use() -> int:
    """Return how many bytes of addresses this process has."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1 << 30
