"""The engine's convolution, and convolution with batch norm and ReLU in one go."""

from __future__ import annotations

from typing import Any

import cupy as cp

from senumpy.engines.base import Engine
from senumpy.engines.caches import ConvCache, InferenceCache, UnitCache
from senumpy.engines.cupy import convolution, norm, passes
from senumpy.engines.cupy.convolution import Convolution
from senumpy.engines.cupy.runtime import REAL, Runtime, as_image, in_order
from senumpy.engines.cupy.sources import Build
from senumpy.ops.arrays import Array, check_upstream
from senumpy.ops.batchnorm import check_batch_arguments, check_norm_arguments
from senumpy.ops.conv2d import Conv2dGradients, check_conv_arguments
from senumpy.ops.conv_bn_relu import ConvBNReLUGradients, ConvBNReLUInferenceGradients


class ConvOps(Engine):
    """Convolution and its unit."""

    runtime: Runtime

    def conv2d_forward(self, x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
        """See `senumpy.ops.conv2d_forward`."""
        window, out = check_conv_arguments(x, w, b, stride, padding, dilation, groups)
        if x.dtype not in REAL:  # complex steps
            return Engine.conv2d_forward(
                x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups
            )
        conv = convolution.plan(self.runtime, x, w, window, groups, out)
        rows = self.runtime.rows(x)
        y = convolution.forward(self.runtime, rows, w, conv)
        if b is not None:
            self.finish(y, conv.shape, bias=in_order(b))
        return as_image(y, conv.shape), ConvCache(rows, w, conv, b is not None)

    def conv2d_backward(self, dy, cache, *, need_dx=True):
        """See `senumpy.ops.conv2d_backward`."""
        if not isinstance(cache, ConvCache):
            return Engine.conv2d_backward(dy, cache, need_dx=need_dx)
        check_upstream(dy, cache.conv.shape, cache.x.dtype)
        rows = self.runtime.rows(dy)
        dx, dw = self._conv_gradients(rows, cache, need_dx)
        db = passes.channel_sums(self.runtime, rows, cache.conv.shape) if cache.has_bias else None
        return Conv2dGradients(dx, dw, db)

    def finish(
        self, rows: Array, shape: Any, *, bias: Array | None = None, s: Array | None = None,
        addend: Array | None = None, relu: bool = False,
    ) -> None:  # fmt: skip
        """Set rows to relu(s (rows + bias) + addend), in place; each part may be left out."""
        p = passes.plan(self.runtime, shape, rows.dtype)
        build = Build("elementwise", rows.dtype.name, p.width)
        self.runtime.launch(
            build, "rescale", p.grid, p.block, rows, *p.sizes, bias, s, None, addend, relu, rows
        )

    def _conv_gradients(self, dy: Array, cache: ConvCache, need_dx: bool) -> tuple[Array | None, Array]:
        """Return dx (N, C, H, W) and dw for rows of dy."""
        conv = cache.conv
        dx = None
        if need_dx:
            rows = convolution.backward_input(self.runtime, dy, cache.w, conv)
            dx = as_image(rows, (conv.n, conv.c, conv.h, conv.w))
        return dx, convolution.backward_weights(self.runtime, cache.x, dy, conv)

    def conv_bn_relu_forward(self, x, w, gamma, beta, *, eps=1e-5, stride=1, padding=0, dilation=1, groups=1):
        """See `senumpy.ops.conv_bn_relu_forward`."""
        c, cache = self.conv2d_forward(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
        check_batch_arguments(c, gamma, beta, eps)
        if not isinstance(cache, ConvCache):
            return Engine.conv_bn_relu_forward(
                x, w, gamma, beta, eps=eps, stride=stride, padding=padding, dilation=dilation, groups=groups
            )
        rows = self.runtime.rows(c)
        normed = norm.of_batch(self.runtime, rows, c.shape, in_order(gamma), in_order(beta), eps)
        y = norm.transform(self.runtime, normed, relu=True)
        return as_image(y, c.shape), UnitCache(cache, normed)

    def conv_bn_relu_backward(self, dy, cache, *, need_dx=True):
        """See `senumpy.ops.conv_bn_relu_backward`."""
        if not isinstance(cache, UnitCache):
            return Engine.conv_bn_relu_backward(dy, cache, need_dx=need_dx)
        check_upstream(dy, cache.norm.shape, cache.norm.x.dtype)
        rows = self.runtime.rows(dy)
        found = norm.gradients(self.runtime, rows, cache.norm, norm.BY_AFFINE)
        dc, _ = norm.pass_back(self.runtime, rows, cache.norm, found, norm.BY_AFFINE)
        dx, dw = self._conv_gradients(dc, cache.conv, need_dx)
        return ConvBNReLUGradients(dx, dw, found.dgamma, found.dbeta)

    def conv_bn_relu_inference_forward(
        self, x, w, gamma, beta, mean, var, *, eps=1e-5, stride=1, padding=0, dilation=1, groups=1
    ):
        """See `senumpy.ops.conv_bn_relu_inference_forward`; batch norm is folded into the kernels."""
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        if not self.foldable(x, var, eps):
            return Engine.conv_bn_relu_inference_forward(x, w, gamma, beta, mean, var, eps=eps, **settings)
        y, conv = self.folded(x, w, (gamma, beta, mean, var), eps, relu=True, **settings)
        cache = ConvCache(self.runtime.rows(x), w, conv, False)
        return as_image(y, conv.shape), InferenceCache(cache, (gamma, beta, mean, var), eps)

    def conv_bn_relu_inference_backward(self, dy, cache, *, need_dx=True):
        """See `senumpy.ops.conv_bn_relu_inference_backward`; convolves again, for batch norm's gradient."""
        if not isinstance(cache, InferenceCache):
            return Engine.conv_bn_relu_inference_backward(dy, cache, need_dx=need_dx)
        conv = cache.conv.conv
        check_upstream(dy, conv.shape, cache.conv.x.dtype)
        c = convolution.forward(self.runtime, cache.conv.x, cache.conv.w, conv)
        normed = norm.of_given(self.runtime, c, conv.shape, tuple(map(in_order, cache.vectors)), cache.eps)
        rows = self.runtime.rows(dy)
        found = norm.gradients(self.runtime, rows, normed, norm.BY_AFFINE)
        dc, _ = norm.pass_back(self.runtime, rows, normed, found, norm.BY_AFFINE)
        dx, dw = self._conv_gradients(dc, cache.conv, need_dx)
        return ConvBNReLUInferenceGradients(dx, dw, *norm.given_gradients(normed, found))

    def conv_bn_inference(  # type: ignore[override]
        self, x, w, gamma, beta, mean, var, *, eps=1e-5, stride=1, padding=0, dilation=1, groups=1
    ):
        """See `Engine.conv_bn_inference`."""
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        if not self.foldable(x, var, eps):
            return Engine.conv_bn_inference(self, x, w, gamma, beta, mean, var, eps=eps, **settings)
        y, conv = self.folded(x, w, (gamma, beta, mean, var), eps, relu=False, **settings)
        return as_image(y, conv.shape)

    def foldable(self, x: Any, var: Any, eps: float) -> bool:
        """Return whether batch norm can become part of the convolution: a variance below -eps has no root."""
        if getattr(x, "dtype", None) not in REAL or getattr(var, "dtype", None) not in REAL:
            return False
        return bool(self.runtime.remember(("root", eps), (var,), lambda: bool((var + eps > 0).all())))

    def folded(
        self, x: Array, w: Array, vectors: tuple[Array, ...], eps: float, *, relu: bool, stride: Any,
        padding: Any, dilation: Any, groups: int,
    ) -> tuple[Array, Convolution]:  # fmt: skip
        """Return rows of relu(BN(conv2d(x, w))) with given statistics, in the passes of a convolution."""
        window, out = check_conv_arguments(x, w, None, stride, padding, dilation, groups)
        conv = convolution.plan(self.runtime, x, w, window, groups, out)
        kernels, bias = self.fold(w, vectors, eps)
        y = convolution.forward(self.runtime, self.runtime.rows(x), kernels, conv)
        self.finish(y, conv.shape, bias=bias, relu=relu)
        return y, conv

    def fold(self, w: Array, vectors: tuple[Array, ...], eps: float) -> tuple[Array, Array]:
        """Return kernels and bias of the convolution that does batch norm, too."""

        def make() -> tuple[Array, Array]:
            gamma, beta, mean, var = vectors
            check_norm_arguments(
                cp.empty((1, w.shape[0], 1, 1), w.dtype), eps, gamma=gamma, beta=beta, mean=mean, var=var
            )
            scale = gamma.astype("float64") / cp.sqrt(var.astype("float64") + eps)
            kernels = (w * scale.reshape(-1, 1, 1, 1)).astype(w.dtype)
            return kernels, (beta - mean * scale).astype(w.dtype)

        return self.runtime.remember(("fold", eps), (w, *vectors), make)
