"""The CUDA sources: where they are, how they are compiled, what their kernels take.

A file of `kernels/` is compiled when a kernel of it is first wanted, behind `prelude.cu`, for one
precision, one number of channels a thread takes at once, and where it asks for them (`MACROS`) one window
and group size.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import NamedTuple

THREADS = 256  # of a block
REALS = {"float32": "float", "float64": "double"}
WIDTHS = {"float32": 4, "float64": 2}  # numbers in 16 bytes, the widest load

_WINDOW = ("KH", "KW", "SH", "SW", "DH", "DW")
# Files that are compiled for more than precision and width, and the macros that they want.
MACROS: dict[str, tuple[str, ...]] = {"patches": _WINDOW, "grouped": (*_WINDOW, "GC", "GO")}
FILES = (
    "elementwise", "excite", "grouped", "images", "loss", "normalise", "patches", "pooling", "sgd",
    "statistics", "winograd",
)  # fmt: skip

_SIGNATURE = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\(\w+\) )?(\w+)\(([^)]*)\)')


class Build(NamedTuple):
    """One way to compile a file."""

    file: str
    dtype: str  # "float32" or "float64"
    width: int  # V: channels that a thread takes at once
    macros: tuple[tuple[str, int], ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """Options for NVRTC."""
        set_ = {"Real": REALS[self.dtype], "V": self.width, "THREADS": THREADS, **dict(self.macros)}
        return ("--std=c++17", *(f"-D{name}={value}" for name, value in set_.items()))


@functools.cache
def source(file: str) -> str:
    """Return a file's source behind the prelude; the compiler's line numbers stay those of the file."""
    folder = resources.files("senumpy") / "engines" / "cupy" / "kernels"  # asks for no CuPy
    prelude, text = ((folder / f"{name}.cu").read_text(encoding="utf-8") for name in ("prelude", file))
    return f'{prelude}\n#line 1 "{file}.cu"\n{text}'


@functools.cache
def signatures(file: str) -> Mapping[str, str]:
    """Return the kinds of each kernel's parameters, a letter each.

    p: pointer, i: int, l: long long, r: Real, d: double.
    """
    return {
        name: "".join(_kind(parameter) for parameter in parameters.split(","))
        for name, parameters in _SIGNATURE.findall(source(file))
    }


def _kind(parameter: str) -> str:
    if "*" in parameter:
        return "p"
    words = parameter.split()
    return next(
        letter
        for word, letter in (("long", "l"), ("int", "i"), ("Real", "r"), ("double", "d"))
        if word in words
    )


# Windows (kernel, stride, dilation) and groups (channels, outputs) that reach all of `patches` and `grouped`.
_SAMPLES = (
    (1, 1, 2, 2, 1, 1, 1, 1),
    (3, 3, 1, 1, 1, 1, 4, 4),
    (3, 3, 2, 2, 1, 1, 16, 16),
    (7, 7, 2, 2, 1, 1, 1, 2),
    (2, 3, 1, 2, 2, 1, 3, 2),
)


def every_build() -> Iterator[Build]:
    """Yield builds that together reach all code: each precision and width, and some windows and groups."""
    for file in FILES:
        names = MACROS.get(file, ())
        for dtype, widest in WIDTHS.items():
            for width in (1, widest):
                for sample in _SAMPLES if names else [()]:
                    yield Build(file, dtype, width, tuple(zip(names, sample, strict=False)))
