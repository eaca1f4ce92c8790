"""Compile the kernels of the gradients in a process of its own, while a first training step goes forward.

Numba compiles one function at a time in a process, and the first step of a training with an empty cache is
half forward, half gradients. What this process compiles, the other finds in the cache when it gets there.
"""

from __future__ import annotations

import atexit
import subprocess
import sys

import numpy as np

from senumpy.engines.cores import default_threads
from senumpy.engines.numba import convolution, direct, norm
from senumpy.engines.numba.compiler import cache_is_kept
from senumpy.engines.numba.convolution import Convolution
from senumpy.engines.numba.dense import Excitation, excitation_gradients
from senumpy.engines.numba.geometry import Array
from senumpy.engines.numba.norm import Norm
from senumpy.engines.numba.runtime import Runtime
from senumpy.ops.conv2d import check_conv_arguments

_N, _C, _SIDE = 2, 16, 4  # images, channels, height and width: small, the code is the same for all sizes
_PROGRAM = f"from {__name__} import compile_gradients; compile_gradients()"


def start() -> None:
    """Begin, if there is a cache to share and a core to spare; it ends with this process."""
    if cache_is_kept() and default_threads() > 1:
        quiet = subprocess.DEVNULL
        process = subprocess.Popen([sys.executable, "-c", _PROGRAM], stdin=quiet, stdout=quiet, stderr=quiet)
        atexit.register(process.kill)


def compile_gradients() -> None:
    """Run what only a backward pass needs, for float32, in the order in which a training step comes to it."""
    runtime = Runtime(threads=1, exact=False)
    x = _ones(_N, _SIDE, _SIDE, _C).transpose(0, 3, 1, 2)
    rows = runtime.rows(x)
    plain, strided = _convolution(runtime, x, 1, 1), _convolution(runtime, x, 3, 2)
    convolution.backward_weights(runtime, rows, rows, _ones(_C, _C, 1, 1), plain)
    vector, doubles = _ones(_C), np.ones(_C)
    normed = Norm(rows, x.shape, vector, vector, np.zeros((_N, _C)), vector, doubles, vector, vector)
    norm.gradients(runtime, rows, normed, relu=True)
    dy = _ones(strided.g.out_rows * _C)
    convolution.backward_input(runtime, dy, _ones(_C, _C, 3, 3), strided, x.dtype)
    runtime.run(direct.scatter, dy, strided.g, rows)
    gates, hidden = _ones(_N, _C), _ones(_N, 1)
    excited = Excitation(gates, _ones(1, _C), None, _ones(_C, 1), None, "sigmoid", hidden, gates)
    excitation_gradients(runtime, gates, excited)


def _convolution(runtime: Runtime, x: Array, kernel: int, stride: int) -> Convolution:
    w = _ones(_C, _C, kernel, kernel)
    window, out = check_conv_arguments(x, w, None, stride, kernel // 2, 1, 1)
    return convolution.plan(runtime, x, w, window, 1, out)


def _ones(*shape: int) -> Array:
    return np.ones(shape, np.float32)
