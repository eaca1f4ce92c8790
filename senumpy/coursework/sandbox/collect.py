"""What comes through a pipe, while somebody else is still writing into it."""

from __future__ import annotations

import contextlib
import fcntl
import os

_PART = 1 << 20


class Collected:
    """What came through a pipe, up to a number of bytes: the rest is left in it, and its writer waits.

    Parameters
    ----------
    descriptor : int
        The end to read from; stays the caller's.
    most : int
        Bytes.
    """

    def __init__(self, descriptor: int, most: int) -> None:
        self._descriptor, self._left = descriptor, most
        self._parts: list[bytes] = []
        os.set_blocking(descriptor, False)
        with contextlib.suppress(OSError):  # a user may have few large pipes
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PART)

    def read(self) -> bool:
        """Take what is there; return whether more may come."""
        while self._left:
            try:
                part = os.read(self._descriptor, min(_PART, self._left))
            except BlockingIOError:
                return True
            if not part:
                break
            self._parts.append(part)
            self._left -= len(part)
        return False

    def content(self) -> bytes:
        """Return all that came."""
        return b"".join(self._parts)
