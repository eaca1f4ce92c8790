"""SE's two small matrices in one call each way: s = gate(W2 relu(W1 z + b1) + b2), for all images.

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
def excite(pool, z, images, inputs, w1, b1, h, w2, b2, c, gate, hidden, s):
    """Compute hidden (images, h) and s (images, C) from z (images, inputs)."""
    parallel_for(pool, (h + _BLOCK - 1) // _BLOCK, _hidden_chunk, (z, images, inputs, w1, b1, h, hidden))
    parallel_for(pool, (c + _BLOCK - 1) // _BLOCK, _gate_chunk, (hidden, images, h, w2, b2, c, gate, s))


@kernel
def _add_multiple(factor, a, a0, b, b0, count):
    """b += factor a."""
    for k in range(count):
        b[_index(b0 + k)] += factor * a[_index(a0 + k)]


@kernel
def _back_chunk(ds, s, c, gate, hidden, h, w1, w2, dlogits, dhidden, dz, chunk, thread):
    """Go back through both matrices for one image."""
    one, zero = s.dtype.type(1), s.dtype.type(0)
    for j in range(h):
        dhidden[_index(chunk * h + j)] = zero
    for k in range(c):
        at = chunk * c + k
        slope = s[at] * (one - s[at])
        if gate == 1:
            slope = one - s[at] * s[at]
        elif gate == 2:
            slope = one if s[at] > zero else zero
        dlogits[at] = ds[at] * slope
        dz[_index(at)] = zero
        _add_multiple(dlogits[at], w2, k * h, dhidden, chunk * h, h)
    for j in range(h):
        at = chunk * h + j
        dhidden[at] *= one if hidden[at] > zero else zero
        _add_multiple(dhidden[at], w1, j * c, dz, chunk * c, c)


@kernel
def _matrix_chunk(dy, x, images, rows, columns, dw, db, chunk, thread):
    """dw = dy^T x and db = sum of dy, for some of the rows."""
    for row in range(chunk * _BLOCK, min(rows, (chunk + 1) * _BLOCK)):
        total = dy.dtype.type(0)
        for k in range(columns):
            dw[_index(row * columns + k)] = 0
        for n in range(images):
            value = dy[n * rows + row]
            total += value
            _add_multiple(value, x, n * columns, dw, row * columns, columns)
        db[row] = total


@compiled
def excite_back(pool, ds, s, z, images, c, gate, hidden, h, w1, w2, dlogits, dhidden, dz, dw1, db1, dw2, db2):
    """Compute all gradients of `excite`; dlogits and dhidden are scratch."""
    arguments = (ds, s, c, gate, hidden, h, w1, w2, dlogits, dhidden, dz)
    parallel_for(pool, images, _back_chunk, arguments)
    blocks_c, blocks_h = (c + _BLOCK - 1) // _BLOCK, (h + _BLOCK - 1) // _BLOCK
    parallel_for(pool, blocks_c, _matrix_chunk, (dlogits, hidden, images, c, h, dw2, db2))
    parallel_for(pool, blocks_h, _matrix_chunk, (dhidden, z, images, h, c, dw1, db1))
