"""NVIDIA's compiler takes every kernel, for GPUs from Volta to Blackwell, without a warning; it needs no GPU.

It comes with pip: cuda-core[cu12]. CUDA 12.9 is the last one with Volta (sm_70); CUDA 13 dropped it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cuda.sources import FILES, Build, every_build

core = pytest.importorskip(
    "cuda.core", reason="needs NVRTC: pip install cuda-core[cu12]", exc_type=ImportError
)

ARCHITECTURES = ("sm_70", "sm_80", "sm_90", "sm_100")
# NVRTC on Volta by itself, not on the source.
OLD = "nvrtc: warning: Architectures prior to '<compute/sm>_75' are deprecated and may be removed"


class Log:
    """What the compiler says."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text += text.replace("\0", "")

    @property
    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip() and not line.startswith(OLD)]


def compiled(source: str, build: Build, architecture: str) -> tuple[bytes, list[str]]:
    """Return machine code, and the lines of the compiler's log."""
    standard, *macros = build.options
    settings = core.ProgramOptions(
        arch=architecture,
        std=standard.removeprefix("--std="),
        device_as_default_execution_space=True,  # as CuPy sets it
        define_macro=[tuple(macro.removeprefix("-D").split("=")) for macro in macros],
    )
    log = Log()
    code = core.Program(source, "c++", settings).compile("cubin", logs=log).code
    return code, log.lines


@pytest.fixture(scope="module")
def source(cupy) -> Callable[[str], str]:
    """Return the engine's sources, as it compiles them."""
    return importlib.import_module("senumpy.engines.cupy.sources").source


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("file", FILES)
def test_it_compiles_without_a_warning(source, file, architecture):
    builds = [build for build in every_build() if build.file == file]
    assert builds
    text = source(file)
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda build: compiled(text, build, architecture), builds)
        for build, (code, log) in zip(builds, found, strict=True):
            assert log == [], build
            assert code.startswith(b"\x7fELF")


# -- the check itself --------------------------------------------------------------------------------------

BUILD = Build("made up", "float32", 4)
KERNEL = 'extern "C" __global__ void k(Real* x, unsigned n, int m) { %s }'


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_clean_source_gives_no_warning(architecture):
    assert compiled(KERNEL % "x[n] = m + V;", BUILD, architecture)[1] == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("int unused; x[n] = m;", '"unused" was declared but never referenced'),
        ("int set; set = m; x[n] = 0;", '"set" was set but never used'),
        ("x[n] = m; if (n < 0) x[0] = 1;", "pointless comparison of unsigned integer with zero"),
        ("const int big = 3000000000; x[n] = m + big;", "integer conversion resulted in a change of sign"),
    ],
)
def test_a_careless_source_gives_a_warning(body, words, architecture):
    log = "\n".join(compiled(KERNEL % body, BUILD, architecture)[1])
    assert "warning" in log
    assert words in log


def test_what_it_does_not_warn_of():
    """NVRTC has no warning for signed numbers beside unsigned ones: reading the source has to find these."""
    assert compiled(KERNEL % "for (int i = 0; i < n; ++i) x[i] = m;", BUILD, "sm_90")[1] == []


def test_a_wrong_source_is_an_error():
    with pytest.raises(Exception, match=r"identifier .undeclared. is undefined"):
        compiled(KERNEL % "x[n] = undeclared;", BUILD, "sm_90")
