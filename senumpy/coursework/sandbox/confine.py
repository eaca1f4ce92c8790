"""The walls around a child, put up by the child itself before it calls the work."""

from __future__ import annotations

import contextlib
import linecache
import os
import resource
import signal
import site
import sys
import sysconfig
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import numpy as np

from senumpy.coursework.sandbox import kernel, seccomp
from senumpy.coursework.sandbox.outcome import Limits
from senumpy.coursework.sandbox.walls import STANDING

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SYSTEM = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache",
    "/sys/devices/system/cpu",
)  # fmt: skip
# Open at once. With Landlock, what was written stays in the scratch folder, and `scratch.too_much` counts it:
# 64 MiB, and what is written between two looks. With seccomp alone nothing is written at all. With neither,
# removed files that are still open are not counted: 28 of 10 MiB each beside the 64 MiB, and as many more as
# can be mapped within the limit of memory.
_FILES = 32


def readable() -> tuple[list[str], list[str]]:
    """Return what a child may read: Python, what is installed beside it, system libraries.

    Not in it: this library's own sources, which have the solutions; the home folder; the folder where grading
    was started; anything else on `sys.path`. What a child needs of the library is imported before.

    Returns
    -------
    paths : list of str
        What may be read, with all below.
    listed : list of str
        Folders around the library: their names may be listed.
    """
    paths = sysconfig.get_paths()
    found = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    found |= {str(Path(prefix) / "lib") for prefix in (sys.prefix, sys.base_prefix)}
    found |= set(site.getsitepackages())
    if site.ENABLE_USER_SITE:
        found.add(site.getusersitepackages())
    numpy = Path(np.__file__).parent  # installed by pip --target, for example
    found |= {str(numpy), str(numpy.with_name("numpy.libs"))}
    return _beside({Path(path).resolve() for path in (*found, *_SYSTEM)}, _own_folders(found))


def _own_folders(installed: set[str]) -> set[Path]:
    """Return all folders that the library is in: there may be a checkout beside an installed one."""
    import senumpy

    found = {Path(path) / "senumpy" for path in (*sys.path, *installed)}
    return {path.resolve() for path in (*found, *map(Path, senumpy.__path__)) if path.is_dir()}


def _beside(roots: set[Path], hidden: set[Path]) -> tuple[list[str], list[str]]:
    """Return roots, those that hold a hidden folder replaced by what else is in them; and these."""
    kept, opened, waiting = set[Path](), set[Path](), list(roots)
    while waiting:
        path = waiting.pop()
        # A link may lead out of the roots: what isn't below one isn't meant.
        if path in opened or _below(path, hidden) or not _below(path, roots):
            continue
        if any(folder.is_relative_to(path) for folder in hidden):
            opened.add(path)
            with contextlib.suppress(OSError):
                waiting += [Path(os.path.realpath(child)) for child in path.iterdir()]
        else:
            kept.add(path)
    return sorted(map(str, kept)), sorted(map(str, opened))


def _below(path: Path, folders: set[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def confine(
    limits: Limits, scratch: str, paths: tuple[list[str], list[str]], without: tuple[str, ...] = ()
) -> None:
    """Put up all walls that this system has, and note in `STANDING` which they are.

    Parameters
    ----------
    limits : Limits
    scratch : str
        The one folder to write in.
    paths : pair of lists of str
        What may be read, and what may be listed: `readable`.
    without : tuple of str
        Names of walls not to be put up.
    """
    limit(limits)
    STANDING.append("limits")
    for name, build in (
        ("capabilities", _no_privileges),
        ("Landlock", lambda: kernel.landlock(*paths, _DEVICES, scratch)),
        ("seccomp", lambda: seccomp.install(changes="Landlock" in STANDING)),
    ):
        if name not in without and _try(build):
            STANDING.append(name)
    linecache.clearcache()
    if "Landlock" in STANDING:
        sys.meta_path.insert(0, _Late())


class _Late(MetaPathFinder):
    """Says in one line why a module of the library that nobody has imported yet can't be."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        """Refuse modules of the library; leave the others to others."""
        if fullname.partition(".")[0] == "senumpy":
            raise ModuleNotFoundError(f"{fullname} can't be read in here", name=fullname)


def limit(limits: Limits, *, reply: int = 0) -> None:
    """Set the limits of resources.

    Parameters
    ----------
    limits : Limits
    reply : int
        Bytes of a file that the reply is written into at the end, where it is no pipe.
    """
    seconds = max(1, int(limits.cpu + 0.999))
    _set(resource.RLIMIT_CPU, seconds, seconds + 1)
    _set(resource.RLIMIT_AS, _in_use() + limits.memory)
    _set(resource.RLIMIT_FSIZE, limits.file_bytes, max(limits.file_bytes, reply))
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
