"""A filter of system calls: no network, no further processes, no hands on other processes or their files.

The filter is a program for the kernel's packet filter (BPF), which looks at each system call's number and
arguments. What it refuses fails with EPERM, which Python raises as PermissionError: an answer that tries sees
an exception, and nobody else sees anything.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys

_X86, _ARM = "x86_64", "aarch64"
_AUDIT = {_X86: 0xC000003E, _ARM: 0xC00000B7}
_SECCOMP = {_X86: 317, _ARM: 277}
_SET_MODE_FILTER = 1
_NO_NEW_PRIVS = 38

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_THREAD = 0x10000  # CLONE_THREAD
_X32 = 0x40000000

# Refused altogether: number on x86_64, on aarch64 (None: it has no such call).
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    # network, and the ring of requests that goes around this filter
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201),
    "socketpair": (53, 199), "accept": (43, 202), "accept4": (288, 242),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # processes
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "setsid": (112, 157), "setpgid": (109, 154), "unshare": (272, 97), "setns": (308, 268),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "process_mrelease": (448, 448), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "setpriority": (141, 140), "ioprio_set": (251, 30), "tkill": (200, 130), "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "perf_event_open": (298, 241), "bpf": (321, 280), "userfaultfd": (323, 282),
    # who one is
    "setuid": (105, 146), "setgid": (106, 144), "setreuid": (113, 145), "setregid": (114, 143),
    "setresuid": (117, 147), "setresgid": (119, 149), "setgroups": (116, 159), "setfsuid": (122, 151),
    "setfsgid": (123, 152), "capset": (126, 91),
    # what Landlock does not see: modes, owners, times, attributes of files
    "truncate": (76, 45), "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "setxattrat": (463, 463),
    "removexattrat": (466, 466), "file_setattr": (469, 469),
    # memory that is counted nowhere, or stays
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196),
    "shmctl": (31, 195), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # the machine
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsmount": (432, 432), "mount_setattr": (442, 442),
    "swapon": (167, 224), "swapoff": (168, 225), "reboot": (169, 142), "sethostname": (170, 161),
    "setdomainname": (171, 162), "init_module": (175, 105), "finit_module": (313, 273),
    "delete_module": (176, 106), "kexec_load": (246, 104), "kexec_file_load": (320, 294),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "acct": (163, 89), "quotactl": (179, 60), "syslog": (103, 116),
    "iopl": (172, None), "ioperm": (173, None), "sync": (162, 81), "syncfs": (306, 267),
    "vhangup": (153, 58), "open_tree_attr": (467, 467), "fsconfig": (431, 431), "fspick": (433, 433),
    "statmount": (457, 457), "listmount": (458, 458), "listns": (470, 470), "quotactl_fd": (443, 443),
    "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "sysfs": (139, None), "uselib": (134, None),
    "modify_ldt": (154, None), "lsm_set_self_attr": (460, 460), "personality": (135, 92),
    # news of files, and requests beside the usual calls
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "inotify_init": (253, None),
    "inotify_init1": (294, 26), "io_setup": (206, 0), "io_submit": (209, 2),
}  # fmt: skip
# Allowed where the first argument is the process itself (or 0, which means the same).
_ON_ITSELF: dict[str, tuple[int, int]] = {
    "prlimit64": (302, 261), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
}  # fmt: skip
_SIGNALS: dict[str, tuple[int, int]] = {  # the same, but 0 means a whole group of processes
    "kill": (62, 129), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
}  # fmt: skip
# Refused where the argument with this index has one of these values.
_WITH_VALUES: dict[str, tuple[tuple[int, int], int, tuple[int, ...]]] = {
    "prctl": ((157, 167), 0, (1, 4)),  # PR_SET_PDEATHSIG, PR_SET_DUMPABLE
    "fcntl": ((72, 25), 1, (8, 10, 15)),  # signals to others when a file has news
    "ioctl": ((16, 29), 1, (0x5412, 0x8901, 0x8902, 0x40086602, 0x401C5820)),  # typing; the same; attributes
}
_CLONE, _CLONE3 = (56, 220), (435, 435)
# Refused, too, where there is no Landlock: whatever changes files. Reading can't be told apart by path here.
_CHANGES: dict[str, tuple[int | None, int | None]] = {
    "creat": (85, None), "unlink": (87, None), "unlinkat": (263, 35), "rmdir": (84, None),
    "mkdir": (83, None), "mkdirat": (258, 34), "rename": (82, None), "renameat": (264, 38),
    "renameat2": (316, 276), "link": (86, None), "linkat": (265, 37), "symlink": (88, None),
    "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33),
}  # fmt: skip
_OPEN, _OPENAT, _OPENAT2 = (2, None), (257, 56), (437, 437)
_WRITES = 0x1 | 0x2 | 0x40 | 0x200  # O_WRONLY, O_RDWR, O_CREAT, O_TRUNC
_NAMELESS = 0x400000  # what O_TMPFILE has beyond O_DIRECTORY: files that nobody could count


def install(*, changes: bool) -> None:
    """Filter the system calls of this process, and of all threads that it starts, from now on.

    Parameters
    ----------
    changes : bool
        Whether files may be changed: true where Landlock says which.

    Raises
    ------
    OSError
        There is no seccomp, or no filter for this processor.
    """
    machine = platform.machine()
    if machine not in _AUDIT or sys.byteorder != "little" or struct.calcsize("P") != 8:
        raise OSError(errno.ENOSYS, f"no filter of system calls for {machine}")
    lines = _program(machine, changes)
    code = ctypes.create_string_buffer(b"".join(lines))
    program = struct.pack("<HxxxxxxQ", len(lines), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    if libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero):
        raise OSError(ctypes.get_errno(), "prctl")
    buffer = ctypes.create_string_buffer(program, len(program))
    number = ctypes.c_long(_SECCOMP[machine])
    if libc.syscall(number, ctypes.c_uint(_SET_MODE_FILTER), ctypes.c_uint(0), buffer):
        code_ = ctypes.get_errno()
        raise OSError(code_, os.strerror(code_))


def _program(machine: str, changes: bool) -> list[bytes]:
    which, own = (0 if machine == _X86 else 1), os.getpid()
    refuse, allow = _line(_RETURN, _ERRNO | errno.EPERM), _line(_RETURN, _ALLOW)
    lines = [_line(_LOAD, _ARCH), _line(_EQUAL, _AUDIT[machine], 1, 0), _line(_RETURN, _KILL)]
    lines.append(_line(_LOAD, _NUMBER))
    if machine == _X86:
        lines += [_line(_AT_LEAST, _X32, 0, 1), refuse]

    def when(number: int | None, body: list[bytes]) -> None:
        if number is not None:
            lines.extend([_line(_EQUAL, number, 0, len(body)), *body])

    for numbers in _REFUSED.values():
        when(numbers[which], [refuse])
    for calls in _ON_ITSELF.values():
        when(calls[which], [_argument(0), *_if_any((own, 0), allow, refuse)])
    for calls in _SIGNALS.values():
        when(calls[which], [_argument(0), *_if_any((own,), allow, refuse)])
    for calls, index, values in _WITH_VALUES.values():
        when(calls[which], [_argument(index), *_if_any(values, refuse, allow)])
    if not changes:
        for numbers in _CHANGES.values():
            when(numbers[which], [refuse])
    flags = _NAMELESS if changes else _NAMELESS | _WRITES
    for numbers, index in ((_OPEN, 1), (_OPENAT, 2)):
        when(numbers[which], [_argument(index), _line(_ANY_BIT, flags, 0, 1), refuse, allow])
    when(_OPENAT2[which], [_line(_RETURN, _ERRNO | errno.ENOSYS)])  # its flags are behind a pointer
    # A thread may be started, a process not. clone3 hides its flags behind a pointer: without it the C
    # library asks by clone.
    when(_CLONE[which], [_argument(0), _line(_ANY_BIT, _THREAD, 0, 1), allow, refuse])
    when(_CLONE3[which], [_line(_RETURN, _ERRNO | errno.ENOSYS)])
    return [*lines, allow]


def _if_any(values: tuple[int, ...], then: bytes, otherwise: bytes) -> list[bytes]:
    found = []
    for value in values:
        found += [_line(_EQUAL, value, 0, 1), then]
    return [*found, otherwise]


def _argument(index: int) -> bytes:
    return _line(_LOAD, _ARGUMENTS + 8 * index)  # the lower half: little-endian


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value & 0xFFFFFFFF)
