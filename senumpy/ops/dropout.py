"""Dropout (Srivastava et al. 2014), inverted: survivors are scaled in training, inference does nothing.

    y = m x / (1 - p)        m[k] = 1 with probability 1 - p, else 0, independently

so that E[y] = x. SENet-154 has p = 0.2 before its classifier (paper, appendix).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from senumpy.ops.arrays import Array, check_array, check_upstream, namespace


class DropoutCache(NamedTuple):
    """Who survived, and the drop probability."""

    kept: Array
    p: float
    dtype: Any


class DropoutGradients(NamedTuple):
    """Gradient of the one array argument."""

    dx: Array


def dropout_forward(x: Array, *, p: float = 0.5, rng: Any) -> tuple[Array, DropoutCache]:
    """Set entries to zero at random and scale the others by 1 / (1 - p).

    Parameters
    ----------
    x : array of any shape, float32 or float64
    p : float
        Probability to be dropped, 0 <= p < 1.
    rng : numpy.random.Generator
        Its `random(x.shape)` draws decide: an entry is kept where the draw is at least p. The same state
        gives the same mask, whatever the dtype.
    """
    check_array("x", x)
    if not 0.0 <= p < 1.0:
        raise ValueError(f"p: got {p}, wanted 0 <= p < 1")
    xp = namespace(x)
    kept = xp.asarray(rng.random(x.shape) >= p)
    return _apply(x, kept, p), DropoutCache(kept, p, x.dtype)


# y is linear in x with the factor m / (1 - p), so the gradient takes the same mask and the same scale.
def dropout_backward(dy: Array, cache: DropoutCache) -> DropoutGradients:
    """Return the gradient of `dropout_forward` for an upstream gradient `dy` of the input's shape."""
    check_upstream(dy, cache.kept.shape, cache.dtype)
    return DropoutGradients(_apply(dy, cache.kept, cache.p))


def _apply(x: Array, kept: Array, p: float) -> Array:
    xp = namespace(x)
    return xp.where(kept, x / (1.0 - p), xp.zeros_like(x))
