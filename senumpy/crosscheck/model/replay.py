"""One layer alone: run on the candidate's own input, on any engine, and held beside its results."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.recording import RecordingEngine, borrowed
from senumpy.engines import Engine
from senumpy.layers import BatchNorm2d, Layer

Array = NDArray[Any]
Results = dict[str, Array | None]
ROOM = 6.0  # two sides err, and the worst of a few samples is not the worst of all
ROUND = 4.0


@dataclass
class Seen:
    """What a candidate's layer took and gave; None where it can't be seen.

    Attributes
    ----------
    name : str
        The candidate's name of it.
    x, y, dy, dx : array or None
    gradients : dict
        Of its parameters, by our names within the layer; None for one that got none.
    """

    name: str
    x: Array | None = None
    y: Array | None = None
    dy: Array | None = None
    dx: Array | None = None
    gradients: Results = field(default_factory=dict)


def error(got: Array | None, want: Array | None) -> float:
    """Return the largest |got - want|; infinite where shapes differ or something is not finite."""
    if got is None or want is None or got.size != want.size:
        return float("inf")
    with np.errstate(all="ignore"):
        worst = float(np.abs(got.reshape(want.shape) - want).max(initial=0.0))
    return worst if np.isfinite(worst) else float("inf")


def explained(clean: Array, noisy: list[Array], u: float) -> float:
    """Return the largest error that rounding explains, from runs whose numbers were put off by it."""
    spread = max((error(other, clean) for other in noisy), default=0.0)
    return ROOM * spread + ROUND * u * float(np.abs(clean).max(initial=0.0)) + float(np.finfo(float).tiny)


def replay(layer: Layer, x: Array, dy: Array | None, engine: Engine) -> Results:
    """Return y, and with `dy` also dx and parameters' gradients, by name ("dweight", "dse.fc1.bias")."""
    with borrowed(layer, engine):
        y = layer.forward(x)
        found: Results = {"y": y}
        if dy is not None:
            found["dx"] = layer.backward(dy.reshape(y.shape))
            for name, parameter in layer.named_parameters():
                found[f"d{name}"] = parameter.grad
    return found


@dataclass
class Alone:
    """A layer beside the candidate's, both on the candidate's own input and upstream gradient.

    Attributes
    ----------
    got, want : dict
        Results by name: the candidate's (those that can be seen) and the reference's.
    bounds : dict
        What rounding explains.
    """

    layer: Layer
    x: Array
    dy: Array | None
    got: Results
    want: Results
    bounds: dict[str, float]

    def units(self, name: str, other: Results | None = None) -> float:
        """Return an error in units of what rounding explains, beside the reference's result or another."""
        want = (self.want if other is None else other).get(name)
        got = self.got[name]
        if want is None and (got is None or not np.any(got)):
            return 0.0  # no gradient here, none or zeros there
        if want is not None and got is None and not np.any(want):
            return 0.0
        return error(got, want) / self.bounds[name]

    def wrong(self) -> list[str]:
        """Return the names of the results that are off."""
        return [name for name in self.got if self.units(name) > 1.0]

    def fits(self, other: Results) -> bool:
        """Return whether other results are the candidate's, all of them."""
        return all(self.units(name, other) <= 1.0 for name in self.got)


def alone(layer: Layer, seen: Seen, shape: tuple[int, ...], u: float, *, back: bool) -> Alone | None:
    """Run a layer on what the candidate's took; None where that can't be seen or has another shape.

    Parameters
    ----------
    layer : Layer
    seen : Seen
    shape : tuple of int
        Of the reference's input.
    u : float
        Unit roundoff of the candidate's arithmetic.
    back : bool
        Whether gradients are compared, too.
    """
    if seen.x is None or seen.x.size != int(np.prod(shape)) or seen.y is None:
        return None
    x = np.ascontiguousarray(seen.x.reshape(shape), np.float64)
    if back and seen.dy is None:
        return None
    dy = np.asarray(seen.dy, np.float64) if back else None
    got: Results = {"y": seen.y}
    if back:
        if seen.dx is not None:
            got["dx"] = seen.dx
        got |= {f"d{name}": gradient for name, gradient in seen.gradients.items()}
    try:
        want = replay(layer, x, dy, RecordingEngine(keep=False))
        noisy = [
            replay(layer, *_off(x, dy, u, seed), RecordingEngine(u=u, seed=seed, keep=False))
            for seed in (1, 2)
        ]
    except (TypeError, ValueError):  # the candidate's own gradient has another shape
        return None
    bounds = {
        name: explained(array, [n[name] for n in noisy], u)  # type: ignore[misc]
        for name, array in want.items()
        if array is not None
    }
    # Results of a wrong candidate may exist where ours don't: beside nothing, any number is off.
    for name in got:
        bounds.setdefault(name, u)
    return Alone(layer, x, dy, got, want, bounds)


def _off(x: Array, dy: Array | None, u: float, seed: int) -> tuple[Array, Array | None]:
    engine = RecordingEngine(u=u, seed=100 + seed, keep=False)
    return engine.off(x), None if dy is None else engine.off(dy)


@contextmanager
def mode(layer: Layer, training: bool) -> Iterator[None]:
    """Let batch norm inside a layer take the other statistics."""
    norms = [inner for _, inner in layer.named_layers() if isinstance(inner, BatchNorm2d)]
    before = [norm.training for norm in norms]
    for norm in norms:
        norm.training = training
    try:
        yield
    finally:
        for norm, own in zip(norms, before, strict=True):
            norm.training = own
