"""One number in, one number out, on all threads; and the update of the weights."""

from __future__ import annotations

import numpy as np

from senumpy.engines.numba.compiler import compiled, inlined, kernel
from senumpy.engines.numba.threads import parallel_for

_index = np.uintp
BLOCK = 1 << 15  # numbers a chunk


@inlined
def _blocks(count):
    return (count + BLOCK - 1) // BLOCK


@kernel
def _relu_chunk(x, y, chunk, thread):
    zero = x.dtype.type(0)
    for k in range(chunk * BLOCK, min(x.size, (chunk + 1) * BLOCK)):
        value = x[_index(k)]
        y[_index(k)] = zero if value <= zero else value  # NaN stays


@compiled
def relu(pool, x, y):
    """y = max(x, 0)."""
    parallel_for(pool, _blocks(x.size), _relu_chunk, (x, y))


@kernel
def _relu_back_chunk(dy, y, dx, chunk, thread):
    zero = dy.dtype.type(0)
    for k in range(chunk * BLOCK, min(dy.size, (chunk + 1) * BLOCK)):
        dx[_index(k)] = dy[_index(k)] if y[_index(k)] > zero else zero


@compiled
def relu_back(pool, dy, y, dx):
    """dx = dy where y > 0."""
    parallel_for(pool, _blocks(dy.size), _relu_back_chunk, (dy, y, dx))


@kernel
def _add_chunk(a, b, y, chunk, thread):
    for k in range(chunk * BLOCK, min(a.size, (chunk + 1) * BLOCK)):
        y[_index(k)] = a[_index(k)] + b[_index(k)]


@compiled
def add(pool, a, b, y):
    """y = a + b."""
    parallel_for(pool, _blocks(a.size), _add_chunk, (a, b, y))


@kernel
def _copy_chunk(a, y, chunk, thread):
    for k in range(chunk * BLOCK, min(a.size, (chunk + 1) * BLOCK)):
        y[_index(k)] = a[_index(k)]


@compiled
def copy(pool, a, y):
    """y = a."""
    parallel_for(pool, _blocks(a.size), _copy_chunk, (a, y))


@kernel
def _times_chunk(a, factor, y, chunk, thread):
    factor = a.dtype.type(factor)
    for k in range(chunk * BLOCK, min(a.size, (chunk + 1) * BLOCK)):
        y[_index(k)] = a[_index(k)] * factor


@compiled
def times(pool, a, factor, y):
    """y = factor a."""
    parallel_for(pool, _blocks(a.size), _times_chunk, (a, factor, y))


@kernel
def _sgd_chunk(value, gradient, velocity, lr, momentum, nesterov, decay, chunk, thread):
    of = value.dtype.type
    lr, momentum, decay = of(lr), of(momentum), of(decay)
    for k in range(chunk * BLOCK, min(value.size, (chunk + 1) * BLOCK)):
        i = _index(k)
        g = gradient[i] + decay * value[i]
        v = momentum * velocity[i] + g
        velocity[i] = v
        value[i] -= lr * (g + momentum * v if nesterov else v)


@compiled
def sgd(pool, value, gradient, velocity, lr, momentum, nesterov, decay):
    """Update value and velocity in place."""
    arguments = (value, gradient, velocity, lr, momentum, nesterov, decay)
    parallel_for(pool, _blocks(value.size), _sgd_chunk, arguments)


@kernel
def _spread_chunk(v, rows, c, factor, y, chunk, thread):
    for r in range(chunk * rows, (chunk + 1) * rows):
        for k in range(c):
            y[_index(r * c + k)] = v[_index(chunk * c + k)] * v.dtype.type(factor)


@compiled
def spread(pool, v, images, rows, c, factor, y):
    """y = factor v at every pixel, v (images, C)."""
    parallel_for(pool, images, _spread_chunk, (v, rows, c, factor, y))
