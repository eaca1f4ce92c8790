"""Batch norm and the residual tail in two passes each way; the formulas are in `kernels/normalise.cu`.

The squeeze needs no pass of its own, because batch norm is affine: with an image's mean of xhat
(`xhat_mean`),

    z = gamma xhat_mean + beta           s = excitation(z)           y = relu(s BN(c) + shortcut)

and backward, with sums over an image G0 = sum g, G1 = sum g xhat:   ds = gamma G1 + beta G0.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import cupy as cp

from senumpy.engines.arguments import SEWeights
from senumpy.engines.cupy import excite, passes
from senumpy.engines.cupy.excite import Excitation
from senumpy.engines.cupy.passes import Pass
from senumpy.engines.cupy.runtime import Runtime, columns
from senumpy.engines.cupy.sources import Build
from senumpy.ops.arrays import Array

# How a backward knows where the ReLU was open; as in the source.
NO_RELU, BY_AFFINE, BY_RESULT = 0, 1, 2


class Norm(NamedTuple):
    """A normalised activation: what both passes and the gradient need. Vectors are (C,)."""

    x: Array  # rows
    shape: tuple[int, int, int, int]
    gamma: Array
    beta: Array
    mean: Array
    var: Array
    rstd: Array
    scale: Array  # gamma rstd
    xhat_mean: Array | None  # (N, C), and SE's squeeze; None where they weren't asked for
    z: Array | None
    given: bool  # whether mean and variance are arguments


class NormGradients(NamedTuple):
    """Gradients of batch norm; `shared` is its share in dx, None where mean and variance were given."""

    dgamma: Array
    dbeta: Array
    dgamma_share: Array
    dbeta_share: Array


class TailCache(NamedTuple):
    """What the gradient of the residual tail needs."""

    norm: Norm
    se: Excitation | None
    y: Array  # rows

    @property
    def mean(self) -> Array:
        """Mean of the batch, (C,)."""
        return self.norm.mean

    @property
    def var(self) -> Array:
        """Biased variance of the batch, (C,)."""
        return self.norm.var


def of_batch(
    runtime: Runtime, x: Array, shape: Any, gamma: Array, beta: Array, eps: float, *, squeeze: bool = False
) -> Norm:
    """Take the statistics of the batch, and of each image if its squeeze is wanted; x is rows."""
    p = passes.plan(runtime, shape, x.dtype)
    name, n, c = x.dtype.name, p.images, p.channels
    part_mean, part_square = (cp.empty(n * p.parts * c, x.dtype) for _ in range(2))
    runtime.launch(
        Build("statistics", name, p.width),
        "part_moments",
        p.grid,
        p.block,
        x,
        *p.sizes,
        part_mean,
        part_square,
    )
    mean, var, rstd, scale = (cp.empty(c, x.dtype) for _ in range(4))
    xhat_mean, z = (cp.empty((n, c), x.dtype) if squeeze else None for _ in range(2))
    runtime.launch(
        Build("statistics", name, 1), "batch_moments", *columns(c), part_mean, part_square, n, p.parts,
        p.rows, p.rows_a_part, c, gamma, beta, eps, mean, var, rstd, scale, xhat_mean, z,
    )  # fmt: skip
    return Norm(x, shape, gamma, beta, mean, var, rstd, scale, xhat_mean, z, given=False)


def of_given(
    runtime: Runtime, x: Array, shape: Any, vectors: tuple[Array, ...], eps: float, *, squeeze: bool = False
) -> Norm:
    """Take given statistics; `vectors` are gamma, beta, mean, var."""
    gamma, beta, mean, var = vectors
    rstd = (1.0 / cp.sqrt(var.astype("float64") + eps)).astype(var.dtype)
    xhat_mean = z = None
    if squeeze:
        pixels = shape[2] * shape[3]
        xhat_mean = (passes.image_sums(runtime, shape, x, factor=1.0 / pixels) - mean) * rstd
        z = gamma * xhat_mean + beta
    return Norm(x, shape, gamma, beta, mean, var, rstd, gamma * rstd, xhat_mean, z, given=True)


def transform(
    runtime: Runtime, norm: Norm, *, relu: bool, shortcut: Array | None = None, se: Excitation | None = None
) -> Array:
    """Return relu(s BN(x) + shortcut) as rows; each of the three may be left out."""
    p = _plan(runtime, norm)
    y = cp.empty(norm.x.size, norm.x.dtype)
    scale: Any = norm.scale
    bias: Any = norm.beta
    step = 0
    if se is not None:
        scale, bias, step = se.s_scale, se.s_bias, p.channels // p.width
    runtime.launch(
        _build(norm, p), "normalise", p.grid, p.block, norm.x, *p.sizes, norm.mean, scale, bias, step,
        shortcut, relu, y,
    )  # fmt: skip
    return y


def tail(
    runtime: Runtime, norm: Norm, weights: SEWeights | None, gate: str, shortcut: Array
) -> tuple[Array, TailCache]:
    """Return relu(SE(BN(c)) + shortcut) as rows."""
    se = None
    if weights is not None and norm.z is not None:
        se = excite.forward(runtime, norm.z, *weights, gate, scale=norm.scale, bias=norm.beta)
    y = transform(runtime, norm, relu=True, shortcut=shortcut, se=se)
    return y, TailCache(norm, se, y)


def tail_back(runtime: Runtime, dy: Array, cache: TailCache) -> tuple[Array, Array, NormGradients, Any]:
    """Return rows of dc and dshortcut, the gradients of batch norm's parameters, and those of SE's."""
    norm, se = cache.norm, cache.se
    if se is None:
        found = gradients(runtime, dy, norm, BY_RESULT, cache.y)
        return (
            *pass_back(runtime, dy, norm, found, BY_RESULT, cache.y, with_shortcut=True),
            found,
            (None,) * 4,
        )
    g0, g1 = _sums(runtime, dy, norm, BY_RESULT, cache.y, by_image=True)
    dz, *se_gradients = excite.backward(runtime, g1, se, g0=g0, gamma=norm.gamma, beta=norm.beta)
    found = _parameter_gradients(runtime, norm, g0, g1, len(g0), se.s, dz)
    dc, dshortcut = pass_back(runtime, dy, norm, found, BY_RESULT, cache.y, with_shortcut=True, s=se.s, dz=dz)
    return dc, dshortcut, found, se_gradients


def gradients(runtime: Runtime, dy: Array, norm: Norm, gate: int, y: Array | None = None) -> NormGradients:
    """Return the gradients of gamma and beta for rows `dy`."""
    g0, g1 = _sums(runtime, dy, norm, gate, y, by_image=False)
    return _parameter_gradients(runtime, norm, g0, g1, g0.size // norm.shape[1], None, None)


def pass_back(
    runtime: Runtime, dy: Array, norm: Norm, found: NormGradients, gate: int, y: Array | None = None, *,
    with_shortcut: bool = False, s: Array | None = None, dz: Array | None = None,
) -> tuple[Array, Any]:  # fmt: skip
    """Return rows of dx, and of the gradient of the shortcut where asked for."""
    p = _plan(runtime, norm)
    dx = cp.empty(norm.x.size, norm.x.dtype)
    dshortcut = cp.empty(norm.x.size, norm.x.dtype) if with_shortcut else None
    shares = (None, None) if norm.given else (found.dbeta_share, found.dgamma_share)
    runtime.launch(
        _build(norm, p), "normalise_back", p.grid, p.block, dy, norm.x, y, *p.sizes, gate, norm.mean,
        norm.rstd, norm.scale, norm.beta, *shares, s, dz, dx, dshortcut,
    )  # fmt: skip
    return dx, dshortcut


def given_gradients(norm: Norm, found: NormGradients) -> tuple[Array, Array, Array, Array]:
    """Return the gradients of gamma, beta, mean and var, where these are arguments.

    y = (x - mean) scale + beta with scale = gamma rstd, so dmean = -scale sum dy and, as
    drstd/dvar = -rstd^3 / 2, dvar = -gamma rstd^2 / 2 sum dy xhat.
    """
    dmean = -norm.scale * found.dbeta
    dvar = -0.5 * norm.scale * norm.rstd * found.dgamma
    return found.dgamma, found.dbeta, dmean, dvar


def _sums(
    runtime: Runtime, dy: Array, norm: Norm, gate: int, y: Array | None, *, by_image: bool
) -> tuple[Array, Array]:
    """Return sum g and sum g xhat: of each image (N, C), or of its parts, flat."""
    p = _plan(runtime, norm)
    g0, g1 = (cp.empty(p.images * p.parts * p.channels, dy.dtype) for _ in range(2))
    runtime.launch(
        _build(norm, p), "gradient_sums", p.grid, p.block, dy, norm.x, y, *p.sizes, gate, norm.mean,
        norm.rstd, norm.scale, norm.beta, g0, g1,
    )  # fmt: skip
    if by_image:
        return passes.of_images(runtime, g0, p), passes.of_images(runtime, g1, p)
    return g0, g1


def _parameter_gradients(
    runtime: Runtime, norm: Norm, g0: Array, g1: Array, count: int, s: Array | None, dz: Array | None
) -> NormGradients:
    c, dtype = norm.shape[1], norm.x.dtype
    found = NormGradients(*(cp.empty(c, dtype) for _ in range(4)))
    xhat_mean = None if s is None else norm.xhat_mean
    runtime.launch(
        Build("normalise", dtype.name, 1), "parameter_gradients", *columns(c), g0, g1, s, dz, xhat_mean,
        count, c, prod(norm.shape) // c, *found,
    )  # fmt: skip
    return found


def _plan(runtime: Runtime, norm: Norm) -> Pass:
    return passes.plan(runtime, norm.shape, norm.x.dtype)


def _build(norm: Norm, p: Pass) -> Build:
    return Build("normalise", norm.x.dtype.name, p.width)
