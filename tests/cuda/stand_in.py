"""A strict stand-in for CuPy on machines without a GPU.

Its arrays live on a "device": they don't mix with NumPy arrays and turn into one only by `asnumpy`. Memory
that was just taken holds NaN, and every array has guard zones around it: a kernel that reads or writes
beside its arrays is found out. Kernels run in `tests.cuda.emulator`, cuBLAS's products in NumPy at the
addresses and leading dimensions that they are given. There is no more than the engine uses: what CuPy
doesn't have under these names (`test_stand_in.py` looks at CuPy itself) must not be here.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import types
from typing import Any

import numpy as np

from tests.cuda import streams
from tests.cuda.cublas import Cublas
from tests.cuda.emulator import CompileError, Program
from tests.cuda.memory import BASES, LIVE, Memory, MemoryPool, OutOfMemoryError
from tests.cuda.streams import Event, Stream, get_elapsed_time


def _unwrap(value: Any) -> Any:
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>: a NumPy array met one on the device")
    if isinstance(value, tuple | list):
        return type(value)(map(_unwrap, value))
    return value


def _wrap(value: Any) -> Any:
    """Put what NumPy computed on the device: a view stays a view."""
    if isinstance(value, tuple):
        return tuple(map(_wrap, value))
    if isinstance(value, np.ndarray | np.generic):
        value = np.asarray(value)
        owner = _owner(value)
        return ndarray._of(value, owner) if owner else ndarray._copied(value)
    return value


def _owner(array: np.ndarray) -> Memory | None:
    """Return the device memory that an array is a view of."""
    base = array
    while isinstance(base, np.ndarray):
        found = BASES.get(id(base))
        if found is not None:
            return found
        base = base.base
    return None


class ndarray:  # noqa: N801
    """An array on the device."""

    __array_ufunc__ = None  # NumPy's functions and operators refuse it
    __module__ = "cupy"

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None) -> None:
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        dtype = np.dtype(dtype)
        self._memory = memptr.memory if memptr else Memory(int(np.prod(shape)) * dtype.itemsize)
        base = self._memory.bytes
        start = memptr.ptr - self._memory.address if memptr else 0
        self._array = np.ndarray(shape, dtype, base, start, strides)

    @classmethod
    def _of(cls, array: np.ndarray, memory: Memory) -> ndarray:
        made = object.__new__(cls)
        made._array, made._memory = array, memory
        return made

    @classmethod
    def _copied(cls, array: np.ndarray) -> ndarray:
        made = cls(array.shape, array.dtype)
        made._array[...] = array
        return made

    def __array__(self, *args: Any, **settings: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __getattr__(self, name: str) -> Any:
        if name in ("shape", "dtype", "ndim", "size", "strides", "nbytes", "itemsize", "flags"):
            return getattr(self._array, name)
        if name in ("T", "real", "imag"):
            return _wrap(getattr(self._array, name))
        if name in _METHODS:
            return functools.partial(self._called, name)  # holds this array, whose memory a view shares
        raise AttributeError(f"cupy.ndarray stand-in has no {name!r}")

    def _called(self, name: str, *args: Any, **settings: Any) -> Any:
        unwrapped = {key: _unwrap(value) for key, value in settings.items()}
        return _wrap(getattr(self._array, name)(*map(_unwrap, args), **unwrapped))

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(
            ptr=self._array.__array_interface__["data"][0], memory=self._memory, device_id=0
        )

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape, "typestr": self.dtype.str, "data": (self.data.ptr, False), "version": 3,
            "strides": None if self.flags.c_contiguous else self.strides,
        }  # fmt: skip

    @property
    def device(self) -> Device:
        return Device(0)

    def get(self) -> np.ndarray:
        return self._array.copy(order="K")

    def __getitem__(self, index: Any) -> ndarray:
        return _wrap(np.asarray(self._array[_unwrap(index)]))

    def __setitem__(self, index: Any, value: Any) -> None:
        self._array[_unwrap(index)] = _unwrap(value)

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Any:
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self._array)

    def __int__(self) -> int:
        return int(self._array)

    def __float__(self) -> float:
        return float(self._array)

    def __repr__(self) -> str:
        return repr(self._array)

    __hash__ = None


_METHODS = {
    "view", "reshape", "transpose", "astype", "copy", "sum", "mean", "min", "max", "ravel", "item", "fill",
    "any", "all", "tolist", "squeeze",
}  # fmt: skip


def _operator(name: str) -> None:
    function = getattr(np.ndarray, name)

    def method(self: ndarray, *others: Any) -> Any:
        result = function(self._array, *map(_unwrap, others))
        if result is self._array:  # in place
            return self
        return result if result is NotImplemented else _wrap(result)

    setattr(ndarray, name, method)


for _name in [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "or",
    "xor",
    "matmul",
    "lshift",
    "rshift",
]:
    for _form in (f"__{_name}__", f"__r{_name}__", f"__i{_name}__"):
        if hasattr(np.ndarray, _form) and _form != "__imatmul__":  # CuPy has none
            _operator(_form)
for _name in ["neg", "pos", "abs", "invert", "eq", "ne", "lt", "le", "gt", "ge"]:
    _operator(f"__{_name}__")

# NumPy's functions that CuPy has under the same name, as far as the engine and the operations use them.
FUNCTIONS = (
    "abs", "add", "arange", "argmax", "ascontiguousarray", "astype", "broadcast_to", "ceil", "concat",
    "conj", "empty_like", "exp", "full", "full_like", "isdtype", "isfinite", "isnan", "log", "matmul",
    "matrix_transpose", "max", "maximum", "mean", "min", "minimum", "moveaxis", "ones", "ones_like",
    "permute_dims", "prod", "reshape", "result_type", "sign", "sqrt", "stack", "subtract", "sum",
    "take_along_axis", "tanh", "tril", "var", "where", "zeros", "zeros_like",
)  # fmt: skip


def _function(name: str) -> Any:
    function = getattr(np, name)

    def called(*args: Any, **settings: Any) -> Any:
        return _wrap(
            function(*map(_unwrap, args), **{key: _unwrap(value) for key, value in settings.items()})
        )

    called.__name__ = name
    return called


def _asarray(value: Any, dtype: Any = None) -> ndarray:
    if not isinstance(value, ndarray) and hasattr(value, "__cuda_array_interface__"):
        value = _shared(value.__cuda_array_interface__)
    if isinstance(value, ndarray):
        return value if dtype is None or value.dtype == np.dtype(dtype) else _wrap(value._array.astype(dtype))
    return ndarray._copied(np.asarray(value, dtype))


def _shared(described: dict[str, Any]) -> ndarray:
    """Return an array at an address of the device's memory that somebody else owns."""
    memory = LIVE[described["data"][0]]()
    assert memory is not None
    pointer = types.SimpleNamespace(ptr=memory.address, memory=memory)
    return ndarray(described["shape"], described["typestr"], pointer, described["strides"])


