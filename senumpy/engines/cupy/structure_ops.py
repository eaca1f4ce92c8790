"""The engine's concatenation and CIFAR's shortcut: as `senumpy.ops` has them, but in channels-last memory."""

from __future__ import annotations

import cupy as cp

from senumpy.engines.base import Engine
from senumpy.engines.cupy.other_ops import OtherOps
from senumpy.ops.arrays import check_upstream
from senumpy.ops.concat import ConcatCache, ConcatGradients, check_parts
from senumpy.ops.shortcut import PadShortcutCache, PadShortcutGradients, shortcut_arguments


class StructureOps(OtherOps):
    """Operations that move channels."""

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

    def pad_shortcut_forward(self, x, *, channels, stride=2):
        """See `senumpy.ops.pad_shortcut_forward`."""
        sh, sw, before, shape = shortcut_arguments(x, channels, stride)
        n, c, h, w = shape
        y = cp.zeros((n, h, w, c), x.dtype)
        y[..., before : before + x.shape[1]] = x.transpose(0, 2, 3, 1)[:, ::sh, ::sw]
        return y.transpose(0, 3, 1, 2), PadShortcutCache(x.shape, shape, x.dtype, (sh, sw))

    def pad_shortcut_backward(self, dy, cache):
        """See `senumpy.ops.pad_shortcut_backward`."""
        check_upstream(dy, cache.out_shape, cache.dtype)
        n, c, h, w = cache.shape
        sh, sw = cache.stride
        before = (cache.out_shape[1] - c) // 2
        dx = cp.zeros((n, h, w, c), dy.dtype)
        dx[:, ::sh, ::sw] = dy.transpose(0, 2, 3, 1)[..., before : before + c]
        return PadShortcutGradients(dx.transpose(0, 3, 1, 2))
