"""Squeeze (paper sec. 3.1, eq. 2): one descriptor a channel, global over the image.

    z[n,c] = F_sq(u)[n,c] = 1/(H W) sum_{i,j} u[n,c,i,j]

The ablation of Table 11 takes the maximum instead. Both are the global pools under the paper's name.
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.arrays import Array, check_array
from senumpy.ops.global_pooling import (
    GlobalAvgPoolCache,
    GlobalMaxPoolCache,
    global_avg_pool_backward,
    global_avg_pool_forward,
    global_max_pool_backward,
    global_max_pool_forward,
)


class SqueezeCache(NamedTuple):
    """The cache of the pool that ran."""

    pool: GlobalAvgPoolCache | GlobalMaxPoolCache


class SqueezeGradients(NamedTuple):
    """Gradient of the one array argument."""

    du: Array


def squeeze_forward(u: Array, *, operator: str = "avg") -> tuple[Array, SqueezeCache]:
    """Describe each channel of `u` (N, C, H, W) by one number: (N, C).

    Parameters
    ----------
    u : (N, C, H, W) array, float32 or float64
    operator : {"avg", "max"}
    """
    check_operator(operator)
    check_array("u", u, ("N", "C", "H", "W"))
    # exercise squeeze_forward: 1 point, level 1, lesson 11 "Average or maximum";
    #   given: global_avg_pool_forward, global_max_pool_forward
    pool = global_avg_pool_forward if operator == "avg" else global_max_pool_forward
    z, cache = pool(u)
    return z, SqueezeCache(cache)
    # end of exercise


# With the average each pixel of channel c receives dz[n,c]/(H W): 1/(H W) is easily forgotten.
def squeeze_backward(dy: Array, cache: SqueezeCache) -> SqueezeGradients:
    """Return the gradient of `squeeze_forward` for an upstream gradient `dy` (N, C)."""
    if isinstance(cache.pool, GlobalAvgPoolCache):
        return SqueezeGradients(global_avg_pool_backward(dy, cache.pool).dx)
    return SqueezeGradients(global_max_pool_backward(dy, cache.pool).dx)


def check_operator(operator: str) -> None:
    """Raise unless there is such a squeeze."""
    if operator not in ("avg", "max"):
        raise ValueError(f'squeeze: got {operator!r}, wanted "avg" or "max"')
