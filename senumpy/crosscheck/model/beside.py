"""Two runs side by side: every layer's results, each way, up to the first that parts from the reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.recording import Passage, Trace
from senumpy.crosscheck.model.replay import Results, Seen, error, explained
from senumpy.crosscheck.model.report import Gap, Row
from senumpy.layers import (
    BatchNorm2d,
    Conv2d,
    InceptionModule,
    InceptionResidual,
    Layer,
    Linear,
    PreActivation,
    Residual,
    ShakeShake,
    ShuffleUnit,
)
from senumpy.models import Network
from senumpy.models.mobilenet import SeparableBlock

Array = NDArray[Any]
BLOCKS = (
    Residual,
    PreActivation,
    ShakeShake,
    ShuffleUnit,
    InceptionModule,
    InceptionResidual,
    SeparableBlock,
)
_KINDS = {Conv2d: "conv2d", BatchNorm2d: "batchnorm2d", Linear: "linear"}


@dataclass
class Theirs:
    """The candidate's run, in terms of the reference's names.

    Attributes
    ----------
    seen : dict
        By our layer's name, what the candidate's took and gave.
    gradients : dict
        By our parameter's name; None for one that got none. Empty without a backward.
    buffers : dict
        By our buffer's name, after the run. Empty where they are not compared.
    logits : array
    u : float
        Unit roundoff of its arithmetic.
    uncalled : set of str
        Our names of layers whose parameters it has in a module that never ran.
    parameters : dict
        Its own, where the reference has others.
    """

    seen: dict[str, Seen]
    logits: Array
    u: float
    gradients: Results = field(default_factory=dict)
    buffers: dict[str, Array] = field(default_factory=dict)
    uncalled: set[str] = field(default_factory=set)
    parameters: dict[str, Array] = field(default_factory=dict)


class Parting(NamedTuple):
    """The first layer that parts from the reference."""

    way: str
    name: str
    gap: Gap


@dataclass
class Ours:
    """The reference's run, and others whose numbers were put off by rounding."""

    model: Network
    trace: Trace
    noisy: list[Trace]

    def layers(self) -> dict[str, Layer]:
        """Return layers by name."""
        return dict(self.model.named_layers())


def gap(got: Array | None, want: Array, noisy: list[Array], u: float, what: str) -> Gap:
    """Measure how far an array is from the reference's."""
    if got is None and not np.any(want):
        return Gap(0.0, 0.0, what)
    apart = error(got, want)
    largest = float(np.abs(want).max(initial=0.0))
    return Gap(apart / largest if largest else apart, apart / explained(want, noisy, u), what)


