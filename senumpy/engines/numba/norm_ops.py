"""The engine's batch norm, and the residual tail in one go."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from senumpy.engines.arguments import SEWeights, check_tail
from senumpy.engines.base import Engine
from senumpy.engines.numba import convolution, elementwise, norm, tail
from senumpy.engines.numba.conv_ops import fold, kind, shape_of
from senumpy.engines.numba.convolution import Convolution
from senumpy.engines.numba.dense import excitation
from senumpy.engines.numba.geometry import Array, as_image
from senumpy.engines.numba.norm import Norm
from senumpy.engines.numba.runtime import NOTHING, Runtime, unlocked
from senumpy.engines.numba.tail import TailCache
from senumpy.ops.arrays import check_upstream
from senumpy.ops.batchnorm import BatchNorm2dGradients, check_batch_arguments, check_norm_arguments
from senumpy.ops.batchnorm_inference import BatchNorm2dInferenceGradients
from senumpy.ops.conv2d import check_conv_arguments
from senumpy.ops.residual_tail import ResidualTailGradients, ResidualTailInferenceGradients


class ComposedTailCache(NamedTuple):
    """The caches of a tail whose squeeze is the maximum, which needs the activation itself."""

    norm: Norm
    se: Any
    y: Array
    trained: bool

    @property
    def mean(self) -> Array:
        """Mean of the batch, (C,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (C,)."""
        return self.norm.var


class NormOps(Engine):
    """Batch norm and the residual tail."""

    runtime: Runtime

    def batchnorm2d_forward(self, x, gamma, beta, *, eps=1e-5):
        """See `senumpy.ops.batchnorm2d_forward`."""
        check_batch_arguments(x, gamma, beta, eps)
        if x.dtype not in NOTHING:
            return Engine.batchnorm2d_forward(x, gamma, beta, eps=eps)
        normed = norm.normalise(self.runtime, self.runtime.rows(x), x.shape, gamma, beta, eps)
        return norm.as_result(norm.transform(self.runtime, normed, relu=False), normed), normed

    def batchnorm2d_backward(self, dy, cache):
        """See `senumpy.ops.batchnorm2d_backward`."""
        if not isinstance(cache, Norm):
            return Engine.batchnorm2d_backward(dy, cache)
        check_upstream(dy, cache.shape, cache.x.dtype)
        found = norm.gradients(self.runtime, self.runtime.rows(dy), cache, relu=False)
        return BatchNorm2dGradients(norm.as_result(found.dx, cache), found.dgamma, found.dbeta)

    def batchnorm2d_inference_forward(self, x, gamma, beta, mean, var, *, eps=1e-5):
        """See `senumpy.ops.batchnorm2d_inference_forward`."""
        check_norm_arguments(x, eps, gamma=gamma, beta=beta, mean=mean, var=var)
        if x.dtype not in NOTHING:
            return Engine.batchnorm2d_inference_forward(x, gamma, beta, mean, var, eps=eps)
        normed = norm.given(self.runtime.rows(x), x.shape, gamma, beta, mean, var, eps)
        return norm.as_result(norm.transform(self.runtime, normed, relu=False), normed), normed

    def batchnorm2d_inference_backward(self, dy, cache):
        """See `senumpy.ops.batchnorm2d_inference_backward`."""
        if not isinstance(cache, Norm):
            return Engine.batchnorm2d_inference_backward(dy, cache)
        check_upstream(dy, cache.shape, cache.x.dtype)
        found: Any = norm.gradients(self.runtime, self.runtime.rows(dy), cache, relu=False)
        return BatchNorm2dInferenceGradients(norm.as_result(found.dx, cache), *found[1:])

    def residual_tail_forward(
        self, c, gamma, beta, w1, b1, w2, b2, shortcut, *, eps=1e-5, squeeze="avg", gate="sigmoid"
    ):
        """See `senumpy.ops.residual_tail_forward`."""
        check_batch_arguments(c, gamma, beta, eps, name="c")
        se = check_tail(c, w1, b1, w2, b2, shortcut, squeeze, gate)
        if c.dtype not in NOTHING:
            return Engine.residual_tail_forward(
                c, gamma, beta, w1, b1, w2, b2, shortcut, eps=eps, squeeze=squeeze, gate=gate
            )
        normed = norm.normalise(self.runtime, self.runtime.rows(c), c.shape, gamma, beta, eps)
        return self._tail(normed, se, shortcut, squeeze, gate, trained=True)

    def residual_tail_backward(self, dy, cache):
        """See `senumpy.ops.residual_tail_backward`."""
        if not isinstance(cache, TailCache | ComposedTailCache):
            return Engine.residual_tail_backward(dy, cache)
        dc, dshortcut, (dgamma, dbeta, _, _), (dw1, db1, dw2, db2) = self._tail_back(dy, cache)
        return ResidualTailGradients(dc, dgamma, dbeta, dw1, db1, dw2, db2, dshortcut)

    def residual_tail_inference_forward(
        self, c, gamma, beta, mean, var, w1, b1, w2, b2, shortcut, *, eps=1e-5, squeeze="avg", gate="sigmoid"
    ):
        """See `senumpy.ops.residual_tail_inference_forward`."""
        check_norm_arguments(c, eps, name="c", gamma=gamma, beta=beta, mean=mean, var=var)
        se = check_tail(c, w1, b1, w2, b2, shortcut, squeeze, gate)
        if c.dtype not in NOTHING:
            return Engine.residual_tail_inference_forward(
                c, gamma, beta, mean, var, w1, b1, w2, b2, shortcut, eps=eps, squeeze=squeeze, gate=gate
            )
        normed = norm.given(self.runtime.rows(c), c.shape, gamma, beta, mean, var, eps)
        return self._tail(normed, se, shortcut, squeeze, gate, trained=False)

    def residual_tail_inference_backward(self, dy, cache):
        """See `senumpy.ops.residual_tail_inference_backward`."""
        if not isinstance(cache, TailCache | ComposedTailCache):
            return Engine.residual_tail_inference_backward(dy, cache)
        dc, dshortcut, vectors, (dw1, db1, dw2, db2) = self._tail_back(dy, cache)
        dgamma, dbeta, dmean, dvar = vectors
        return ResidualTailInferenceGradients(dc, dgamma, dbeta, dmean, dvar, dw1, db1, dw2, db2, dshortcut)

    def _tail(
        self, normed: Norm, se: SEWeights | None, shortcut: Array, squeeze: str, gate: str, *, trained: bool
    ) -> tuple[Array, Any]:
        cache: Any
        rows = self.runtime.rows(shortcut)
        if se is None or squeeze == "avg":
            y, cache = tail.forward(self.runtime, normed, se, gate, rows)
            return norm.as_result(y, normed), cache
        v = norm.as_result(norm.transform(self.runtime, normed, relu=False), normed)
        scaled, se_cache = self.squeeze_excite_forward(v, *se, squeeze=squeeze, gate=gate)
        total, _ = self.residual_add_forward(scaled, shortcut)
        y, _ = self.relu_forward(total)
        return y, ComposedTailCache(normed, se_cache, self.runtime.rows(y), trained)

    def _tail_back(self, dy: Array, cache: Any) -> tuple[Array, Array, Any, Any]:
        """Return dc, dshortcut, the gradients of batch norm's parameters and of SE's."""
        normed = cache.norm
        check_upstream(dy, normed.shape, normed.x.dtype)
        rows = self.runtime.rows(dy)
        if isinstance(cache, TailCache):
            dc, dshortcut, norm_gradients, se = tail.backward(self.runtime, rows, cache)
            return norm.as_result(dc, normed), norm.as_result(dshortcut, normed), norm_gradients, se
        dtotal = self.runtime.empty(rows.size, rows.dtype)
        self.runtime.run(elementwise.relu_back, rows, cache.y, dtotal)
        dv, *se = self.squeeze_excite_backward(norm.as_result(dtotal, normed), cache.se)
        dc, *norm_gradients = norm.gradients(self.runtime, self.runtime.rows(dv), normed, relu=False)
        return norm.as_result(dc, normed), norm.as_result(dtotal, normed), norm_gradients, se

    def residual_end_inference(  # type: ignore[override]
        self, x, w, gamma, beta, mean, var, w1, b1, w2, b2, shortcut, *, eps=1e-5, squeeze="avg",
        gate="sigmoid", stride=1, padding=0, dilation=1, groups=1,
    ):  # fmt: skip
        """See `Engine.residual_end_inference`: all of it in the passes of the convolution.

        A 1x1 convolution and batch norm are affine, so the mean of their result is what they make of the mean
        of x: SE's gate is known before the convolution runs, and joins the bias and the shortcut in what is
        done to each block of the result while it is in the cache. Both are part of SE's first layer then.
        """
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        runtime = self.runtime

        def make() -> tuple[Convolution, Array | None, Array, Any]:
            window, out = check_conv_arguments(x, w, None, stride, padding, dilation, groups)
            conv = convolution.plan(runtime, x, w, window, groups, out)
            result = np.broadcast_to(w[:1, :1, :1, :1], shape_of(conv))
            check_norm_arguments(result, eps, gamma=gamma, beta=beta, mean=mean, var=var)
            se = check_tail(result, w1, b1, w2, b2, shortcut, squeeze, gate)
            can_fold = (
                conv.way == "direct" and conv.g.is_plain and groups == 1 and squeeze == "avg"
                and x.dtype in NOTHING and np.all(var + eps > 0)
            )  # fmt: skip
            if not can_fold:
                return conv, None, beta, se
            kernels, bias = fold(runtime, w, gamma, beta, mean, var, eps)
            return conv, kernels, bias, None if se is None else _excitation_of_means(kernels, bias, *se)

        key = ("end", *kind(x), *kind(shortcut), eps, squeeze, gate, repr(settings))
        owners = tuple(a for a in (w, gamma, beta, mean, var, w1, b1, w2, b2) if a is not None)
        conv, kernels, bias, se = runtime.remember(key, owners, make)
        if kernels is None:
            return Engine.residual_end_inference(
                self, x, w, gamma, beta, mean, var, w1, b1, w2, b2, shortcut,
                eps=eps, squeeze=squeeze, gate=gate, **settings,
            )  # fmt: skip
        g, rows, gates = conv.g, runtime.rows(x), NOTHING[x.dtype]
        if se is not None:
            means = tail.image_means(runtime, rows, g.n, g.h * g.w, g.c)
            w1, b1, w2, b2 = se
            gates = excitation(runtime, means, w1, b1, w2, b2, gate).s.reshape(-1)
        epilogue = convolution.Epilogue(bias, gates, runtime.rows(shortcut), True)
        y = convolution.forward(runtime, rows, kernels, conv, epilogue)
        return as_image(y, g.n, g.o, g.out_h, g.out_w)


def _excitation_of_means(
    kernels: Array, bias: Array, w1: Array, b1: Array | None, w2: Array, b2: Array | None
) -> SEWeights:
    """Return SE's weights for the mean m of a 1x1 convolution's input: W1 (K m + b) + b1 = (W1 K) m + ..."""
    wide = w1.astype(np.float64)
    offset = wide @ bias + (0 if b1 is None else b1)
    matrix = (wide @ kernels.reshape(len(kernels), -1)).astype(w1.dtype)
    last_bias = None if b2 is None else unlocked(np.ascontiguousarray(b2))
    return matrix, offset.astype(w1.dtype), unlocked(np.ascontiguousarray(w2)), last_bias
