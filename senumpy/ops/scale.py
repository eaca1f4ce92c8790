"""Scale (paper sec. 3.2, eq. 4): multiply each channel by its gate.

y[n,c,i,j] = F_scale(u, s)[n,c,i,j] = s[n,c] u[n,c,i,j]
"""

from __future__ import annotations

from typing import NamedTuple

from senumpy.ops.arrays import Array, check_array, check_same_dtype, check_upstream, namespace, per_channel


class ScaleCache(NamedTuple):
    """Both factors."""

    u: Array
    s: Array


class ScaleGradients(NamedTuple):
    """Gradients in the order of the forward's arguments."""

    du: Array
    ds: Array


def scale_forward(u: Array, s: Array) -> tuple[Array, ScaleCache]:
    """Multiply `u` (N, C, H, W) by the gates `s` (N, C)."""
    check_array("u", u, ("N", "C", "H", "W"))
    check_array("s", s, u.shape[:2])
    check_same_dtype(u=u, s=s)
    return u * per_channel(s), ScaleCache(u, s)


# A product: each factor's gradient is the upstream gradient times the other factor. s[n,c] acts on all pixels
# of its channel, so its gradient is a sum over them.
def scale_backward(dy: Array, cache: ScaleCache) -> ScaleGradients:
    """Return the gradients of `scale_forward` for an upstream gradient `dy` (N, C, H, W)."""
    u, s = cache
    check_upstream(dy, u.shape, u.dtype)
    # exercise scale_backward: 1 point, level 1, lesson 13 "Scale, and its two gradients"; given: per_channel
    return ScaleGradients(dy * per_channel(s), namespace(u).sum(dy * u, axis=(2, 3)))
    # end of exercise
