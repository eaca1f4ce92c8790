"""The engine's convolution, and convolution with batch norm and ReLU in one go."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.engines.base import Engine
from senumpy.engines.caches import ConvCache, InferenceCache, UnitCache
from senumpy.engines.numba import convolution, norm, small_groups
from senumpy.engines.numba.convolution import Convolution, Epilogue, no_epilogue
from senumpy.engines.numba.geometry import Array, Geometry, as_image
from senumpy.engines.numba.runtime import NOTHING, Runtime, flat
from senumpy.engines.numba.tail import image_means
from senumpy.ops.arrays import check_array, check_upstream
from senumpy.ops.batchnorm import check_batch_arguments, check_norm_arguments
from senumpy.ops.conv2d import Conv2dGradients, check_conv_arguments
from senumpy.ops.conv_bn_relu import ConvBNReLUGradients, ConvBNReLUInferenceGradients


def kind(x: Any) -> tuple[Any, Any]:
    """Return shape and dtype of what may turn out to be no array."""
    return getattr(x, "shape", None), getattr(x, "dtype", None)


def shape_of(conv: Convolution) -> tuple[int, int, int, int]:
    """Return the shape of the result, (N, O, H', W')."""
    g = conv.g
    return g.n, g.o, g.out_h, g.out_w


def fold(
    runtime: Runtime, w: Array, gamma: Array, beta: Array, mean: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """Return kernels and bias of the convolution that does batch norm, too."""

    def make() -> tuple[Array, Array]:
        scale = gamma / np.sqrt(var.astype(np.float64) + eps)
        kernels = (w * scale[:, None, None, None]).astype(w.dtype)
        # What is made of them may be remembered as long as they are.
        kernels.flags.writeable = not runtime.is_frozen(w, gamma, beta, mean, var)
        return kernels, (beta - mean * scale).astype(w.dtype)

    return runtime.remember(("fold", eps), (w, gamma, beta, mean, var), make)


class ConvOps(Engine):
    """Convolution and its unit."""

    runtime: Runtime

    def conv2d_forward(self, x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
        """See `senumpy.ops.conv2d_forward`."""
        window, out = check_conv_arguments(x, w, b, stride, padding, dilation, groups)
        if x.dtype not in NOTHING:  # complex steps
            return Engine.conv2d_forward(
                x, w, b, stride=stride, padding=padding, dilation=dilation, groups=groups
            )
        conv = convolution.plan(self.runtime, x, w, window, groups, out)
        rows = self.runtime.rows(x)
        nothing = NOTHING[x.dtype]
        epilogue = Epilogue(nothing if b is None else flat(b), nothing, nothing, False)
        y = convolution.forward(self.runtime, rows, w, conv, epilogue)
        n, o, h, width = shape_of(conv)
        return as_image(y, n, o, h, width), ConvCache(rows, w, conv, b is not None)

    def conv2d_backward(self, dy, cache, *, need_dx=True):
        """See `senumpy.ops.conv2d_backward`."""
        if not isinstance(cache, ConvCache):
            return Engine.conv2d_backward(dy, cache, need_dx=need_dx)
        check_upstream(dy, shape_of(cache.conv), cache.x.dtype)
        rows = self.runtime.rows(dy)
        dx, dw = self._conv_gradients(rows, cache, need_dx)
        return Conv2dGradients(dx, dw, self._bias_gradient(rows, cache.conv.g) if cache.has_bias else None)

    def _bias_gradient(self, dy: Array, g: Geometry) -> Array:
        """Return the sum of dy over all pixels: by lines, and these in float64, so that little is lost."""
        lines = image_means(self.runtime, dy, g.n * g.out_h, g.out_w, g.o)
        total: Array = lines.sum(axis=0, dtype=np.float64) * g.out_w
        return total.astype(dy.dtype)

    def _conv_gradients(self, dy: Array, cache: ConvCache, need_dx: bool) -> tuple[Array | None, Array]:
        """Return dx (N, C, H, W) and dw for rows of dy."""
        g = cache.conv.g
        dx = None
        if need_dx:
            rows = convolution.backward_input(self.runtime, dy, cache.w, cache.conv, cache.x.dtype)
            dx = as_image(rows, g.n, g.c, g.h, g.w)
        return dx, convolution.backward_weights(self.runtime, cache.x, dy, cache.w, cache.conv)

    def conv_bn_relu_forward(self, x, w, gamma, beta, *, eps=1e-5, stride=1, padding=0, dilation=1, groups=1):
        """See `senumpy.ops.conv_bn_relu_forward`."""
        c, cache = self.conv2d_forward(x, w, stride=stride, padding=padding, dilation=dilation, groups=groups)
        check_batch_arguments(c, gamma, beta, eps)
        if not isinstance(cache, ConvCache):
            return Engine.conv_bn_relu_forward(
                x, w, gamma, beta, eps=eps, stride=stride, padding=padding, dilation=dilation, groups=groups
            )
        normed = norm.normalise(self.runtime, self.runtime.rows(c), c.shape, gamma, beta, eps)
        y = norm.transform(self.runtime, normed, relu=True)
        return norm.as_result(y, normed), UnitCache(cache, normed)

    def conv_bn_relu_backward(self, dy, cache, *, need_dx=True):
        """See `senumpy.ops.conv_bn_relu_backward`."""
        if not isinstance(cache, UnitCache):
            return Engine.conv_bn_relu_backward(dy, cache, need_dx=need_dx)
        check_upstream(dy, cache.norm.shape, cache.norm.x.dtype)
        found = norm.gradients(self.runtime, self.runtime.rows(dy), cache.norm, relu=True)
        dx, dw = self._conv_gradients(found.dx, cache.conv, need_dx)
        return ConvBNReLUGradients(dx, dw, found.dgamma, found.dbeta)

    def conv_bn_relu_inference_forward(
        self, x, w, gamma, beta, mean, var, *, eps=1e-5, stride=1, padding=0, dilation=1, groups=1
    ):
        """See `senumpy.ops.conv_bn_relu_inference_forward`; batch norm is folded into the kernels."""
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        y, cache = self._folded(x, w, gamma, beta, mean, var, eps=eps, relu=True, **settings)
        if cache is None:
            return Engine.conv_bn_relu_inference_forward(x, w, gamma, beta, mean, var, eps=eps, **settings)
        return y, InferenceCache(cache, (gamma, beta, mean, var), eps)

    def conv_bn_inference(self, x, w, gamma, beta, mean, var, *, eps=1e-5, **settings):
        """See `Engine.conv_bn_inference`; batch norm is folded into the kernels."""
        y, _ = self._folded(x, w, gamma, beta, mean, var, eps=eps, relu=False, **settings)
        if y is None:
            return Engine.conv_bn_inference(self, x, w, gamma, beta, mean, var, eps=eps, **settings)
        return y

    def _folded(self, x, w, gamma, beta, mean, var, *, eps, relu, stride=1, padding=0, dilation=1, groups=1):
        """Run convolution, batch norm with given statistics and, if wanted, ReLU.

        Return the result and the convolution's cache, or two None where folding would not be exact: complex
        numbers, and statistics that make a kernel infinite.
        """
        conv, kernels, bias = self._fold_plan(
            x,
            w,
            gamma,
            beta,
            mean,
            var,
            eps=eps,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
        )
        if kernels is None:
            return None, None
        rows, nothing = self.runtime.rows(x), NOTHING[x.dtype]
        y = convolution.forward(self.runtime, rows, kernels, conv, Epilogue(bias, nothing, nothing, relu))
        n, o, h, width = shape_of(conv)
        return as_image(y, n, o, h, width), ConvCache(rows, w, conv, False)

    def _fold_plan(self, x, w, gamma, beta, mean, var, *, eps, stride=1, padding=0, dilation=1, groups=1):
        """Return a convolution's way, its kernels with batch norm in them, or None, and its bias."""

        def make() -> tuple[Convolution, Array | None, Array]:
            window, out = check_conv_arguments(x, w, None, stride, padding, dilation, groups)
            conv = convolution.plan(self.runtime, x, w, window, groups, out)
            result = np.broadcast_to(w[:1, :1, :1, :1], shape_of(conv))  # its shape and dtype: no memory
            check_norm_arguments(result, eps, gamma=gamma, beta=beta, mean=mean, var=var)
            if x.dtype not in NOTHING or not np.all(var + eps > 0):
                return conv, None, beta
            return conv, *fold(self.runtime, w, gamma, beta, mean, var, eps)

        # While weights are frozen, what was checked and chosen for this shape once holds for every call.
        key = ("folded", *kind(x), eps, repr((stride, padding, dilation, groups)))
        return self.runtime.remember(key, (w, gamma, beta, mean, var), make)

    def gated_conv_bn_relu_inference(self, x, gates, w, gamma, beta, mean, var, *, eps=1e-5, **settings):
        """See `Engine.gated_conv_bn_relu_inference`; gates go into the kernels of a depthwise convolution."""
        conv, kernels, bias = self._fold_plan(x, w, gamma, beta, mean, var, eps=eps, **settings)
        g = conv.g
        check_array("gates", gates, (g.n, g.c))
        if kernels is None or not small_groups.is_depthwise(g, conv.groups, x.dtype):
            return Engine.gated_conv_bn_relu_inference(
                self, x, gates, w, gamma, beta, mean, var, eps=eps, **settings
            )
        blocked = self.runtime.remember(
            ("grouped", g.c), (kernels,), lambda: small_groups.blocked(kernels, g.c)
        )
        rows, y = self.runtime.image(g.n, g.o, g.out_h, g.out_w, x.dtype)
        small_groups.forward_gated(self.runtime, self.runtime.rows(x), blocked, g, gates, bias, rows)
        return y

    def conv_bn_relu_inference_backward(self, dy, cache, *, need_dx=True):
        """See `senumpy.ops.conv_bn_relu_inference_backward`; the convolution is run again."""
        if not isinstance(cache, InferenceCache):
            return Engine.conv_bn_relu_inference_backward(dy, cache, need_dx=need_dx)
        conv, (gamma, beta, mean, var) = cache.conv, cache.vectors
        shape = shape_of(conv.conv)
        check_upstream(dy, shape, conv.x.dtype)
        c = convolution.forward(self.runtime, conv.x, conv.w, conv.conv, no_epilogue(conv.x.dtype))
        normed = norm.given(c, shape, gamma, beta, mean, var, cache.eps)
        found: Any = norm.gradients(self.runtime, self.runtime.rows(dy), normed, relu=True)
        dx, dw = self._conv_gradients(found.dx, conv, need_dx)
        return ConvBNReLUInferenceGradients(dx, dw, *found[1:])
