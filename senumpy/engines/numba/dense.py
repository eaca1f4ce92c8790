"""Linear layers and SE's excitation, on the products of `direct.py`: a linear layer is a 1x1 convolution."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from senumpy.engines.numba import convolution, excite
from senumpy.engines.numba.geometry import Array, Geometry
from senumpy.engines.numba.runtime import NOTHING, Runtime, flat
from senumpy.ops.excitation import ExcitationGradients


def product(n: int, inputs: int, outputs: int) -> convolution.Convolution:
    """Return (n, inputs) times (inputs, outputs) as a convolution of n images with one pixel."""
    g = Geometry(n, 1, 1, inputs, 1, 1, outputs, kh=1, kw=1, stride_h=1, stride_w=1, pad_h=0, pad_w=0,
                 dilation_h=1, dilation_w=1)  # fmt: skip
    return convolution.Convolution(g, 1, "direct")


def linear(runtime: Runtime, x: Array, w: Array, b: Array | None) -> Array:
    """Return x W^T + b, flat, for flat x."""
    o, i = w.shape
    nothing = NOTHING[x.dtype]
    epilogue = convolution.Epilogue(nothing if b is None else flat(b), nothing, nothing, False)
    return convolution.forward(runtime, x, w, product(x.size // i, i, o), epilogue)


def linear_gradients(
    runtime: Runtime, dy: Array, x: Array, w: Array, has_bias: bool
) -> tuple[Array, Array, Array | None]:
    """Return dx (flat), dw and db for flat dy and x."""
    o, i = w.shape
    conv = product(x.size // i, i, o)
    dx = convolution.backward_input(runtime, dy, w, conv, x.dtype)
    dw = convolution.backward_weights(runtime, x, dy, w, conv)
    db = dy.reshape(-1, o).sum(axis=0, dtype=np.float64).astype(dy.dtype) if has_bias else None
    return dx, dw, db


class Excitation(NamedTuple):
    """What the gradient of the excitation needs."""

    z: Array  # (N, C)
    w1: Array
    b1: Array | None
    w2: Array
    b2: Array | None
    gate: str
    hidden: Array  # (N, h), after the ReLU
    s: Array  # (N, C)


def excitation(
    runtime: Runtime, z: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None, gate: str
) -> Excitation:
    """Compute the gates (N, C) for z (N, C), or for what w1 (h, I) takes instead, (N, I)."""
    n, (h, inputs), c = len(z), w1.shape, len(w2)
    nothing = NOTHING[z.dtype]
    hidden, s = np.empty((n, h), z.dtype), np.empty((n, c), z.dtype)
    runtime.run(
        excite.excite, flat(z), n, inputs, flat(w1), nothing if b1 is None else flat(b1), h, flat(w2),
        nothing if b2 is None else flat(b2), c, excite.GATES[gate], hidden.reshape(-1), s.reshape(-1),
    )  # fmt: skip
    return Excitation(z, w1, b1, w2, b2, gate, hidden, s)


def excitation_gradients(runtime: Runtime, ds: Array, e: Excitation) -> ExcitationGradients:
    """Return the gradients for ds (N, C)."""
    (n, c), h, dtype = e.z.shape, e.w1.shape[0], e.z.dtype
    dlogits, dhidden, dz = np.empty(n * c, dtype), np.empty(n * h, dtype), np.empty((n, c), dtype)
    dw1, db1, dw2, db2 = (np.empty(shape, dtype) for shape in ((h, c), h, (c, h), c))
    runtime.run(
        excite.excite_back, flat(ds), flat(e.s), flat(e.z), n, c, excite.GATES[e.gate], flat(e.hidden), h,
        flat(e.w1), flat(e.w2), dlogits, dhidden, dz.reshape(-1), dw1.reshape(-1), db1, dw2.reshape(-1), db2,
    )  # fmt: skip
    return ExcitationGradients(dz, dw1, None if e.b1 is None else db1, dw2, None if e.b2 is None else db2)