# -- kernels ---------------------------------------------------------------------------------------------

_LETTERS = {"i": (np.int32, np.uint32), "l": (np.int64, np.uint64), "f": (np.float32,), "d": (np.float64,)}
launches: list[str] = []  # names of the kernels that ran


class CompileException(Exception):  # noqa: N818
    """As `cupy.cuda.compiler.CompileException`: the compiler's words, and its options."""

    def __init__(self, message: str, source: str, name: str, options: tuple[str, ...]) -> None:
        super().__init__(message)
        self._msg, self.source, self.name, self.options = message, source, name, options

    def get_message(self) -> str:
        return self._msg


class RawModule:
    """As `cupy.RawModule`, compiled when first asked for a kernel."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc") -> None:
        self._code, self._options = code, options
        self._program: Program | None = None

    def get_function(self, name: str) -> Any:
        if self._program is None:
            try:
                self._program = Program(self._code, self._options)
            except CompileError as error:
                raise CompileException(str(error), self._code, name, self._options) from None
        if name not in self._program.names:
            raise RuntimeError(f"CUDA_ERROR_NOT_FOUND: named symbol not found: {name}")
        program = self._program

        def kernel(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...]) -> None:
            _check_sizes(grid, block)
            streams.operate(
                streams.current(), *(value._memory.uses for value in args if isinstance(value, ndarray))
            )
            program.launch(name, grid, block, _values(name, program.wanted(name), args))
            launches.append(name)
            for value in args:
                if isinstance(value, ndarray):
                    value._memory.check()

        return kernel


def _check_sizes(grid: tuple[int, ...], block: tuple[int, ...]) -> None:
    """Raise for what CUDA refuses."""
    if int(np.prod(block)) > 1024 or min((*grid, *block)) < 1:
        raise ValueError(f"CUDA_ERROR_INVALID_VALUE: grid {grid}, block {block}")
    if any(size > most for size, most in zip(grid, (2**31 - 1, 65535, 65535), strict=False)):
        raise ValueError(f"CUDA_ERROR_INVALID_VALUE: grid {grid}")


def _values(name: str, wanted: str, args: tuple[Any, ...]) -> list[bytes]:
    """Return the arguments' bytes; raise where CuPy would pass other ones than the kernel takes."""
    if len(args) != len(wanted):
        raise TypeError(f"{name}: got {len(args)} arguments, wanted {len(wanted)}")
    values = []
    for place, (letter, value) in enumerate(zip(wanted, args, strict=True)):
        if letter == "p":
            pointer = value.data.ptr if isinstance(value, ndarray) else value
            if not (pointer == 0 or isinstance(value, ndarray)):
                raise TypeError(f"{name}: argument {place} is {value!r}, wanted an array or 0")
            # None is no pointer in CuPy; 0 has to be 8 bytes.
            if not isinstance(value, ndarray) and not isinstance(value, np.uint64 | np.int64):
                raise TypeError(f"{name}: argument {place}: 0 as {type(value).__name__}, wanted 8 bytes")
            values.append(int(pointer).to_bytes(8, sys.byteorder))
        else:
            if type(value) not in _LETTERS[letter]:
                raise TypeError(f"{name}: argument {place} is {type(value).__name__}, wanted {letter}")
            values.append(value.tobytes())
    return values


