"""Whose weights are whose in a graph without names: by kind, shape, and what else takes the same input."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from senumpy.crosscheck.model.names import Match
from senumpy.crosscheck.model.onnx_side import OnnxTrace, WeightNode
from senumpy.crosscheck.model.recording import Passage, record
from senumpy.models import create_model


def in_order(
    like: str, found: Match, trace: OnnxTrace, nodes: dict[str, WeightNode], shapes: Mapping[str, Any]
) -> dict[str, str]:
    """Return sources like `names.by_order`, but with layers told apart by their neighbours.

    Parameters
    ----------
    like, found
        The network, and the match by order and shape.
    trace : OnnxTrace
    nodes : dict
        By the prefix of the names in `shapes`; one with "+" is the batch norm folded into the node before.
    shapes : dict
        Of the file's arrays.
    """
    model = create_model(like, blank=True, dtype="float32", **found.settings)
    model.eval()
    size = trace.tensors[next(iter(nodes.values())).source].shape
    with np.errstate(all="ignore"):
        run = record(model, np.zeros(size, np.float32), None)
    mine = _ours(run.forward, {n: tuple(h.value.shape) for n, h in model.named_parameters()})
    theirs = _theirs(nodes, shapes)
    waiting: dict[Any, list[str]] = defaultdict(list)
    for key, prefix in theirs:
        waiting[key].append(prefix)
    chosen = {layer: waiting[key].pop(0) for key, layer in mine if waiting[key]}
    sources = dict(found.sources)
    if len(chosen) != len(mine):
        return sources
    for name in sources:
        layer, _, role = name.rpartition(".")
        convolution = chosen.get(layer) or chosen.get(_before(run.forward, layer), "")
        prefix = convolution if layer in chosen else f"{convolution}+"
        if f"{prefix}.{role}" in shapes:
            sources[name] = f"{prefix}.{role}"
        elif layer not in chosen:  # a batch norm of its own: it takes what the convolution gives
            norm = next(
                (p for p, n in nodes.items() if n.kind == "norm" and n.source == nodes[convolution].result),
                "",
            )
            sources[name] = f"{norm}.{role}"
    return sources


def _before(forward: list[Passage], layer: str) -> str:
    """Return the layer whose result another one takes."""
    x = next(p.x for p in forward if p.name == layer)
    return next((p.name for p in forward if p.leaf and p.y is x), "")


def _ours(forward: list[Passage], shapes: Mapping[str, Any]) -> list[tuple[Any, str]]:
    leaves = [p for p in forward if p.leaf and len(shapes.get(f"{p.name}.weight", ())) > 1]
    groups: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for p in leaves:
        groups[id(p.x)].append(_flat(shapes[f"{p.name}.weight"]))
    return [((_flat(shapes[f"{p.name}.weight"]), tuple(sorted(groups[id(p.x)]))), p.name) for p in leaves]


def _theirs(nodes: dict[str, WeightNode], shapes: Mapping[str, Any]) -> list[tuple[Any, str]]:
    leaves = {p: n for p, n in nodes.items() if n.kind != "norm" and not p.endswith("+")}
    groups: dict[str, list[tuple[int, ...]]] = defaultdict(list)
    for prefix, node in leaves.items():
        groups[node.source].append(_flat(shapes[f"{prefix}.weight"]))
    return [((_flat(shapes[f"{p}.weight"]), tuple(sorted(groups[n.source]))), p) for p, n in leaves.items()]


def _flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[:2] if shape[2:] == (1, 1) else shape
