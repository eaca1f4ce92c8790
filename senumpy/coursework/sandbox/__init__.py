"""A stranger's code in a process of its own, behind the walls that the system has.

On Linux a process that has NumPy and the work's module imported (`zygote`) forks a child for each run, in
some 20 ms. Before the child calls the work it walls itself in (`confine`): Landlock for the file system,
seccomp for system calls, no capabilities, limits of time, memory, file size. The forking process lives in
name spaces of its own, where the system lends them: a network without a way out, and a table of processes
whose end is the end of all that was started there. Elsewhere each run is a new process with limits of
resources (macOS) or with a limit of time alone (Windows). `Sandbox.describe` says which walls stand; each is
tried first.

Behind Landlock the library's own sources can't be read: they have the solutions. What comes back is bytes
that are never unpickled (`frames`).
"""

from __future__ import annotations

from senumpy.coursework.sandbox.outcome import Limits, Reply
from senumpy.coursework.sandbox.pool import Sandbox

__all__ = ["Limits", "Reply", "Sandbox"]
