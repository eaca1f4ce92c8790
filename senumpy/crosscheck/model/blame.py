"""From the first layer that parts from the reference to the mistake: who is at fault, and what it did."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.crosscheck.model.beside import Ours, Parting, Theirs
from senumpy.crosscheck.model.between import between
from senumpy.crosscheck.model.replay import Alone, alone
from senumpy.crosscheck.model.report import Finding, number
from senumpy.crosscheck.model.running import running_finding
from senumpy.crosscheck.model.single import Verdict, judge_layer, judge_tail
from senumpy.crosscheck.model.trials import Twist, explain
from senumpy.layers import BatchNorm2d, Buffer, Conv2d, Linear, Parameter

Array = NDArray[Any]
_NO_MISTAKE = "No known mistake gives these numbers"


class Blame:
    """Judge layers of a candidate alone, on what they themselves took.

    Parameters
    ----------
    ours, theirs
        Both runs.
    started : dict
        The candidate's buffers before its run.
    """

    def __init__(self, ours: Ours, theirs: Theirs, started: dict[str, Array]):
        self.ours, self.theirs, self.started = ours, theirs, started
        self.layers = ours.layers()
        self.passages = ours.trace.passages()

    def finding(self, parting: Parting) -> Finding:
        """Return who is at fault, and why."""
        if parting.way == "buffers":
            return running_finding(parting, self.layers, self.theirs, self.passages, self.started)
        back = parting.way == "backward"
        own = self._alone(parting.name, back)
        if own is not None and own.wrong():
            return self._judged(parting, parting.name, own)
        # Right on its own input: the fault lies before it. The smallest wrong block around it is judged.
        for name in self._around(parting.name):
            held = self._alone(name, back)
            if held is not None and held.wrong():
                return self._judged(parting, name, held)
        return self._between(parting, own)

    def _alone(self, name: str, back: bool) -> Alone | None:
        seen, passage = self.theirs.seen.get(name), self.passages.get(name)
        if seen is None or passage is None or name not in self.layers:
            return None
        return alone(self.layers[name], seen, passage.x.shape, self.theirs.u, back=back)

    def _around(self, name: str) -> list[str]:
        parts = name.split(".")
        return [n for k in range(len(parts) - 1, 0, -1) if (n := ".".join(parts[:k])) in self.theirs.seen]

    def _judged(self, parting: Parting, name: str, held: Alone) -> Finding:
        """Judge one layer that is wrong on its own input."""
        back = parting.way == "backward"
        seen, layer = self.theirs.seen[name], self.layers[name]
        verdict = judge_layer(layer, seen, held.x.shape, back=back) or judge_tail(
            layer, self.theirs.seen, name, back=back
        )
        if verdict and all(j.level != "wrong" and j.level != "lossy" for j in verdict.judgements):
            verdict = None  # what is wrong lies in the block, but not in its end
        single = isinstance(layer, (Conv2d, Linear, BatchNorm2d))
        twists = [] if single and verdict and verdict.diagnosis.mistakes else explain(held, name)
        what = verdict.op if verdict and not (twists and not single) else type(layer).__name__
        mistakes, others, words = _named(verdict, twists)
        other = self._other_weights(name)
        if other:
            mistakes, others, words = ("other weights",), (), other
        names = held.wrong()
        wrong = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        where = f"{_both(name, seen.name)} is wrong on its own input: {wrong} off by {self._worst(held)}"
        if name != parting.name:
            first = _both(parting.name, self._their(parting.name))
            where = (
                f"{first} is the first to differ ({parting.gap.what}), and right on its own input; {where}"
            )
        return Finding(
            parting.way, name, seen.name, parting.gap, what, mistakes,
            f"{where}. {words}{self._uncalled(name, mistakes)}", others,
            verdict.judgements if verdict else (),
        )  # fmt: skip

    def _other_weights(self, name: str) -> str:
        """Return which of a layer's weights are not the reference's, where they may differ."""
        for inner, layer in self.layers[name].named_layers(name):
            for part, holder in [*layer._public(Parameter), *layer._public(Buffer)]:
                own = self.theirs.parameters.get(f"{inner}.{part}")
                if own is not None and not np.array_equal(own, holder.value):
                    count = int((own != holder.value).sum())
                    most = number(float(np.abs(own - holder.value).max()))
                    size = f"{count} entries, by up to {most}"
                    return f"Its {inner}.{part} is another than the reference's: {size}."
        return ""

    def _worst(self, held: Alone) -> str:
        name = max(held.wrong(), key=held.units)
        want, got = held.want.get(name), held.got[name]
        if got is None:
            return "all of it (no gradient arrives)"
        if want is None or want.size != got.size:
            return f"its shape: {got.shape}, wanted {None if want is None else want.shape}"
        largest = float(np.abs(want).max()) or 1.0
        return f"{number(float(np.abs(got.reshape(want.shape) - want).max()) / largest)} of the largest entry"

    def _between(self, parting: Parting, own: Alone | None) -> Finding:
        """No layer that can be judged is wrong: the fault lies between two."""
        name, seen = parting.name, self.theirs.seen.get(parting.name)
        found = between(parting, self.ours, self.theirs, self.layers)
        right = " (right on its own input)" if own is not None else ""
        shapes = ""
        passage = self.passages.get(name)
        if seen is not None and passage is not None and seen.x is not None and seen.x.size != passage.x.size:
            shapes = f"; its input has shape {seen.x.shape}, wanted {passage.x.shape}"
        label = _both(name, seen.name if seen else "") if name else "the logits"
        if parting.way == "forward":
            place = f"between {found.before} and {label}{right}" if found.before else f"before {label}{right}"
        else:
            place = f"behind {label}, on the way back to it{right}"
        text = f"The fault lies {place}, in no layer that can be seen alone{shapes}."
        text += f" {found.text or _NO_MISTAKE}.{self._uncalled(name.rpartition('.')[0], found.mistakes)}"
        return Finding(
            parting.way, name or "logits", seen.name if seen else "", parting.gap, found.op, found.mistakes,
            text, found.alternatives,
        )  # fmt: skip

    def _uncalled(self, name: str, mistakes: tuple[str, ...]) -> str:
        if mistakes:
            return ""
        idle = sorted(n for n in self.theirs.uncalled if n.startswith(f"{name}." if name else ""))
        return f" Never called there: {', '.join(idle[:4])}." if idle else ""

    def _their(self, name: str) -> str:
        seen = self.theirs.seen.get(name)
        return seen.name if seen else ""


def _named(
    verdict: Verdict | None, twists: list[tuple[Twist, ...]]
) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return the names of mistakes, of alternatives, and a sentence."""
    diagnosis = verdict.diagnosis if verdict else None
    banked = tuple(m.name for m in diagnosis.mistakes) if diagnosis else ()
    if twists:
        first, *others = twists
        text = " and: ".join(t.text for t in first) + "."
        same = [t.text for pair in others[:3] for t in pair] if len(first) == 1 else []
        if same:
            text += f" The same numbers: {'; '.join(same)}."
        names = tuple(t.name for t in first)
        rest = tuple(t.name for pair in others for t in pair)
        return names, (*rest, *(n for n in banked if n not in names)), text
    if diagnosis and banked:
        rest = tuple(m.name for pair in diagnosis.alternatives for m in pair)
        return banked, rest, diagnosis.text
    return (), (), diagnosis.text if diagnosis else f"{_NO_MISTAKE}."


def _both(name: str, theirs: str) -> str:
    return name if not theirs or theirs == name else f"{name} (there {theirs})"
