"""The report on a folder of answers: a table, then the reasons."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from senumpy.verify.judgement import LEVELS, Judgement

_WIDTH = 80
_SHOWN = 3  # wrong results of an operation that are written out; the JSON has all


@dataclass(frozen=True)
class Finding:
    """What can't be judged: a broken file, a tensor that is missing or of another kind.

    Attributes
    ----------
    case, tensor : str
        Where; may be empty.
    message : str
        One line that names the file and the field.
    """

    case: str
    tensor: str
    message: str


@dataclass(frozen=True)
class Judged:
    """The judgement of one result of one case."""

    case: str
    judgement: Judgement


@dataclass
class Group:
    """All cases of an operation in a dtype.

    Attributes
    ----------
    op, dtype : str
    cases, answered : int
    missing : list of str
        Cases without an answer.
    absent : list of str
        Results that no answer has: what was not begun.
    judged : list of Judged
    mixed_up : dict
        Cases whose answer is that to another case.
    misshapen : list of str
        Cases of which a result has another shape.
    """

    op: str
    dtype: str
    cases: int
    answered: int
    missing: list[str]
    absent: list[str] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    mixed_up: dict[str, str] = field(default_factory=dict)
    misshapen: list[str] = field(default_factory=list)

    @property
    def worst(self) -> float:
        """Largest error in units of its bound."""
        return max((judged.judgement.ratio for judged in self.judged), default=0.0)

    def of_level(self, level: str) -> list[Judged]:
        """Return the results of a level, the worst first."""
        found = [judged for judged in self.judged if judged.judgement.level == level]
        return sorted(found, key=lambda judged: -judged.judgement.ratio)


@dataclass
class GoldenReport:
    """What `check_golden` found; ``str(report)`` is a text of 80 columns.

    Attributes
    ----------
    folder, reference : str
        What was judged, and by what.
    accept : {"accurate", "lossy"}
        The worst level that is no failure.
    groups : list of Group
    findings : list of Finding
    untouched : list of (op, dtype)
        What has cases and no answers: no failure.
    diagnoses : dict
        By (op, dtype), what explains wrong results.
    """

    folder: str
    reference: str
    accept: str = "accurate"
    groups: list[Group] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    untouched: list[tuple[str, str]] = field(default_factory=list)
    diagnoses: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether no result is beyond `accept`, and nothing broken, or missing from what was begun."""
        bad = ("wrong",) if self.accept == "lossy" else ("wrong", "lossy")
        failed = any(group.missing or any(map(group.of_level, bad)) for group in self.groups)
        return not failed and not self.findings

    def find(self, finding: Finding) -> None:
        """Add a finding, once."""
        if all(finding.message != other.message for other in self.findings):
            self.findings.append(finding)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, for JSON; numbers that are not finite are None."""
        return {
            "folder": self.folder,
            "reference": self.reference,
            "ok": self.ok,
            "groups": [self._group_dict(group) for group in self.groups],
            "findings": [dict(vars(finding)) for finding in self.findings],
            "untouched": [{"op": op, "dtype": dtype} for op, dtype in self.untouched],
        }

    def _group_dict(self, group: Group) -> dict[str, Any]:
        results = [
            {"case": judged.case} | {name: _plain(value) for name, value in vars(judged.judgement).items()}
            for judged in group.judged
        ]
        return {
            "op": group.op,
            "dtype": group.dtype,
            "cases": group.cases,
            "answered": group.answered,
            "missing": group.missing,
            "not_answered": group.absent,
            "answers_of_another_case": group.mixed_up,
            "diagnosis": self.diagnoses.get((group.op, group.dtype), ""),
            "results": results,
        }

    def __str__(self) -> str:
        lines = [_fold(f"{self.folder}, judged by {self.reference}"), ""]
        lines += [*self._table(), *self._reasons(), "", self._verdict()]
        return "\n".join(lines)

    def _table(self) -> Iterator[str]:
        levels = "".join(f"{level:>9}" for level in LEVELS)
        yield f"{'operation':<23} {'dtype':<8}{'cases':>6}{levels}{'of bound':>9}"
        for group in self.groups:
            counts = "".join(f"{len(group.of_level(level)) or '-':>9}" for level in LEVELS)
            cases = f"{group.answered}/{group.cases}"
            yield f"{group.op:<23} {group.dtype:<8}{cases:>6}{counts}{_ratio(group.worst):>9}".rstrip()

    def _reasons(self) -> Iterator[str]:
        for group in self.groups:
            lines = [*self._of_group(group)]
            if lines:
                yield ""
                yield from lines
        if self.findings:
            yield ""
            yield from (_fold(finding.message) for finding in self.findings)
        if self.untouched:
            count = Counter(op for op, _ in self.untouched)
            parts = [op if n == 2 else f"{op} {d}" for op, d in self.untouched for n in [count[op]]]
            yield ""
            yield _fold(f"no answers, which is no failure: {', '.join(dict.fromkeys(parts))}")

    def _of_group(self, group: Group) -> Iterator[str]:
        title = f"{group.op} {group.dtype}"
        for level in ("wrong", "lossy"):
            found = [judged for judged in group.of_level(level) if judged.case not in group.mixed_up]
            for judged in found[:_SHOWN]:
                yield _fold(f"{judged.case}: {_described(judged.judgement)}")
            if len(found) > _SHOWN:
                yield _fold(f"{title}: {len(found) - _SHOWN} more results are {level}")
        for case, other in group.mixed_up.items():
            yield _fold(f"{case}: its results are those of {other}: files interchanged?")
        if (group.op, group.dtype) in self.diagnoses:
            yield _fold(f"{title}: {self.diagnoses[group.op, group.dtype]}")
        if group.missing:
            yield _fold(f"{title}: {len(group.missing)} cases have no answer: {', '.join(group.missing)}")
        if group.absent:
            yield _fold(f"{title}: no case answers {', '.join(group.absent)}, which is no failure")

    def _verdict(self) -> str:
        judged = [one for group in self.groups for one in group.judged]
        counts = Counter(one.judgement.level for one in judged)
        parts = [f"{counts[level]} {level}" for level in LEVELS if counts[level]]
        missing = sum(len(group.missing) for group in self.groups)
        parts += [f"{missing} cases missing"] * bool(missing)
        parts += [f"{len(self.findings)} findings"] * bool(self.findings)
        state = "passed" if self.ok else "FAILED"
        return _fold(f"{state}: {len(judged)} results: {', '.join(parts) or 'nothing judged'}")


def _described(judgement: Judgement) -> str:
    at = f" at {judgement.index}" if judgement.index else ""
    text = f"{judgement.result} is {judgement.level}: {judgement.got:.9g}{at}, wanted {judgement.want:.9g}"
    if math.isfinite(judgement.max_error):
        text += f"; off by {judgement.max_error:.2g}, {_ratio(judgement.ratio)} of what rounding explains"
    return f"{text}; {judgement.looks_like}" if judgement.looks_like else text


def _ratio(ratio: float) -> str:
    """Return a share of the bound: 0.31, 12, 3e+07."""
    if not math.isfinite(ratio):
        return "-" if math.isnan(ratio) else "inf"
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}" if ratio < 1e5 else f"{ratio:.0e}"


def _fold(text: str) -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value
