"""What a cross-check of a model found: layers beside layers, and the first that parts from the reference."""

from __future__ import annotations

import math
import textwrap
from dataclasses import asdict, dataclass, field
from typing import Any

from senumpy.verify.judgement import Judgement


@dataclass(frozen=True)
class Gap:
    """How far two arrays are apart.

    Attributes
    ----------
    error : float
        Largest difference relative to the largest entry of the reference's.
    units : float
        The difference in units of what rounding explains: right up to 1.
    what : str
        "y", "dx", "dweight", "running_var", ...: the result that is furthest off.
    """

    error: float
    units: float
    what: str = "y"

    @property
    def right(self) -> bool:
        """Whether rounding explains it."""
        return self.units <= 1.0


@dataclass(frozen=True)
class Row:
    """A layer of the table.

    Attributes
    ----------
    name, theirs : str
        The reference's name of it, and the candidate's.
    kind : str
        "conv2d", "batchnorm2d", ..., or the class of a block.
    block : bool
        Whether it is one of the network's repeated units.
    inner : bool
        Whether it lies inside such a unit.
    forward, backward, buffers : Gap or None
        None where nothing was compared.
    """

    name: str
    theirs: str
    kind: str
    block: bool
    inner: bool
    forward: Gap | None = None
    backward: Gap | None = None
    buffers: Gap | None = None

    @property
    def right(self) -> bool:
        """Whether rounding explains all that was compared."""
        return all(gap is None or gap.right for gap in (self.forward, self.backward, self.buffers))


@dataclass(frozen=True)
class Finding:
    """Where a candidate first parts from the reference, and why.

    Attributes
    ----------
    way : {"forward", "backward", "buffers"}
    layer, theirs : str
        The layer that was found at fault, or before which the fault lies; the candidate's name of it.
    gap : Gap
    judged : str
        What was judged alone: an operation's name, or a block's class; empty where nothing could be.
    mistakes : tuple of str
        Names of the mistakes that together give the candidate's numbers; empty where none is known to.
    alternatives : tuple of str
        Others that give the same numbers.
    text : str
        For the user.
    judgements : tuple of Judgement
        Of the operation alone.
    """

    way: str
    layer: str
    theirs: str
    gap: Gap
    judged: str
    mistakes: tuple[str, ...]
    text: str
    alternatives: tuple[str, ...] = ()
    judgements: tuple[Judgement, ...] = ()


@dataclass
class ModelReport:
    """A model beside the reference.

    Attributes
    ----------
    like : str
        The reference's name.
    settings : dict
        With which it was made.
    notes : list of str
        What was done to compare them: whose names, what was set.
    rows : list of Row
        Layers that were compared, in the order in which they run.
    findings : list of Finding
        At most one each for forward (after which nothing else is compared), backward and buffers.
    seconds : float
    """

    like: str
    settings: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        return self.text()

    @property
    def ok(self) -> bool:
        """The same as `passed`, as other reports call it."""
        return self.passed

    @property
    def passed(self) -> bool:
        """Whether nothing parts from the reference."""
        return not self.findings

    @property
    def finding(self) -> Finding | None:
        """The first finding."""
        return self.findings[0] if self.findings else None

    def text(self, width: int = 80, *, every: bool = False) -> str:
        """Return the table and the findings.

        Parameters
        ----------
        width : int
            Of the lines.
        every : bool
            Whether to list every layer, instead of blocks and the layers of the one at fault.
        """
        lines = [wrapped(note, width) for note in self.notes]
        lines += ["", *self._table(width, every), ""]
        for finding in self.findings:
            lines += [wrapped(f"{finding.way}: {finding.text}", width), *_judged(finding, width)]
        compared = f"{len(self.rows)} layers beside {self.like} in {self.seconds:.1f} s"
        if self.passed:
            lines.append(wrapped(f"right: {compared}, all within rounding", width))
        else:
            first = self.findings[0].layer
            lines.append(wrapped(f"wrong: {compared}; it parts from the reference at {first}", width))
        return "\n".join(lines).strip("\n")

    def _table(self, width: int, every: bool) -> list[str]:
        shown = [row for row in self.rows if every or self._shown(row)]
        room = max([8, *(len(row.name) for row in shown)])
        room = min(room, width - 52)
        head = f"{'layer':<{room}} {'kind':<16}{'forward':>9}{'units':>8}{'backward':>10}{'units':>8}"
        lines = [head, "-" * len(head)]
        for row in shown:
            cells = _cells(row.forward, 9) + _cells(row.backward, 10)
            mark = "" if row.right else " <"
            lines.append(f"{_fit(row.name, room):<{room}} {_fit(row.kind, 15):<16}{cells}{mark}".rstrip())
        hidden = len(self.rows) - len(shown)
        if hidden:
            lines.append(f"({hidden} layers inside blocks that are right are not shown)")
        return lines

    def _shown(self, row: Row) -> bool:
        if not row.inner or not row.right:
            return True
        blocks = [r.name for r in self.rows if r.block] + [f.layer for f in self.findings]
        at_fault = {f.layer for f in self.findings} | {r.name for r in self.rows if not r.right}
        mine = [b for b in blocks if row.name.startswith(f"{b}.")]
        if not blocks:
            return True
        return any(layer == b or layer.startswith(f"{b}.") for b in mine for layer in at_fault) or (
            not mine and any(layer.rpartition(".")[0] == row.name.rpartition(".")[0] for layer in at_fault)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON; infinities as the text "inf"."""
        return {
            "like": self.like,
            "settings": {name: _plain(value) for name, value in self.settings.items()},
            "notes": list(self.notes),
            "passed": self.passed,
            "seconds": round(self.seconds, 3),
            "layers": [_plain(asdict(row)) for row in self.rows],
            "findings": [_plain(asdict(finding)) for finding in self.findings],
        }


def _cells(gap: Gap | None, room: int) -> str:
    if gap is None:
        return f"{'-':>{room}}{'':>8}"
    return f"{number(gap.error):>{room}}{number(gap.units):>8}"


def number(value: float) -> str:
    """Return a number in at most seven characters."""
    if not math.isfinite(value):
        return "inf"
    return f"{value:.2f}" if 0.005 <= value < 1000 else f"{value:.1e}" if value else "0"


def _judged(finding: Finding, width: int) -> list[str]:
    """Return a line for each result that was judged alone; what a mistake explains is wrong."""
    levels = {"lossy": "wrong"} if finding.mistakes else {}
    return [
        wrapped(
            f"- {j.result} alone: {levels.get(j.level, j.level)}, error {number(j.max_error)}, "
            f"bound {number(j.bound)}",
            width,
        )
        for j in finding.judgements
    ]


def _fit(text: str, room: int) -> str:
    return text if len(text) <= room else f"...{text[len(text) - room + 3 :]}"


def wrapped(text: str, width: int) -> str:
    """Return a text in lines of at most `width` characters, further ones indented."""
    return textwrap.fill(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
