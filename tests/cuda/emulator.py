"""Run CUDA kernels on a processor: the sources as they are, compiled as C++ around `emulation.h`.

A kernel runs as on a GPU, one block after the other, its threads in turn; see the header. What an emulator
can't show is speed, and the order in which blocks run at once.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HEADER = Path(__file__).with_name("emulation.h")
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(\w+\) )?(\w+)\(')


def kernel_names(source: str) -> list[str]:
    """Return the names of all kernels in a source."""
    return _KERNEL.findall(source)


@functools.cache
def compiler() -> list[str] | None:
    """Return a C++ compiler's command: the machine's, or the package `ziglang`'s; None without one."""
    for name in ("g++", "clang++"):
        if shutil.which(name):
            return [name]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++", "-fno-sanitize=all"]
    return None


class CompileError(Exception):
    """What the compiler says."""


class Program:
    """One source, compiled with some macros.

    Parameters
    ----------
    source : str
    options : tuple of str
        `-DNAME=VALUE`; others are for CUDA alone and passed over.
    """

    def __init__(self, source: str, options: tuple[str, ...]) -> None:
        self.names = kernel_names(source)
        self._library = ctypes.PyDLL(str(_compiled(source, tuple(o for o in options if o.startswith("-D")))))
        self._barriers = {name: "__syncthreads" in body for name, body in _bodies(source).items()}

    def wanted(self, name: str) -> str:
        """Return the kinds of a kernel's arguments, a letter each: p, i (4 bytes), l (8 bytes), f, d."""
        letters = getattr(self._library, f"letters_{name}")
        letters.restype = ctypes.c_char_p
        return letters().decode()

    def launch(self, name: str, grid: tuple[int, ...], block: tuple[int, ...], values: list[bytes]) -> None:
        """Run a kernel; `values` are its arguments as they lie in memory."""
        held = [ctypes.create_string_buffer(value, 8) for value in values]
        pointers = (ctypes.c_void_p * len(held))(*map(ctypes.addressof, held))
        sizes = [(ctypes.c_uint * 3)(*size, *(1,) * (3 - len(size))) for size in (grid, block)]
        getattr(self._library, f"launch_{name}")(*sizes, pointers, int(self._barriers[name]))


def _bodies(source: str) -> dict[str, str]:
    starts = [*_KERNEL.finditer(source)]
    ends = [start.start() for start in starts[1:]] + [len(source)]
    return {start[1]: source[start.start() : end] for start, end in zip(starts, ends, strict=True)}


def _entry(name: str) -> str:
    """Return C++ functions by which Python reaches a kernel."""
    return f"""
extern "C" const char* letters_{name}() {{ return emulation::letters(&{name}); }}
extern "C" void launch_{name}(const unsigned* grid, const unsigned* block, void** values, int barriers) {{
  emulation::launch([](void** v) {{ emulation::call(&{name}, v); }}, barriers, grid, block, values);
}}
"""


def _compiled(source: str, macros: tuple[str, ...]) -> Path:
    """Return the shared library, from the folder of those compiled before or new."""
    command = compiler()
    if command is None:
        raise CompileError("no C++ compiler: install g++, or pip install ziglang")
    entries = "".join(_entry(name) for name in kernel_names(source))
    text = f'{HEADER.read_text()}\n#line 1 "prelude.cu"\n{source}\n{entries}'
    flags = ["-std=c++17", "-O1", "-fPIC", "-shared", "-w", "-ffp-contract=off", *macros]
    key = hashlib.sha256("\0".join([text, *command, *flags]).encode()).hexdigest()[:32]
    folder = Path(tempfile.gettempdir()) / f"senumpy-emulated-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    library = folder / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            file, made = Path(work, "kernels.cpp"), Path(work, "kernels.so")
            file.write_text(text)
            done = subprocess.run(
                [*command, *flags, str(file), "-o", str(made)], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise CompileError(done.stderr)
            made.replace(library)
    return library
