"""The GPU: which one, what it is, and what to say when there is none."""

from __future__ import annotations

from typing import Any, NamedTuple

import cupy as cp

from senumpy.errors import InputError

OutOfMemory: Any = cp.cuda.memory.OutOfMemoryError


class Properties(NamedTuple):
    """What is known of a device."""

    number: int
    name: str
    capability: int  # 90 is compute capability 9.0
    multiprocessors: int
    memory: int  # bytes

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
        No such device (the message lists those there are), one without memory to start in, or no cuBLAS.
    """
    count = count_devices()
    if type(number) is not int or not 0 <= number < count:
        known = "; ".join(f"{k}: {properties(k).name}" for k in range(count))
        raise InputError(f"device: got {number!r}, wanted one of {known}")
    try:
        cp.cuda.Device(number).use()
        cp.empty(1, "float32")  # makes the context, which takes some hundred MB
        _ = cp.cuda.cublas  # loaded here, so that its absence is known before any work
    except ImportError as error:
        raise InputError(
            f"engine 'cupy': CUDA's cuBLAS is not found ({_reason(error)[:200]}); install it: "
            "pip install 'senumpy[gpu-cuda12]' (or gpu-cuda13)"
        ) from None
    except (cp.cuda.runtime.CUDARuntimeError, OutOfMemory) as error:
        raise InputError(
            f"engine 'cupy': device {number} ({properties(number).name}) gives no memory ({_reason(error)}); "
            "free it of other programs (nvidia-smi lists them), or choose another device"
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
    )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
