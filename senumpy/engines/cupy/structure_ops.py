"""The engine's concatenation: as `senumpy.ops` has it, but in channels-last memory."""

from __future__ import annotations

import cupy as cp

from senumpy.engines.base import Engine
from senumpy.engines.cupy.other_ops import OtherOps
from senumpy.ops.arrays import check_upstream
from senumpy.ops.concat import ConcatCache, ConcatGradients, check_parts


class StructureOps(OtherOps):
    """Concatenation of channels."""

    def concat_forward(self, xs, *, axis=1):
        """See `senumpy.ops.concat_forward`."""
        axis = check_parts(xs, axis)
        if xs[0].ndim != 4 or axis != 1:
            return Engine.concat_forward(xs, axis=axis)
        y = cp.concat([x.transpose(0, 2, 3, 1) for x in xs], axis=3)
        return y.transpose(0, 3, 1, 2), ConcatCache(tuple(x.shape for x in xs), axis, y.dtype)

    def concat_backward(self, dy, cache):
        """See `senumpy.ops.concat_backward`."""
        shapes, axis, dtype = cache
        if len(shapes[0]) != 4 or axis != 1:
            return Engine.concat_backward(dy, cache)
        n, _, h, w = shapes[0]
        channels = [shape[1] for shape in shapes]
        check_upstream(dy, (n, sum(channels), h, w), dtype)
        ends = [sum(channels[: k + 1]) for k in range(len(channels))]
        return ConcatGradients(
            tuple(self.copied(dy[:, end - c : end]) for c, end in zip(channels, ends, strict=True))
        )
