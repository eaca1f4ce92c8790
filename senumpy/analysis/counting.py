"""An engine that counts instead of computing: shapes go in and come out, multiply-adds are noted on the way.

A model runs on it as on any engine, so that what is counted is what would be executed. Its arrays are zeros
without memory (all strides are 0).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from senumpy.engines.shapes import ShapeEngine, shape_array
from senumpy.ops.arrays import Array
from senumpy.ops.windows import Window, output_size, pair, pool_window


class Count(NamedTuple):
    """One operation of a forward pass on one image."""

    kind: str
    weights: tuple[Array, ...]  # the parameters that it used
    output: tuple[int, ...]  # without the batch axis
    multiply_adds: int


class CountingEngine(ShapeEngine):
    """Forward passes in inference mode; `counts` lists what was executed.

    Multiply-adds follow the paper: convolutions and linear layers count; batch norm, ReLU, pooling and
    addition don't (batch norm folds into its convolution). SE's scale is one multiplication an entry.
    """

    name = "counting"

    def __init__(self) -> None:
        self.counts: list[Count] = []

    def _note(self, kind: str, weights: Any, shape: tuple[int, ...], multiply_adds: int = 0) -> Array:
        present = tuple(w for w in weights if w is not None)
        self.counts.append(Count(kind, present, shape[1:], multiply_adds * shape[0]))
        return shape_array(*shape)

    def conv2d_forward(  # type: ignore[override]
        self, x: Array, w: Array, b: Any = None, *, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> tuple[Array, None]:
        """Count H' W' O (C/groups) kh kw multiply-adds an image."""
        kernel = (w.shape[2], w.shape[3])
        window = Window(
            kernel, pair("stride", stride, 1), pair("padding", padding, 0), pair("dilation", dilation, 1)
        )
        out = output_size(x.shape[2:], window)
        kind = f"conv {kernel[0]}x{kernel[1]}" + (f"/{window.stride[0]}" if window.stride[0] > 1 else "")
        y = self._note(kind, (w, b), (x.shape[0], w.shape[0], *out), math.prod(out) * w.size)
        return y, None

    def batchnorm2d_inference_forward(  # type: ignore[override]
        self, x: Array, gamma: Array, beta: Array, *statistics: Array, eps: float
    ) -> tuple[Array, None]:
        """Count nothing: it folds into the convolution before."""
        return self._note("batch norm", (gamma, beta), x.shape), None

    def squeeze_excite_forward(  # type: ignore[override]
        self, u: Array, w1: Array, b1: Any, w2: Array, b2: Any, **settings: str
    ) -> tuple[Array, None]:
        """Count two linear layers, and one multiplication an entry for the scale."""
        n = u.shape[0]
        self._note("SE fc1", (w1, b1), (n, w1.shape[0]), w1.size)
        self._note("SE fc2", (w2, b2), (n, w2.shape[0]), w2.size)
        return self.scale_forward(u, u)

    def scale_forward(self, u: Array, s: Array) -> tuple[Array, None]:  # type: ignore[override]
        """Count one multiplication an entry."""
        return self._note("SE scale", (), u.shape, math.prod(u.shape[1:])), None

    # What doesn't count gives shapes alone, too: at large sizes its numbers would fill the memory.

    def relu_forward(self, x: Array) -> tuple[Array, None]:  # type: ignore[override]
        """Count nothing."""
        return shape_array(*x.shape), None

    def residual_add_forward(self, branch: Array, shortcut: Array) -> Any:
        """Count nothing, as the paper."""
        return shape_array(*branch.shape), None

    def times(self, x: Array, factor: float) -> Array:
        """Count nothing, as the paper."""
        return shape_array(*x.shape)

    def concat_forward(self, xs: Any, *, axis: int = 1) -> Any:
        """Count nothing."""
        shape = list(xs[0].shape)
        shape[axis] = sum(x.shape[axis] for x in xs)
        return shape_array(*shape), None

    def channel_shuffle_forward(self, x: Array, *, groups: int) -> Any:
        """Count nothing."""
        return shape_array(*x.shape), None

    def shake_forward(self, a: Array, b: Array, **mixtures: Any) -> Any:
        """Count nothing."""
        return shape_array(*a.shape), None

    def max_pool2d_forward(
        self, x: Array, *, kernel: Any, stride: Any = None, padding: Any = 0, ceil_mode: bool = False
    ) -> Any:
        """Count nothing."""
        _, out = pool_window(x, kernel, stride, padding, ceil_mode)
        return shape_array(*x.shape[:2], *out), None

    def avg_pool2d_forward(self, x: Array, *, count_include_pad: bool = True, **settings: Any) -> Any:
        """Count nothing."""
        return self.max_pool2d_forward(x, **settings)

    def linear_forward(  # type: ignore[override]
        self, x: Array, w: Array, b: Any = None
    ) -> tuple[Array, None]:
        """Count O I multiply-adds an image."""
        return self._note("linear", (w, b), (x.shape[0], w.shape[0]), w.size), None
