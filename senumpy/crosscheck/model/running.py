"""Running statistics that part from the reference: which convention moves them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.beside import Parting, Theirs
from senumpy.crosscheck.model.recording import Passage
from senumpy.crosscheck.model.report import Finding
from senumpy.layers import BatchNorm2d, Layer
from senumpy.verify.mistakes.running import RUNNING_MISTAKES

Array = NDArray[Any]
CLOSE = 1e3  # unit roundoffs: conventions differ by far more


def running_finding(
    parting: Parting,
    layers: dict[str, Layer],
    theirs: Theirs,
    passages: dict[str, Passage],
    started: dict[str, Array],
) -> Finding:
    """Return which convention moves a batch norm's statistics, from the batch that the candidate's took."""
    name, norm = parting.name, layers[parting.name]
    seen = theirs.seen.get(name)
    x = seen.x if seen is not None and seen.x is not None else passages[name].x
    assert isinstance(norm, BatchNorm2d)
    pairs = {
        what: (started[f"{name}.{what}"], theirs.buffers.get(f"{name}.{what}"))
        for what in ("running_mean", "running_var")
    }
    mistake, text = convention(x.reshape(passages[name].x.shape), pairs, norm.momentum, theirs.u)
    label = f"{name} (there {seen.name})" if seen is not None and seen.name != name else name
    text = f"{parting.gap.what} of {label} is off after one step. {text}"
    where = seen.name if seen is not None else ""
    return Finding("buffers", name, where, parting.gap, "running statistics", mistake, text)


def convention(
    x: Array, pairs: dict[str, tuple[Array, Array | None]], momentum: float, u: float
) -> tuple[tuple[str, ...], str]:
    """Return the convention's name and a sentence, for statistics before and after a batch.

    Parameters
    ----------
    x : (N, C, H, W) array
        What batch norm took.
    pairs : dict
        ``"running_mean"``, ``"running_var"``: before and after; None after where there is none.
    momentum : float
        The reference's: the weight of the new value.
    u : float
        Unit roundoff of the candidate's arithmetic.
    """
    if any(after is None for _, after in pairs.values()):
        return ("no buffers",), "It keeps no running statistics."
    x = x.astype(np.float64)
    count = x.size // x.shape[1]
    batch = {"running_mean": x.mean((0, 2, 3)), "running_var": x.var((0, 2, 3)) * count / (count - 1)}
    biased = x.var((0, 2, 3))

    def same(got: Any, want: Array) -> bool:
        return bool(np.abs(got - want).max() <= CLOSE * u * np.abs(want).max())

    (mean0, mean), (var0, var) = pairs["running_mean"], pairs["running_var"]
    assert mean is not None
    assert var is not None
    if same(mean, mean0) and same(var, var0):
        return ("not updated",), "Its running statistics don't move in training."
    right_mean = (1 - momentum) * mean0 + momentum * batch["running_mean"]
    for mistake in RUNNING_MISTAKES:
        weights = {"momentum-reversed": momentum, "replaced": 0.0}
        m = 1 - weights[mistake.name] if mistake.name in weights else momentum
        of_mean = (1 - m) * mean0 + m * batch["running_mean"]
        of_var = np.array(
            [mistake.update(float(a), float(b), count, momentum) for a, b in zip(var0, biased, strict=True)]
        )
        if same(var, of_var) and (same(mean, of_mean) or same(mean, right_mean)):
            return (mistake.name,), mistake.explanation
    found = _momentum(mean0, mean, batch["running_mean"])
    if found is not None:
        other = (1 - found) * var0 + found * batch["running_var"]
        if same(var, other):
            return (f"momentum {found:.4g}",), f"Its momentum is {found:.4g} instead of {momentum:g}."
        if same(var, (1 - found) * var0 + found * biased):
            return (f"momentum {found:.4g}", "biased-variance"), (
                f"Its momentum is {found:.4g} instead of {momentum:g}, and the biased variance is stored."
            )
    return (), "No known convention gives these statistics."


def _momentum(before: Array, after: Array, batch: Array) -> float | None:
    """Return the weight of the batch that explains all channels."""
    moved = batch - before
    k = int(np.argmax(np.abs(moved)))
    if not moved[k]:
        return None
    found = float((after[k] - before[k]) / moved[k])
    return found if np.allclose(after - before, found * moved, rtol=1e-4, atol=1e-7) else None
