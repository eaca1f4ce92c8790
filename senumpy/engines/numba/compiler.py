"""How kernels are compiled: without the GIL, with NumPy's division, cached on disk, and with a word about it.

Numba's own cache goes stale when a function that another file calls changes. So the cache has a folder for
each state of the sources: its name is a hash of them. A folder that can't be written is no error: then every
process compiles anew.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import FunctionCache

_log = logging.getLogger("senumpy")

# What fast math may do here: reorder sums and fuse multiply with add. NaN and infinity stay what they are.
_REORDER = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call for each combination of argument types; cache it on disk."""
    return _compiled(function, {})


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function that only compiled code calls: without an entry for Python, which takes time.

    Nor is it cached: what calls it has its machine code.
    """
    return _compiled(function, {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}, cache=False)


def inlined(function: Callable[..., Any]) -> Any:
    """Put a function into the one that calls it: less to compile than two, where only one does."""
    return _compiled(function, {"inline": "always"}, cache=False)


def _compiled(function: Callable[..., Any], extra: dict[str, Any], *, cache: bool = True) -> Any:
    options: dict[str, Any] = {
        "nogil": True,
        "error_model": "numpy",
        "fastmath": _REORDER,
        "no_rewrites": True,
        "_nrt": False,
        **extra,
    }
    made = numba.njit(**options)(function)
    if _CACHE is None or not cache:
        return made
    # Numba asks for the folder when it decorates. The setting belongs to everyone: it is put back.
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_CACHE)
    try:
        made._cache = _Cache(function)
    except RuntimeError:  # no place for a cache after all
        pass
    finally:
        numba.config.CACHE_DIR = before
    return made


class _Cache(FunctionCache):  # type: ignore[misc]
    """A cache that costs time and nothing else if its files are damaged, or the disk is full."""

    @contextmanager
    def _guard_against_spurious_io_errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # what a damaged file raises can be anything
            _log.warning("the cache of compiled kernels can't be used, in %s: %s", self.cache_path, error)
            with suppress(Exception):
                self.flush()  # so that the next process writes it anew


def cache_is_empty() -> bool:
    """Return whether nothing has been compiled yet: the first calls will take some seconds."""
    return _CACHE is None or next(_CACHE.rglob("*.nbi"), None) is None


def cache_is_kept() -> bool:
    """Return whether other processes will find what is compiled here."""
    return _CACHE is not None


def _cache_folder() -> Path | None:
    """Return a folder that can be written, or None."""
    sources = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        sources.update(path.read_bytes())
    versions = f"{sys.version_info[:2]} {numba.__version__} {llvmlite.__version__}"
    sources.update(versions.encode())
    base = os.environ.get("SENUMPY_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    with suppress(RuntimeError, OSError):  # no home directory; no permission
        home = Path(base) if base else Path.home() / ".cache"
        folder = home / "senumpy" / sources.hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    _log.info("kernels are compiled for this process alone: no cache folder can be written")
    return None


_CACHE = _cache_folder()
