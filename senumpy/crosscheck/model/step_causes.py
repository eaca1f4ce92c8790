"""Why a training step parts from the reference: the loss, the running statistics, or the optimiser's rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.optimisers import Rule, rules_near
from senumpy.crosscheck.model.recording import record
from senumpy.crosscheck.model.running import convention
from senumpy.layers import Layer

Array = NDArray[Any]
CLOSE = 64.0  # unit roundoffs: an update is a few operations on each number


@dataclass(frozen=True)
class StepEvidence:
    """All that is known of two trainings, up to the first step that parts.

    Attributes
    ----------
    step : int
        Counted from 1.
    part, name : str
        What is off first.
    begun : dict
        Parameters and buffers before the first step.
    ours, theirs : list of Moment
    rates : list of float
    rule : Rule
        The reference's.
    decays : dict
        Whether a parameter is a weight that decays.
    u : float
    batch_size : int
    layers : dict
        The reference's.
    images : array
    """

    step: int
    part: str
    name: str
    begun: dict[str, Array]
    ours: list[Any]
    theirs: list[Any]
    rates: list[float]
    rule: Rule
    decays: dict[str, bool]
    u: float
    batch_size: int
    layers: dict[str, Layer]
    images: Array


def cause(e: StepEvidence) -> tuple[tuple[str, ...], str]:
    """Return the names of the conventions that explain the step, and sentences."""
    if e.part in ("loss", "gradients"):
        return _of_loss(e)
    if e.part == "buffers":
        return _of_buffers(e)
    return _of_rule(e)


def _of_loss(e: StepEvidence) -> tuple[tuple[str, ...], str]:
    """Try a factor on all gradients."""
    own, other = e.ours[e.step - 1].gradients, e.theirs[e.step - 1].gradients
    silent = [n for n, g in own.items() if other.get(n) is None and np.any(g)]
    if silent:
        more = f" and {len(silent) - 1} more" if len(silent) > 1 else ""
        return ("no gradient",), f"{silent[0]}{more} got no gradient."
    top = max(own, key=lambda n: float(np.abs(own[n]).max()))
    k = np.unravel_index(int(np.argmax(np.abs(own[top]))), own[top].shape)
    factor = float(other[top][k] / own[top][k])
    if all(_same(other[n], factor * own[n], 1e6 * e.u) for n in own):
        n = e.batch_size
        if np.isclose(factor, n):
            return (
                ("loss summed",),
                f"All gradients are {n} times the reference's: the loss is summed, not averaged.",
            )
        if np.isclose(factor, 1 / n):
            return (
                "loss averaged twice",
            ), f"All gradients are 1/{n} of the reference's: the loss is divided by the batch size twice."
        if abs(factor - 1) > 1e-6:
            return (
                "loss scaled",
            ), f"All gradients are {factor:.6g} times the reference's: the loss is scaled."
    if e.step > 1 and e.part == "gradients":
        return (
            (),
            "Up to the step before all agreed: does it keep other state? No convention explains it.",
        )
    return (
        (),
        "The model's own forward or backward differs, or its loss: check_model says in which layer.",
    )


def _of_buffers(e: StepEvidence) -> tuple[tuple[str, ...], str]:
    """Try the conventions of running statistics, on what the batch norm took in this step."""
    layer_name = e.name.rpartition(".")[0]
    norm: Any = e.layers[layer_name]
    before = e.begun if e.step == 1 else {**e.begun, **e.theirs[e.step - 2].buffers}
    state = e.begun if e.step == 1 else {**e.theirs[e.step - 2].buffers, **e.theirs[e.step - 2].parameters}
    model = e.layers[""]
    for name, holder in [*model.named_parameters(), *model.named_buffers()]:
        holder.value[...] = state[name]
    trace = record(model, e.images[e.step - 1].astype(np.float64), None)
    x = trace.passages()[layer_name].x
    after = e.theirs[e.step - 1].buffers
    names = [f"{layer_name}.{what}" for what in ("running_mean", "running_var")]
    pairs = {n.rpartition(".")[2]: (before[n], after.get(n)) for n in names}
    return convention(x, pairs, norm.momentum, e.u)


def _of_rule(e: StepEvidence) -> tuple[tuple[str, ...], str]:
    """Try other rules on the candidate's own gradients, over all steps that it did."""
    steps = len(e.theirs)
    chosen = _telling(e)
    for rule in rules_near(e.rule):
        if rule == e.rule:
            continue
        if all(_follows(e, rule, name, steps) for name in chosen):
            words = rule.differences(e.rule)
            return tuple(words), f"In the optimiser, {'; and '.join(words)}."
    return (), "No known convention of the optimiser gives these parameters."


def _telling(e: StepEvidence) -> list[str]:
    """Return a few parameters of both kinds, small ones: rules are tried on them."""
    kinds: dict[bool, list[str]] = {True: [], False: []}
    for name in sorted(e.decays, key=lambda n: e.begun[n].size):
        if all(m.gradients.get(name) is not None for m in e.theirs) and e.begun[name].size > 1:
            kinds[e.decays[name]].append(name)
    return [*kinds[True][:3], *kinds[False][:3]]


def _follows(e: StepEvidence, rule: Rule, name: str, steps: int) -> bool:
    gradients = [m.gradients[name] for m in e.theirs[:steps]]
    path = rule.path(e.begun[name], gradients, e.rates[:steps], decays=e.decays[name])
    start = e.begun[name]
    for (theta, v), moment in zip(path, e.theirs, strict=False):
        kept = moment.momentum.get(name)
        if kept is not None and not _same(kept, v, CLOSE * e.u):
            return False
        got = moment.parameters[name]
        moved = float(np.abs(theta - start).max()) + float(np.abs(start).max())
        if float(np.abs(got - theta).max()) > CLOSE * e.u * moved:
            return False
    return True


def _same(got: Array, want: Array, tolerance: float) -> bool:
    largest = float(np.abs(want).max(initial=0.0))
    return bool(np.abs(got - want).max(initial=0.0) <= tolerance * largest + 1e-300)
