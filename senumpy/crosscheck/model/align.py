"""Modules of a PyTorch network, and layers of ours: which is which."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.beside import Theirs
from senumpy.crosscheck.model.recording import Passage, Trace
from senumpy.crosscheck.model.replay import Seen
from senumpy.crosscheck.model.torch_side import Call, TorchTrace
from senumpy.layers import AvgPool2d, GlobalAvgPool, Layer, MaxPool2d

Array = NDArray[Any]
_PLAIN = {MaxPool2d: "MaxPool2d", AvgPool2d: "AvgPool2d", GlobalAvgPool: "AdaptiveAvgPool2d"}


def aligned(
    ours: Trace, layers: dict[str, Layer], trace: TorchTrace, net: Any, sources: dict[str, str], u: float
) -> Theirs:
    """Return a PyTorch run in terms of our names.

    A layer with parameters is the module that holds them; a block is a module that holds the same parameters
    as ours; pools are matched by their order if there are equally many.

    Parameters
    ----------
    ours : Trace
    layers : dict
        Ours, by name.
    trace : TorchTrace
    net : torch.nn.Module
    sources : dict
        For each of our names, the candidate's.
    u : float
        Unit roundoff of the candidate's arithmetic.
    """
    theirs = Theirs({}, trace.logits, u)
    if _went_back(trace):
        theirs.gradients = {n: trace.gradients[s] for n, s in sources.items() if s in trace.gradients}
    theirs.buffers = {n: trace.buffers[s] for n, s in sources.items() if s in trace.buffers}
    modules = dict(net.named_modules())
    blocks: dict[frozenset[str], list[str]] = {}
    for name, module in modules.items():
        held = frozenset(f"{name}.{n}" if name else n for n, _ in module.named_parameters())
        blocks.setdefault(held, []).append(name)
    of_kind = _by_kind(trace, modules)
    taken: dict[str, int] = {}
    for passage in sorted(ours.forward, key=lambda p: p.name.count(".")):  # outer before inner
        if passage.name in theirs.seen:
            continue
        layer = layers[passage.name]
        names = [n for n, _ in layer.named_parameters()]
        if names and passage.leaf:
            module_name = _holder(passage.name, names, sources, modules)
        elif names:
            module_name = _block(passage, names, sources, blocks, trace, taken)
        else:
            queue = of_kind.get(_PLAIN.get(type(layer), ""), [])
            module_name = (
                queue.pop(0) if queue and _as_many(ours, layers, type(layer), queue, taken) else None
            )
        if module_name is None:
            continue
        calls = trace.calls.get(module_name)
        if not calls:
            theirs.uncalled.add(passage.name)
            continue
        theirs.seen[passage.name] = _seen(module_name, calls[0], passage.name, names, theirs.gradients)
    return theirs


def _went_back(trace: TorchTrace) -> bool:
    return any(gradient is not None for gradient in trace.gradients.values())


def _seen(module: str, call: Call, name: str, names: list[str], gradients: dict[str, Any]) -> Seen:
    found = {n: gradients[f"{name}.{n}"] for n in names if f"{name}.{n}" in gradients}
    return Seen(module, call.x, call.y, call.dy, call.dx, found)


def _holder(name: str, names: list[str], sources: dict[str, str], modules: dict[str, Any]) -> str | None:
    """Return the module that holds just the parameters of one of our layers."""
    mapped = {sources[f"{name}.{n}"] for n in names}
    owners = {source.rpartition(".")[0] for source in mapped}
    if len(owners) != 1:
        return None
    owner = owners.pop()
    if any(type(child).__name__ != "Identity" for child in modules[owner].children()):
        return None  # such as timm's batch norm with its activation: its result is another
    weights = [n for n, p in modules[owner].named_parameters() if p.ndim > 1]
    whole = len(weights) <= 1 and all(
        f"{owner}.{n}" in mapped or n == "bias" for n, _ in modules[owner].named_parameters()
    )
    return owner if whole else None


def _block(
    passage: Passage,
    names: list[str],
    sources: dict[str, str],
    blocks: dict[frozenset[str], list[str]],
    trace: TorchTrace,
    taken: dict[str, int],
) -> str | None:
    """Return the outermost module with just these parameters, and results of our block's size."""
    mapped = frozenset(sources[f"{passage.name}.{n}"] for n in names)
    found = next((b for held, b in blocks.items() if mapped <= held and _only_spare(held - mapped)), [])
    free = [b for b in found if b not in taken]
    fitting = [b for b in free if b in trace.calls and _fits(trace.calls[b][0], passage)]
    chosen = next(iter(fitting or free), None)
    if chosen is not None:
        taken[chosen] = 1
    return chosen


def _only_spare(extra: frozenset[str]) -> bool:
    return all(name.endswith(".bias") for name in extra)


def _fits(call: Call, passage: Passage) -> bool:
    return (
        call.x is not None and call.y is not None
        and call.x.size == passage.x.size and call.y.size == passage.y.size
    )  # fmt: skip


def _by_kind(trace: TorchTrace, modules: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in trace.order:
        found.setdefault(type(modules[name]).__name__, []).append(name)
    return found


def _as_many(
    ours: Trace, layers: dict[str, Layer], kind: Any, queue: list[str], taken: dict[str, int]
) -> bool:
    """Return whether both sides have equally many layers of a kind."""
    key = f"kind {kind.__name__}"
    if key not in taken:
        own = {p.name for p in ours.forward if isinstance(layers[p.name], kind)}
        taken[key] = int(len(own) == len(queue))
    return bool(taken[key])


def spread(theirs: Theirs, ours: Trace) -> None:
    """Add what follows from the flow of arrays: what enters one of our blocks enters its first layer.

    For candidates whose blocks are no modules of their own, and for graphs.
    """
    tensors: dict[int, Array] = {}
    for passage in ours.forward:
        seen = theirs.seen.get(passage.name)
        if seen is not None:
            for array, other in ((passage.x, seen.x), (passage.y, seen.y)):
                if other is not None and other.size == array.size:
                    tensors.setdefault(id(array), other)
    for passage in ours.forward:
        if passage.name not in theirs.seen and not passage.leaf:
            x, y = tensors.get(id(passage.x)), tensors.get(id(passage.y))
            if y is not None:
                theirs.seen[passage.name] = Seen("", x, np.asarray(y))
