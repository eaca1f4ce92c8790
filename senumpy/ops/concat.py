"""Concatenation, by default of channels: where the branches of an Inception module meet.

y = [x_1, x_2, ..., x_k]   along `axis`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from senumpy.ops.arrays import Array, check_array, check_same_dtype, check_upstream, contiguous, namespace


class ConcatCache(NamedTuple):
    """Shapes of the parts."""

    shapes: tuple[tuple[int, ...], ...]
    axis: int
    dtype: Any


class ConcatGradients(NamedTuple):
    """One gradient a part."""

    dxs: tuple[Array, ...]


def check_parts(xs: Sequence[Array], axis: int) -> int:
    """Raise unless the arrays agree on every axis but `axis`; return it, not negative."""
    if len(xs) == 0:
        raise ValueError("xs: got no arrays, wanted at least one")
    for k, x in enumerate(xs):
        check_array(f"xs[{k}]", x)
    rank = xs[0].ndim
    if not -rank <= axis < rank:
        raise ValueError(f"axis: got {axis}, wanted one from {-rank} to {rank - 1} for arrays of {rank} axes")
    axis %= rank
    for k, x in enumerate(xs):
        check_array(f"xs[{k}]", x, tuple("any" if a == axis else size for a, size in enumerate(xs[0].shape)))
    check_same_dtype(**{f"xs[{k}]": x for k, x in enumerate(xs)})
    return axis


def concat_forward(xs: Sequence[Array], *, axis: int = 1) -> tuple[Array, ConcatCache]:
    """Join arrays that agree on every axis but one.

    Parameters
    ----------
    xs : sequence of arrays, float32 or float64
    axis : int
        May be negative.

    Returns
    -------
    y : array
    cache : ConcatCache
    """
    axis = check_parts(xs, axis)
    y = namespace(xs[0]).concat(list(xs), axis=axis)
    return y, ConcatCache(tuple(x.shape for x in xs), axis, xs[0].dtype)


# Every entry is copied once: its gradient is copied back.
def concat_backward(dy: Array, cache: ConcatCache) -> ConcatGradients:
    """Cut the upstream gradient into the parts' gradients."""
    shapes, axis, dtype = cache
    total = sum(shape[axis] for shape in shapes)
    check_upstream(dy, (*shapes[0][:axis], total, *shapes[0][axis + 1 :]), dtype)
    parts, start = [], 0
    for shape in shapes:
        cut = (slice(None),) * axis + (slice(start, start + shape[axis]),)
        parts.append(contiguous(dy[cut]))
        start += shape[axis]
    return ConcatGradients(tuple(parts))