# -- the device ------------------------------------------------------------------------------------------


class Device:
    """The one device."""

    def __init__(self, number: int = 0) -> None:
        if number >= runtime.getDeviceCount():
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        self.id = number

    compute_capability = "90"

    @property
    def mem_info(self) -> tuple[int, int]:
        total = Memory.capacity or 2**40
        return total - Memory.peak, total

    def use(self) -> None:
        pass

    def synchronize(self) -> None:
        pass

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


runtime = types.SimpleNamespace(
    getDeviceCount=lambda: 1,
    getDevice=lambda: 0,
    getDeviceProperties=lambda number: {
        "name": b"Emulated GPU", "major": 9, "minor": 0, "multiProcessorCount": 4, "totalGlobalMem": 2**40,
        "l2CacheSize": 50 * 2**20,
    },
    driverGetVersion=lambda: 13000,
    runtimeGetVersion=lambda: 13000,
    CUDARuntimeError=type("CUDARuntimeError", (RuntimeError,), {}),
)  # fmt: skip


def _alloc_pinned_memory(size: int) -> Any:
    return (ctypes.c_ubyte * size)()


def _set(array: ndarray, host: np.ndarray, stream: Stream | None = None) -> None:
    stream = stream or streams.current()
    streams.operate(stream, array._memory.uses)
    streams.copy_from_host(stream, host.ctypes.data)
    array._array[...] = host


ndarray.set = _set


def build() -> types.ModuleType:
    """Return a module that stands for `cupy`."""
    cupy = types.ModuleType("cupy")
    cupy.__version__ = "14.2.0"
    for name in FUNCTIONS:
        setattr(cupy, name, _function(name))
    for name in ("float32", "float64", "int32", "int64", "uint8", "uint64", "bool_", "newaxis", "inf", "nan"):
        setattr(cupy, name, getattr(np, name))
    cupy.ndarray, cupy.asarray, cupy.RawModule = ndarray, _asarray, RawModule
    cupy.array = lambda value, dtype=None: ndarray._copied(np.array(_unwrap(value), dtype))
    cupy.asnumpy = lambda array: array.get() if isinstance(array, ndarray) else np.asarray(array)
    cupy.empty = lambda shape, dtype=float: ndarray(shape, dtype)
    pool = MemoryPool()
    cupy.get_default_memory_pool = lambda: pool
    cublas = Cublas()
    cuda = types.ModuleType("cupy.cuda")
    cuda.cublas, cuda.runtime, cuda.Device = cublas, runtime, Device
    cuda.device = types.SimpleNamespace(get_cublas_handle=lambda: 1, Device=Device)
    cuda.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)
    cuda.compiler = types.SimpleNamespace(CompileException=CompileException)
    cuda.is_available = lambda: True
    cuda.Stream, cuda.Event = Stream, Event
    cuda.get_current_stream = streams.current
    cuda.get_elapsed_time = get_elapsed_time
    cuda.alloc_pinned_memory = _alloc_pinned_memory
    cupy.cuda = cuda
    return cupy
