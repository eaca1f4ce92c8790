"""Channel shuffle (Zhang et al. 2018, ShuffleNet, arXiv 1707.01083, fig. 1): let groups exchange channels.

channels as a (G, C/G) table, transposed:    y[n, k*G + g] = x[n, g*(C/G) + k]
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.arrays import Array, check_array, check_upstream, contiguous, namespace


class ChannelShuffleCache(NamedTuple):
    """Shape, dtype and number of groups."""

    shape: tuple[int, ...]
    dtype: Any
    groups: int


class ChannelShuffleGradients(NamedTuple):
    """Gradient of the one array argument."""

    dx: Array


def channel_shuffle_forward(x: Array, *, groups: int) -> tuple[Array, ChannelShuffleCache]:
    """Reorder the channels of `x` (N, C, H, W) so that each new group takes from every old one.

    Parameters
    ----------
    x : (N, C, H, W) array, float32 or float64
    groups : int
        Divides C.
    """
    check_array("x", x, ("N", "C", "H", "W"))
    if not hasattr(groups, "__index__") or isinstance(groups, bool):
        raise TypeError(f"groups: got {groups!r}, wanted an int")
    if groups < 1 or x.shape[1] % groups:
        raise ValueError(f"groups: got {groups}, wanted a divisor of C = {x.shape[1]}")
    # exercise channel_shuffle_forward: 1 point, level 1, lesson 1 "Reshape, transpose, reshape";
    #   given: contiguous
    return _shuffle(x, groups), ChannelShuffleCache(x.shape, x.dtype, groups)
    # end of exercise


# A permutation: the gradient goes back through its inverse, the shuffle of the transposed table.
def channel_shuffle_backward(dy: Array, cache: ChannelShuffleCache) -> ChannelShuffleGradients:
    """Undo the reordering for the upstream gradient `dy` (N, C, H, W)."""
    check_upstream(dy, cache.shape, cache.dtype)
    return ChannelShuffleGradients(_shuffle(dy, cache.shape[1] // cache.groups))


# exercise channel_shuffle_forward
def _shuffle(x: Array, groups: int) -> Array:
    xp = namespace(x)
    n, c, h, w = x.shape
    table = xp.reshape(x, (n, groups, c // groups, h, w))
    shuffled = xp.reshape(xp.permute_dims(table, (0, 2, 1, 3, 4)), x.shape)
    return contiguous(shuffled)  # with one group the reshape is a view, and results never alias


# end of exercise
