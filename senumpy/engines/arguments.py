"""Checks of arguments that the fast engines share: units, where one kernel does several operations."""

from __future__ import annotations

from typing import Any

from senumpy.ops.arrays import Array, check_array, check_same_dtype
from senumpy.ops.excitation import check_gate, check_weights
from senumpy.ops.squeeze import check_operator

SEWeights = tuple[Array, Array | None, Array, Array | None]


def check_tail(
    c: Array, w1: Any, b1: Any, w2: Any, b2: Any, shortcut: Array, squeeze: str, gate: str
) -> SEWeights | None:
    """Raise unless SE's arguments and the shortcut fit; return the weights of SE, None without SE."""
    check_array("shortcut", shortcut, c.shape)
    check_same_dtype(c=c, shortcut=shortcut)
    if w1 is None or w2 is None:
        if any(a is not None for a in (w1, b1, w2, b2)):
            raise ValueError("w1, w2: got one of the SE arguments alone; wanted w1 and w2, or all four None")
        return None
    check_se(c, w1, b1, w2, b2, squeeze, gate, name="c")
    return w1, b1, w2, b2


def check_se(
    u: Array, w1: Any, b1: Any, w2: Any, b2: Any, squeeze: str, gate: str, *,
    name: str = "u", channels: int | None = None,
) -> None:  # fmt: skip
    """Raise unless SE's arguments fit the activation `u`, which messages call `name`, or so many channels."""
    check_operator(squeeze)
    check_gate(gate)
    check_weights(u.shape[1] if channels is None else channels, w1, b1, w2, b2)
    check_same_dtype(**{name: u}, w1=w1, b1=b1, w2=w2, b2=b2)
