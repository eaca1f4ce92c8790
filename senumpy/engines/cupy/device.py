"""The GPU: which one, what it is, and what to say when there is none."""

from __future__ import annotations

from typing import Any, NamedTuple, NoReturn

import cupy as cp

from senumpy.errors import InputError

OutOfMemory: Any = cp.cuda.memory.OutOfMemoryError


_MEMORY = ("OUT_OF_MEMORY", "ALLOC_FAILED", "cudaErrorMemoryAllocation")  # in the libraries' messages


class Properties(NamedTuple):
    """What is known of a device."""

    number: int
    name: str
    capability: int  # 90 is compute capability 9.0
    multiprocessors: int
    memory: int  # bytes
    cache: int  # bytes of L2

    @property
    def architecture(self) -> str:
        """The capability as the compiler names it, "sm_90"."""
        return f"sm_{self.capability}"


def count_devices() -> int:
    """Return how many GPUs the driver shows.

    Raises
    ------
    InputError
        There is no driver, it is too old for this CuPy, or it shows no GPU.
    """
    try:
        count: int = cp.cuda.runtime.getDeviceCount()
    except cp.cuda.runtime.CUDARuntimeError as error:
        raise InputError(
            f"engine 'cupy': CuPy {cp.__version__} finds no usable GPU ({_reason(error)}). It needs one of "
            "NVIDIA and a driver for its version of CUDA; elsewhere use the engine 'numba' or 'numpy'"
        ) from None
    if count == 0:
        raise InputError("engine 'cupy': the driver shows no GPU; is CUDA_VISIBLE_DEVICES empty?")
    return count


def select(number: int) -> Properties:
    """Make a device the current one and return its properties.

    Raises
    ------
    InputError
        No such device (the message lists those there are), no memory to start in, or no libraries of CUDA.
    """
    count = count_devices()
    if type(number) is not int or not 0 <= number < count:
        known = "; ".join(f"{k}: {properties(k).name}" for k in range(count))
        raise InputError(f"device: got {number!r}, wanted one of {known}")
    try:
        cp.cuda.Device(number).use()
        array = cp.empty(1, "float32")  # makes the context, which takes some hundred MB
        array += 1.0  # a kernel of CuPy's, compiled by NVRTC with CUDA's headers
        _ = cp.cuda.device.get_cublas_handle(), cp.cuda.cublas
    except (ImportError, RuntimeError, OutOfMemory) as error:
        name, reason = properties(number).name, _reason(error)[:200]
        if isinstance(error, OutOfMemory) or is_out_of_memory(error):
            raise InputError(
                f"engine 'cupy': device {number} ({name}) gives no memory ({reason}); free it of other "
                "programs (nvidia-smi lists them), or choose another device"
            ) from None
        raise InputError(
            f"engine 'cupy': CuPy can't work on device {number} ({name}): {reason}. If libraries of CUDA are "
            "missing, install them: pip install 'senumpy[gpu-cuda12]' (or gpu-cuda13)"
        ) from None
    return properties(number)


def properties(number: int) -> Properties:
    """Return what a device is."""
    found = cp.cuda.runtime.getDeviceProperties(number)
    return Properties(
        number,
        found["name"].decode(),
        10 * found["major"] + found["minor"],
        found["multiProcessorCount"],
        found["totalGlobalMem"],
        found["l2CacheSize"],
    )


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error of the driver or cuBLAS says that the device's memory is full."""
    return any(word in str(error) for word in _MEMORY)


def raise_again(error: Exception) -> NoReturn:
    """Raise the error, as a MemoryError where the driver or cuBLAS says that the device's memory is full."""
    if is_out_of_memory(error):
        raise MemoryError(_reason(error)) from error
    raise error


def check_current(found: Properties) -> None:
    """Raise unless this thread computes on the engine's device: CuPy keeps one current device a thread."""
    current = cp.cuda.runtime.getDevice()
    if current != found.number:
        raise InputError(
            f"engine 'cupy' of device {found.number}: this thread computes on device {current}; "
            f"call cupy.cuda.Device({found.number}).use() in it before, and use one device a thread"
        )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
