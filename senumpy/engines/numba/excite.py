"""SE's two small matrices in one call: s = gate(W2 relu(W1 z + b1) + b2), for all images.

Small as they are, a library's matrix product would wake its own threads for them, and these would then stand
in the way of ours.
"""

from __future__ import annotations

import math

import numpy as np

from senumpy.engines.numba.compiler import compiled, kernel
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp
GATES = {"sigmoid": 0, "tanh": 1, "relu": 2}
_BLOCK = 32  # rows of a matrix a chunk


@kernel
def _dot(a, a0, b, b0, count):
    total = a[_index(a0)] * b[_index(b0)]
    for k in range(1, count):
        total += a[_index(a0 + k)] * b[_index(b0 + k)]
    return total


@kernel
def _hidden_chunk(z, images, c, w, b, h, result, chunk, thread):
    for j in range(chunk * _BLOCK, min(h, (chunk + 1) * _BLOCK)):
        for n in range(images):
            value = _dot(z, n * c, w, j * c, c)
            if b.size:
                value += b[j]
            result[n * h + j] = z.dtype.type(0) if value <= 0 else value


@kernel
def _gate_chunk(hidden, images, h, w, b, c, gate, result, chunk, thread):
    for k in range(chunk * _BLOCK, min(c, (chunk + 1) * _BLOCK)):
        for n in range(images):
            value = _dot(hidden, n * h, w, k * h, h)
            if b.size:
                value += b[k]
            if gate == 0:
                decay = math.exp(-abs(value))
                value = (1 if value >= 0 else decay) / (1 + decay)
            elif gate == 1:
                value = math.tanh(value)
            elif value <= 0:
                value = 0
            result[n * c + k] = value


@compiled
def excite(pool, z, images, c, w1, b1, h, w2, b2, gate, hidden, s):
    """Compute hidden (images, h) and s (images, C) from z (images, C)."""
    parallel_for(pool, (h + _BLOCK - 1) // _BLOCK, _hidden_chunk, (z, images, c, w1, b1, h, hidden))
    parallel_for(pool, (c + _BLOCK - 1) // _BLOCK, _gate_chunk, (hidden, images, h, w2, b2, c, gate, s))
