"""Linux's system calls that Python has no names for: name spaces, Landlock, capabilities, prctl."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterable
from pathlib import Path

NEW_USER, NEW_PID, NEW_NET, NEW_IPC = 0x10000000, 0x20000000, 0x40000000, 0x08000000
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38

# Bits of Landlock's rights on files. Each ABI knew more of them than the one before.
_EXECUTE, _WRITE, _READ, _LIST = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REMOVE = 1 << 4 | 1 << 5  # folders, files; moving them needs it, too
_TRUNCATE, _DEVICE = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE | _READ | _TRUNCATE | _DEVICE
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many bits an ABI knows
_NET = 0b11  # bind and connect by TCP, from ABI 4
_SCOPES = 0b11  # abstract Unix sockets and signals to the outside, from ABI 6

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same on all processors
_CAPSET = {"x86_64": 126, "aarch64": 91}


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc().syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def prctl(option: int, value: int) -> None:
    """Set something of this process."""
    zero = ctypes.c_ulong(0)
    if _libc().prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def unshare(flags: int) -> None:
    """Move into name spaces of one's own."""
    if _libc().unshare(ctypes.c_int(flags)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def drop_capabilities() -> None:
    """Give up what distinguishes root."""
    header = ctypes.create_string_buffer(struct.pack("<Ii", 0x20080522, 0))
    _call(_CAPSET[platform.machine()], header, ctypes.create_string_buffer(24))


def landlock_abi() -> int:
    """Return which Landlock there is; 0 where none is."""
    try:
        return _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def landlock(
    readable: Iterable[str | Path],
    listed: Iterable[str | Path],
    devices: Iterable[str | Path],
    scratch: str | Path,
) -> None:
    """Leave this process these files to read, these devices to use, and one folder to write in.

    Nothing can be removed or moved in that folder: what was written stays to be counted.

    Parameters
    ----------
    readable, devices : iterable of path
    listed : iterable of path
        Folders whose names may be listed, at any depth, and no more.
    scratch : path

    Raises
    ------
    OSError
        There is no Landlock.
    """
    abi = landlock_abi()
    if not abi:
        raise OSError("this system has no Landlock")
    handled = (1 << _RIGHTS.get(abi, 16)) - 1
    attributes = struct.pack("<QQQ", handled, _NET, _SCOPES)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    rules = _call(_CREATE, buffer, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    try:
        for path in readable:
            _allow(rules, path, handled & (_EXECUTE | _READ | _LIST))
        for path in listed:
            _allow(rules, path, handled & _LIST)
        for path in devices:
            _allow(rules, path, handled & (_READ | _WRITE | _DEVICE))
        _allow(rules, scratch, handled & ~(_DEVICE | _REMOVE))
        prctl(PR_SET_NO_NEW_PRIVS, 1)
        _call(_RESTRICT, ctypes.c_int(rules), ctypes.c_uint(0))
    finally:
        os.close(rules)


def _allow(rules: int, path: str | Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what isn't there can't be read
    try:
        if not Path(path).is_dir():
            rights &= _OF_FILES
        rule = ctypes.create_string_buffer(struct.pack("<Qi", rights, descriptor), 12)
        _call(_ADD_RULE, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint(0))
    finally:
        os.close(descriptor)
