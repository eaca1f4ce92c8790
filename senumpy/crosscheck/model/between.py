"""Between two layers: operations without parameters, which nothing but their effect shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.beside import Ours, Parting, Theirs
from senumpy.crosscheck.model.recording import Record, RecordingEngine
from senumpy.crosscheck.model.replay import error, explained
from senumpy.engines import Engine
from senumpy.layers import Layer

Array = NDArray[Any]
_POOLS = tuple(
    {"kernel": k, "stride": s, "padding": p, "ceil_mode": c}
    for k in (3, 2) for s in (2, 1) for p in (0, 1) for c in (False, True)
)  # fmt: skip
_PLAIN = (
    "relu", "max_pool2d", "avg_pool2d", "global_avg_pool", "global_max_pool", "dropout", "channel_shuffle",
    "sigmoid", "tanh",
)  # fmt: skip


@dataclass(frozen=True)
class Between:
    """What lies between two layers: the one before, the operation that is wrong there, and how."""

    before: str = ""
    op: str = ""
    mistakes: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    text: str = ""


def between(parting: Parting, ours: Ours, theirs: Theirs, layers: dict[str, Layer]) -> Between:
    """Try other operations between the first layer that differs and the one before it, forward.

    Parameters
    ----------
    parting : Parting
    ours, theirs
        Both runs.
    layers : dict
        Ours, by name.
    """
    seen = theirs.seen.get(parting.name)
    passage = ours.trace.passages().get(parting.name)
    if parting.way != "forward" or seen is None or seen.x is None or passage is None:
        return Between()
    chain = _chain(ours.trace.records, passage.x)
    start = chain[0].args[0] if chain else passage.x
    before = next((p.name for p in ours.trace.forward if p.y is start and p.name in theirs.seen), "")
    given = theirs.seen[before].y if before else None
    if not chain or given is None or given.size != start.size:
        return Between(before)
    given, wanted = given.reshape(start.shape).astype(np.float64), seen.x
    plain = _run([(r.op, r.kwargs) for r in chain], given)
    if plain is not None and error(wanted, plain) <= explained(plain, [], theirs.u):
        return Between(before)  # what lies between is right
    fits = []
    for op, name, text, steps in _variants(chain):
        found = _run(steps, given)
        noisy = _run(steps, RecordingEngine(u=theirs.u, seed=1).off(given))
        if found is None or noisy is None:
            continue
        if error(wanted, found) <= explained(found, [noisy], theirs.u):
            fits.append((op, name, text))
    if not fits:
        return Between(before)
    (op, name, text), *others = fits
    return Between(before, op, (name,), tuple(other[1] for other in others), text)


def _chain(records: list[Record], x: Array) -> list[Record]:
    """Return the operations without parameters that led to `x`, in order."""
    made = {id(r.y): r for r in records}
    chain: list[Record] = []
    while id(x) in made and made[id(x)].op in _PLAIN:
        chain.insert(0, made[id(x)])
        x = chain[0].args[0]
    return chain


def _variants(chain: list[Record]) -> Any:
    """Yield (operation, name, text, steps) with one operation of the chain left out or done otherwise."""
    steps = [(r.op, r.kwargs) for r in chain]
    for k, (op, kwargs) in enumerate(steps):
        before, after = steps[:k], steps[k + 1 :]
        words = op.replace("2d", "").replace("_", " ").replace("relu", "ReLU")
        yield op, f"missing {words}", f"The {words} there is missing", [*before, *after]
        if op == "max_pool2d":
            for other in _POOLS:
                if other != {**other, **kwargs}:
                    differs = ", ".join(
                        f"{n} {v} instead of {kwargs.get(n)}" for n, v in other.items() if v != kwargs.get(n)
                    )
                    yield op, "other max pool", f"The max pool has {differs}", [*before, (op, other), *after]
                average = {**other, "count_include_pad": True}
                text = f"An average pool (kernel {other['kernel']}) stands for the max pool"
                yield op, "average pool", text, [*before, ("avg_pool2d", average), *after]
        if op.startswith("global_"):
            other_op = "global_max_pool" if op == "global_avg_pool" else "global_avg_pool"
            yield op, other_op, f"A {other_op.replace('_', ' ')} stands for the {words}", [
                *before, (other_op, {}), *after
            ]  # fmt: skip
    for k in range(len(steps) + 1):
        yield "relu", "extra relu", "There is a ReLU too many", [*steps[:k], ("relu", {}), *steps[k:]]


def _run(steps: list[tuple[str, dict[str, Any]]], x: Array) -> Array | None:
    engine = Engine()
    try:
        for op, kwargs in steps:
            x = getattr(engine, f"{op}_forward")(x, **kwargs)[0]
    except (TypeError, ValueError):
        return None
    return np.asarray(x)
