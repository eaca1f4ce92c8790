"""The stand-in for CuPy has no name that CuPy itself lacks, and neither does the engine use one.

CuPy is looked at in other processes: in this one the stand-in may go by its name. No GPU is needed, nor
cuBLAS: what CuPy calls of it is read from its compiled module.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda import stand_in
from tests.cuda.cublas import Cublas
from tests.cuda.sources import FOLDER

DISTRIBUTIONS = ("cupy-cuda12x", "cupy-cuda13x")
ROOT = Path(__file__).parents[2]


def _version() -> str | None:
    for name in DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


pytestmark = pytest.mark.skipif(_version() is None, reason=f"needs CuPy: pip install {DISTRIBUTIONS[0]}")


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def lacking(names: set[str]) -> list[str]:
    """Return those of some dotted names that CuPy doesn't have."""
    script = """
import json, sys, cupy, cupy.cuda.compiler, cupy.cuda.device, cupy.cuda.memory
def has(name):
    value = cupy
    for part in name.split("."):
        if not hasattr(value, part):
            return False
        value = getattr(value, part)
    return True
print(json.dumps([name for name in json.loads(sys.argv[1]) if not has(name)]))
"""
    done = python("-c", script, json.dumps(sorted(names)))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def public(value: object) -> set[str]:
    return {name for name in vars(value) if not name.startswith("_")}


# -- names -------------------------------------------------------------------------------------------------


def test_a_name_that_cupy_lacks_is_found():
    assert lacking({"empty", "cuda.Stream", "no_such_function", "cuda.nothing", "ndarray.to_host"}) == [
        "cuda.nothing",
        "ndarray.to_host",
        "no_such_function",
    ]


def test_functions_exist():
    assert lacking(public(stand_in.build())) == []


def test_what_is_in_cuda_exists():
    cuda = stand_in.build().cuda
    names = public(cuda) - {"cublas"}  # its names: below
    for part in ("runtime", "device", "memory", "compiler"):
        names |= {f"{part}.{name}" for name in public(getattr(cuda, part))}
    for kind in (stand_in.Device, stand_in.Stream, stand_in.MemoryPool):
        names |= {f"{kind.__name__}.{name}" for name in public(kind)}
    names |= {f"Event.{name}" for name in public(stand_in.Event) - {"recorded", "time"}}
    names.add("compiler.CompileException.get_message")
    names.discard("Stream.ptr")  # CuPy sets it when a stream is made, which takes a GPU
    assert lacking({f"cuda.{name}" for name in names}) == []


def test_methods_of_arrays_exist():
    operators = {name for name in vars(stand_in.ndarray) if re.fullmatch(r"__[a-z]+__", name)}
    own = {"__module__", "__getattr__", "__dict__", "__weakref__", "__annotations__", "__firstlineno__"}
    names = stand_in._METHODS | public(stand_in.ndarray) | (operators - own)
    names |= {"shape", "dtype", "ndim", "size", "strides", "nbytes", "itemsize", "flags", "T", "real", "imag"}
    assert lacking({f"ndarray.{name}" for name in names}) == []


def test_keywords_of_a_module():
    script = "import cupy; print(cupy.RawModule.__doc__.splitlines()[0])"
    known = set(re.findall(r"(\w+)=", python("-c", script).stdout))
    assert {"code", "options", "backend"} <= known
    taken = {*inspect.signature(stand_in.RawModule).parameters}
    assert taken - known == set()


def test_what_the_engine_uses_exists():
    sources = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    used = {name.rstrip(".") for name in re.findall(r"\bcp\.([A-Za-z_][\w.]*)", sources)}
    assert {"empty", "cuda.cublas", "cuda.memory.OutOfMemoryError"} <= used
    assert lacking(used - {"cuda.cublas"}) == []


# -- cuBLAS ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cublas() -> bytes:
    """The compiled module: Cython keeps every function's signature in it as text."""
    files = [
        file.locate() for name in DISTRIBUTIONS if _installed(name) for file in importlib.metadata.files(name)
        if re.search(r"cuda/libs/cublas\.[^/]*\.(so|pyd)$", file.as_posix())
    ]  # fmt: skip
    assert len(files) == 1
    return Path(files[0]).read_bytes()


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def parameters(cublas: bytes, name: str) -> str:
    """Return a function's parameters in their order, without types."""
    found = re.search(rf"\b{name}\(([^)\0]*)\)".encode(), cublas)
    assert found, f"{name} is no function of cupy.cuda.cublas"
    return ", ".join(parameter.split()[-1] for parameter in found[1].decode().split(","))


GEMM = "handle, transa, transb, m, n, k, alpha, A, lda, B, ldb, beta, C, ldc"
BATCHED = (
    "handle, transa, transb, m, n, k, alpha, A, lda, strideA, B, ldb, strideB, beta, C, ldc, strideC, "
    "batchCount"
)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("sgemm", GEMM),
        ("dgemm", GEMM),
        ("sgemmStridedBatched", BATCHED),
        ("dgemmStridedBatched", BATCHED),
        ("setMathMode", "handle, mode"),
    ],
)
def test_products_take_their_parameters_in_this_order(cublas, name, wanted):
    assert parameters(cublas, name) == wanted


def test_the_stand_in_takes_them_so_too():
    """Its own names stand for those of cuBLAS, one by one, behind self and dtype."""
    one = [*inspect.signature(Cublas._one).parameters][2:]
    batched = [*inspect.signature(Cublas._products).parameters][2:]
    meaning = {"ta": "transa", "tb": "transb", "count": "batchCount"}
    meaning |= {letter: letter.upper() for letter in "abc"} | {
        f"step_{x}": f"stride{x.upper()}" for x in "abc"
    }
    assert ", ".join(meaning.get(name, name) for name in one) == GEMM
    assert ", ".join(meaning.get(name, name) for name in batched) == BATCHED


@pytest.mark.parametrize("name", ["CUBLAS_OP_N", "CUBLAS_OP_T", "CUBLAS_DEFAULT_MATH"])
def test_constants_of_cublas_exist(cublas, name):
    assert re.search(rf"\b{name}\b".encode(), cublas)


def test_the_stand_in_has_no_other_names_of_cublas():
    offered = {name for name in vars(Cublas) if not name.startswith("_")}
    tested = {"sgemm", "dgemm", "sgemmStridedBatched", "dgemmStridedBatched", "setMathMode"}
    assert offered == tested | {"CUBLAS_OP_N", "CUBLAS_OP_T", "CUBLAS_DEFAULT_MATH"}


# -- CuPy without a GPU ------------------------------------------------------------------------------------


@pytest.fixture
def without_gpu():
    script = "import cupy; print(cupy.cuda.is_available())"
    if python("-c", script).stdout.strip() != "False":
        pytest.skip("there is a GPU")


def test_the_engine_says_that_there_is_no_gpu(without_gpu):
    script = """
import senumpy
try:
    senumpy.engine("cupy")
except senumpy.InputError as error:
    print(error)
"""
    done = python("-c", script)
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"engine 'cupy': CuPy {_version()} finds no usable GPU (")
    assert "use the engine 'numba' or 'numpy'" in line


def test_train_says_so_in_one_line(without_gpu, tmp_path):
    for package in ("matplotlib", "safetensors", "sklearn", "threadpoolctl", "tqdm"):
        pytest.importorskip(package, reason=f"training needs {package}")
    done = python("-m", "senumpy", "train", "--engine", "cupy", "--out", str(tmp_path / "run"))
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert "finds no usable GPU" in line
    assert done.stdout == ""
    assert not (tmp_path / "run").exists()
