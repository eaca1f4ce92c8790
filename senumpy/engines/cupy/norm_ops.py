"""The engine's batch norm, and the residual tail in one go."""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.engines.arguments import SEWeights, check_tail
from senumpy.engines.base import Engine
from senumpy.engines.cupy import convolution, excite, norm, passes
from senumpy.engines.cupy.conv_ops import ConvOps
from senumpy.engines.cupy.norm import Norm, TailCache
from senumpy.engines.cupy.runtime import REAL, as_image, in_order
from senumpy.ops.arrays import Array, check_upstream
from senumpy.ops.batchnorm import BatchNorm2dGradients, check_batch_arguments, check_norm_arguments
from senumpy.ops.batchnorm_inference import BatchNorm2dInferenceGradients
from senumpy.ops.conv2d import check_conv_arguments
from senumpy.ops.residual_tail import ResidualTailGradients, ResidualTailInferenceGradients


class ComposedTailCache(NamedTuple):
    """The caches of a tail whose squeeze is the maximum, which needs the activation itself."""

    norm: Norm
    se: Any
    relu: Any

    @property
    def mean(self) -> Array:
        """Mean of the batch, (C,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (C,)."""
        return self.norm.var


class NormOps(ConvOps):
    """Batch norm and the residual tail."""

    def batchnorm2d_forward(self, x, gamma, beta, *, eps=1e-5):
        """See `senumpy.ops.batchnorm2d_forward`."""
        check_batch_arguments(x, gamma, beta, eps)
        if x.dtype not in REAL:
            return Engine.batchnorm2d_forward(x, gamma, beta, eps=eps)
        normed = self._of_batch(x, gamma, beta, eps)
        return as_image(norm.transform(self.runtime, normed, relu=False), x.shape), normed

    def batchnorm2d_backward(self, dy, cache):
        """See `senumpy.ops.batchnorm2d_backward`."""
        if not isinstance(cache, Norm):
            return Engine.batchnorm2d_backward(dy, cache)
        dx, found = self._norm_back(dy, cache)
        return BatchNorm2dGradients(dx, found.dgamma, found.dbeta)

    def batchnorm2d_inference_forward(self, x, gamma, beta, mean, var, *, eps=1e-5):
        """See `senumpy.ops.batchnorm2d_inference_forward`."""
        check_norm_arguments(x, eps, gamma=gamma, beta=beta, mean=mean, var=var)
        if x.dtype not in REAL:
            return Engine.batchnorm2d_inference_forward(x, gamma, beta, mean, var, eps=eps)
        normed = self._of_given(x, (gamma, beta, mean, var), eps)
        return as_image(norm.transform(self.runtime, normed, relu=False), x.shape), normed

    def batchnorm2d_inference_backward(self, dy, cache):
        """See `senumpy.ops.batchnorm2d_inference_backward`."""
        if not isinstance(cache, Norm):
            return Engine.batchnorm2d_inference_backward(dy, cache)
        dx, found = self._norm_back(dy, cache)
        return BatchNorm2dInferenceGradients(dx, *norm.given_gradients(cache, found))

    def residual_tail_forward(
        self, c, gamma, beta, w1, b1, w2, b2, shortcut, *, eps=1e-5, squeeze="avg", gate="sigmoid"
    ):
        """See `senumpy.ops.residual_tail_forward`."""
        check_batch_arguments(c, gamma, beta, eps, name="c")
        se = check_tail(c, w1, b1, w2, b2, shortcut, squeeze, gate)
        if c.dtype not in REAL:
            return Engine.residual_tail_forward(
                c, gamma, beta, w1, b1, w2, b2, shortcut, eps=eps, squeeze=squeeze, gate=gate
            )
        normed = self._of_batch(c, gamma, beta, eps, squeeze=se is not None)
        return self._tail(normed, se, shortcut, squeeze, gate)

    def residual_tail_backward(self, dy, cache):
        """See `senumpy.ops.residual_tail_backward`."""
        if not isinstance(cache, TailCache | ComposedTailCache):
            return Engine.residual_tail_backward(dy, cache)
        dc, dshortcut, found, (dw1, db1, dw2, db2) = self._tail_back(dy, cache)
        return ResidualTailGradients(dc, found.dgamma, found.dbeta, dw1, db1, dw2, db2, dshortcut)

    def residual_tail_inference_forward(
        self, c, gamma, beta, mean, var, w1, b1, w2, b2, shortcut, *, eps=1e-5, squeeze="avg", gate="sigmoid"
    ):
        """See `senumpy.ops.residual_tail_inference_forward`."""
        check_norm_arguments(c, eps, name="c", gamma=gamma, beta=beta, mean=mean, var=var)
        se = check_tail(c, w1, b1, w2, b2, shortcut, squeeze, gate)
        if c.dtype not in REAL:
            return Engine.residual_tail_inference_forward(
                c, gamma, beta, mean, var, w1, b1, w2, b2, shortcut, eps=eps, squeeze=squeeze, gate=gate
            )
        normed = self._of_given(c, (gamma, beta, mean, var), eps, squeeze=se is not None)
        return self._tail(normed, se, shortcut, squeeze, gate)

    def residual_tail_inference_backward(self, dy, cache):
        """See `senumpy.ops.residual_tail_inference_backward`."""
        if not isinstance(cache, TailCache | ComposedTailCache):
            return Engine.residual_tail_inference_backward(dy, cache)
        dc, dshortcut, found, (dw1, db1, dw2, db2) = self._tail_back(dy, cache)
        dgamma, dbeta, dmean, dvar = norm.given_gradients(cache.norm, found)
        return ResidualTailInferenceGradients(dc, dgamma, dbeta, dmean, dvar, dw1, db1, dw2, db2, dshortcut)

    def residual_end_inference(  # type: ignore[override]
        self, x, w, gamma, beta, mean, var, w1, b1, w2, b2, shortcut, *, eps=1e-5, squeeze="avg",
        gate="sigmoid", stride=1, padding=0, dilation=1, groups=1,
    ):  # fmt: skip
        """See `Engine.residual_end_inference`: a convolution, and one pass that does all the rest.

        A 1x1 convolution and batch norm are affine: the mean of their result, SE's squeeze, is what they
        make of the mean of x, which is shorter to sum up.
        """
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        if not self.foldable(x, var, eps) or squeeze != "avg":
            return Engine.residual_end_inference(
                self, x, w, gamma, beta, mean, var, w1, b1, w2, b2, shortcut,
                eps=eps, squeeze=squeeze, gate=gate, **settings,
            )  # fmt: skip
        window, out = check_conv_arguments(x, w, None, stride, padding, dilation, groups)
        conv = convolution.plan(self.runtime, x, w, window, groups, out)
        kernels, bias = self.fold(w, (gamma, beta, mean, var), eps)
        rows = self.runtime.rows(x)
        y = convolution.forward(self.runtime, rows, kernels, conv)
        se = check_tail(as_image(y, conv.shape), w1, b1, w2, b2, shortcut, squeeze, gate)
        s = None
        if se is not None:
            if conv.ways == ("pointwise",):
                means = passes.image_sums(self.runtime, x.shape, rows, factor=1.0 / (conv.h * conv.w))
                z = convolution.forward(self.runtime, means.reshape(-1), kernels, _of_means(conv))
            else:
                z = passes.image_sums(self.runtime, conv.shape, y, factor=1.0 / (conv.out_h * conv.out_w))
            z = z.reshape(conv.n, conv.o) + bias
            s = excite.forward(self.runtime, z, *se, gate).s
        self.finish(y, conv.shape, bias=bias, s=s, addend=self.runtime.rows(shortcut), relu=True)
        return as_image(y, conv.shape)

    def _of_batch(self, x: Array, gamma: Array, beta: Array, eps: float, *, squeeze: bool = False) -> Norm:
        rows = self.runtime.rows(x)
        return norm.of_batch(
            self.runtime, rows, x.shape, in_order(gamma), in_order(beta), eps, squeeze=squeeze
        )

    def _of_given(self, x: Array, vectors: tuple[Array, ...], eps: float, *, squeeze: bool = False) -> Norm:
        rows, vectors = self.runtime.rows(x), tuple(map(in_order, vectors))
        return norm.of_given(self.runtime, rows, x.shape, vectors, eps, squeeze=squeeze)

    def _norm_back(self, dy: Array, cache: Norm) -> tuple[Array, norm.NormGradients]:
        check_upstream(dy, cache.shape, cache.x.dtype)
        rows = self.runtime.rows(dy)
        found = norm.gradients(self.runtime, rows, cache, norm.NO_RELU)
        dx, _ = norm.pass_back(self.runtime, rows, cache, found, norm.NO_RELU)
        return as_image(dx, cache.shape), found

    def _tail(
        self, normed: Norm, se: SEWeights | None, shortcut: Array, squeeze: str, gate: str
    ) -> tuple[Array, Any]:
        if se is None or squeeze == "avg":
            y, cache = norm.tail(self.runtime, normed, se, gate, self.runtime.rows(shortcut))
            return as_image(y, normed.shape), cache
        v = as_image(norm.transform(self.runtime, normed, relu=False), normed.shape)
        scaled, se_cache = self.squeeze_excite_forward(v, *se, squeeze=squeeze, gate=gate)
        total, _ = self.residual_add_forward(scaled, shortcut)
        y, relu_cache = self.relu_forward(total)
        return y, ComposedTailCache(normed, se_cache, relu_cache)

    def _tail_back(self, dy: Array, cache: Any) -> tuple[Array, Array, norm.NormGradients, Any]:
        """Return dc, dshortcut, the gradients of batch norm's parameters and of SE's."""
        normed = cache.norm
        check_upstream(dy, normed.shape, normed.x.dtype)
        if isinstance(cache, TailCache):
            dc, dshortcut, found, se = norm.tail_back(self.runtime, self.runtime.rows(dy), cache)
            return as_image(dc, normed.shape), as_image(dshortcut, normed.shape), found, se
        (dtotal,) = self.relu_backward(dy, cache.relu)
        dv, *se = self.squeeze_excite_backward(dtotal, cache.se)
        dc, found = self._norm_back(dv, normed)
        return dc, dtotal, found, se


def _of_means(conv: convolution.Convolution) -> convolution.Convolution:
    """Return the same 1x1 convolution for images of one pixel."""
    return conv._replace(h=1, w=1, out_h=1, out_w=1)
