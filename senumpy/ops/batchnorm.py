"""Batch normalisation (Ioffe & Szegedy 2015, arXiv 1502.03167, Algorithm 1) over (N, H, W), for each channel.

    mu[c]   = 1/M  sum_{n,i,j} x[n,c,i,j]                       M = N H W
    var[c]  = 1/M  sum_{n,i,j} (x[n,c,i,j] - mu[c])^2           the biased variance
    xhat    = (x - mu) / sqrt(var + eps)
    y       = gamma xhat + beta

This is training, with the statistics of the batch. Inference, with running statistics, is another formula
with another gradient: `batchnorm_inference.py`.
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.arrays import Array, check_array, check_same_dtype, check_upstream, namespace, per_channel

NHW = (0, 2, 3)  # the axes that a channel's statistics run over


class BatchNorm2dCache(NamedTuple):
    """What `batchnorm2d_backward` needs; `mean` and `var` (biased), each (C,), serve running statistics."""

    xhat: Array
    gamma: Array
    rstd: Array  # 1 / sqrt(var + eps)
    mean: Array
    var: Array


class BatchNorm2dGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    dx: Array
    dgamma: Array
    dbeta: Array


def batchnorm2d_forward(
    x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5
) -> tuple[Array, BatchNorm2dCache]:
    """Normalise each channel by the mean and variance of the batch.

    Parameters
    ----------
    x : (N, C, H, W) array, float32 or float64, N*H*W > 1
    gamma, beta : (C,) arrays
    eps : float
        Added to the variance, inside the root.

    Returns
    -------
    y : (N, C, H, W) array
    cache : BatchNorm2dCache

    Raises
    ------
    TypeError, ValueError
        Wrong dtype or shape, negative eps, or one value per channel, whose variance says nothing.
    """
    check_batch_arguments(x, gamma, beta, eps)
    # exercise batchnorm2d_forward: 2 points, level 1, lesson 7 "Normalise, scale, shift";
    #   given: NHW, per_channel
    xp = namespace(x)
    mean = xp.mean(x, axis=NHW)
    centred = x - per_channel(mean)
    var = xp.mean(centred * centred, axis=NHW)  # not xp.var: that is |.|^2 for complex steps
    rstd = 1.0 / xp.sqrt(var + eps)
    xhat = centred * per_channel(rstd)
    y = per_channel(gamma) * xhat + per_channel(beta)
    return y, BatchNorm2dCache(xhat, gamma, rstd, mean, var)
    # end of exercise


# Let g = dL/dxhat = gamma dy, r = 1/sqrt(var + eps), and take one channel with entries k = 1..M.
# x[k] acts on xhat[l] in three ways: directly, through mu and through var:
#     dxhat[l]/dx[k] = r (delta[k,l] - 1/M - xhat[l] xhat[k] / M)
# because dmu/dx[k] = 1/M, dvar/dx[k] = 2 (x[k] - mu) / M and dr/dvar = -r^3 / 2. Summed against g[l]:
#     dx[k] = r (g[k] - mean(g) - xhat[k] mean(g xhat))
# So dx has no component along 1, and none along xhat but for eps: an all-ones upstream gradient gives zero.
def batchnorm2d_backward(dy: Array, cache: BatchNorm2dCache) -> BatchNorm2dGradients:
    """Return the gradients of `batchnorm2d_forward` for an upstream gradient `dy` (N, C, H, W)."""
    xhat, gamma, rstd = cache.xhat, cache.gamma, cache.rstd
    check_upstream(dy, xhat.shape, xhat.dtype)
    # exercise batchnorm2d_backward: 4 points, level 3, lesson 8 "The third way: projections";
    #   given: NHW, per_channel
    xp = namespace(xhat)
    m = xhat.size // xhat.shape[1]
    dgamma = xp.sum(dy * xhat, axis=NHW)
    dbeta = xp.sum(dy, axis=NHW)
    dx = per_channel(gamma * rstd) * (dy - per_channel(dbeta / m) - xhat * per_channel(dgamma / m))
    return BatchNorm2dGradients(dx, dgamma, dbeta)
    # end of exercise


def check_batch_arguments(x: Array, gamma: Array, beta: Array, eps: float, *, name: str = "x") -> None:
    """Raise unless `x` (N, C, H, W), which messages call `name`, can be normalised by its own statistics."""
    check_norm_arguments(x, eps, name=name, gamma=gamma, beta=beta)
    if x.size == x.shape[1]:
        raise ValueError(
            f"{name}: got shape {x.shape}, one value per channel; wanted N*H*W > 1 for a variance"
        )


def check_norm_arguments(x: Array, eps: float, *, name: str = "x", **vectors: Array) -> None:
    """Raise unless `x` is (N, C, H, W), each vector is (C,) and eps is no negative number."""
    check_array(name, x, ("N", "C", "H", "W"))
    for which, vector in vectors.items():
        check_array(which, vector, (x.shape[1],))
    check_same_dtype(**{name: x}, **vectors)
    if not eps >= 0.0:
        raise ValueError(f"eps: got {eps}, wanted a number >= 0")