class Beside:
    """Compare a candidate's run with the reference's.

    Attributes
    ----------
    rows : list of Row
        What was compared.
    partings : list of Parting
        The first each way, in the order forward, backward, buffers; a forward that parts is the only one.
    """

    def __init__(self, ours: Ours, theirs: Theirs):
        self.ours, self.theirs = ours, theirs
        self.partings: list[Parting] = []
        self._forward: dict[str, Gap] = {}
        self._backward: dict[str, Gap] = {}
        self._buffers: dict[str, Gap] = {}
        layers = ours.layers()
        blocks = [name for name, layer in layers.items() if isinstance(layer, BLOCKS)]
        # Rows of blocks: their last one says the same.
        self._stages = {
            name
            for name, layer in layers.items()
            if not isinstance(layer, BLOCKS) and any(b.startswith(f"{name}.") for b in blocks)
        }
        if self._go_forward():
            if theirs.gradients:
                self._go_backward()
            if theirs.buffers:
                self._compare_buffers()
        self.rows = self._rows()

    def _go_forward(self) -> bool:
        for k, passage in enumerate(self.ours.trace.forward):
            seen = self.theirs.seen.get(passage.name)
            if (
                seen is None
                or seen.y is None
                or passage.name in self._forward
                or passage.name in self._stages
            ):
                continue
            noisy = [trace.forward[k].y for trace in self.ours.noisy]
            found = gap(seen.y, passage.y, noisy, self.theirs.u, "y")
            self._forward[passage.name] = found
            if not found.right:
                self.partings.append(Parting("forward", passage.name, found))
                return False
        noisy = [trace.logits for trace in self.ours.noisy]
        found = gap(self.theirs.logits, self.ours.trace.logits, noisy, self.theirs.u, "y")
        if not found.right:
            self.partings.append(Parting("forward", "", found))
        return found.right

    def _go_backward(self) -> None:
        for k, passage in enumerate(self.ours.trace.backward):
            seen = self.theirs.seen.get(passage.name)
            if seen is None or passage.name in self._backward or passage.name in self._stages:
                continue
            gaps = self._backward_gaps(k, passage, seen)
            if gaps:
                first = next((g for g in gaps if not g.right), None)
                self._backward[passage.name] = first or max(gaps, key=lambda g: g.units)
                if first is not None:
                    self.partings.append(Parting("backward", passage.name, first))
                    return
        for name, want in self.ours.trace.gradients.items():  # of layers that can't be seen
            noisy = [trace.gradients[name] for trace in self.ours.noisy]
            found = gap(
                self.theirs.gradients.get(name), want, noisy, self.theirs.u, f"d{name.rpartition('.')[2]}"
            )
            if not found.right:
                self.partings.append(Parting("backward", name.rpartition(".")[0], found))
                return

    def _backward_gaps(self, k: int, passage: Passage, seen: Seen) -> list[Gap]:
        """Return what can be compared of a layer's way back: first what reaches it."""
        gaps = []

        def add(what: str, got: Array | None, want: Any, noisy: list[Any]) -> None:
            gaps.append(gap(got, want, noisy, self.theirs.u, what))

        others = [trace.backward[k] for trace in self.ours.noisy]
        if (
            passage.leaf
            and passage.dy is not None
            and (seen.dy is not None or self._parameters(passage.name))
        ):
            add("dy", seen.dy, passage.dy, [p.dy for p in others])
        if passage.leaf:
            for name in self._parameters(passage.name):
                want = self.ours.trace.gradients[name]
                noisy = [trace.gradients[name] for trace in self.ours.noisy]
                add(f"d{name.rpartition('.')[2]}", self.theirs.gradients.get(name), want, noisy)
        # Who strides before a convolution instead of in it has another input: only results are compared then.
        if seen.dx is not None and passage.dx is not None and seen.dx.size == passage.dx.size:
            add("dx", seen.dx, passage.dx, [p.dx for p in others])
        return gaps

    def _parameters(self, layer: str) -> list[str]:
        return [name for name in self.ours.trace.gradients if name.rpartition(".")[0] == layer]

    def _compare_buffers(self) -> None:
        found_one = False
        for name, want in self.ours.trace.buffers.items():
            layer, _, what = name.rpartition(".")
            noisy = [trace.buffers[name] for trace in self.ours.noisy]
            found = gap(self.theirs.buffers.get(name), want, noisy, self.theirs.u, what)
            before = self._buffers.get(layer)
            if before is None or found.units > before.units:
                self._buffers[layer] = found
            if not found.right and not found_one:
                found_one = True
                self.partings.append(Parting("buffers", layer, found))

    def _rows(self) -> list[Row]:
        layers = self.ours.layers()
        rows: list[Row] = []
        for passage in self.ours.trace.forward:
            name = passage.name
            if name not in self._forward or any(row.name == name for row in rows):
                continue
            layer = layers[name]
            kind = _KINDS.get(type(layer), type(layer).__name__)
            outer = [
                n for n, other in layers.items() if isinstance(other, BLOCKS) and name.startswith(f"{n}.")
            ]
            rows.append(
                Row(
                    name, self.theirs.seen[name].name, kind, isinstance(layer, BLOCKS),
                    bool(outer) or (passage.leaf and self._has_aligned_block(name)),
                    self._forward[name], self._backward.get(name), self._buffers.get(name),
                )
            )  # fmt: skip
        return rows

    def _has_aligned_block(self, name: str) -> bool:
        """Return whether a leaf lies inside a block that is compared as a whole."""
        parts = name.split(".")
        return any(".".join(parts[:k]) in self._forward for k in range(1, len(parts)))
