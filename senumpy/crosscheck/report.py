"""What a cross-check found: a table at 80 columns, the mistake, the smallest call that fails; JSON, JUnit."""

from __future__ import annotations

import json
import math
import textwrap
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from senumpy.crosscheck.script import Setting, script
from senumpy.verify.conduct import Conduct
from senumpy.verify.diagnosis import Diagnosis
from senumpy.verify.judgement import LEVELS, Judgement, Level
from senumpy.verify.outcome import Outcome, call_text, judgement_text


@dataclass
class ResultRow:
    """One result in one dtype, over all calls.

    Attributes
    ----------
    result, dtype : str
    calls : int
        How many were judged.
    level : {"exact", "accurate", "lossy", "wrong"}
        The worst.
    worst : Judgement
        The one with the largest error in units of its bound.
    typical_ulp : list of float
        By call, the median error in units of the last place.
    max_ulp : float
    call : str
        The worst judgement's call.
    """

    result: str
    dtype: str
    calls: int = 0
    level: Level = "exact"
    worst: Judgement | None = None
    typical_ulps: list[float] = field(default_factory=list)
    max_ulp: float = 0.0
    call: str = ""

    def add(self, judgement: Judgement, outcome: Outcome) -> None:
        """Count one call."""
        self.calls += 1
        self.level = max(self.level, judgement.level, key=LEVELS.index)
        self.typical_ulps.append(judgement.typical_ulp)
        self.max_ulp = max(self.max_ulp, judgement.max_ulp)
        if self.worst is None or judgement.ratio > self.worst.ratio:
            self.worst, self.call = judgement, call_text(outcome.call)

    @property
    def ratio(self) -> float:
        """Largest error in units of what rounding explains."""
        return 0.0 if self.worst is None else self.worst.ratio

    @property
    def typical_ulp(self) -> float:
        """Median over the calls of the median error in units of the last place."""
        return median(self.typical_ulps) if self.typical_ulps else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and strings; infinities as text."""
        worst = self.worst
        record = {
            "result": self.result,
            "dtype": self.dtype,
            "calls": self.calls,
            "level": self.level,
            "max_error_by_bound": self.ratio,
            "max_ulp": self.max_ulp,
            "typical_ulp": self.typical_ulp,
        }
        if worst is not None:
            record |= {
                "max_error": worst.max_error, "bound": worst.bound, "index": list(worst.index),
                "got": worst.got, "want": worst.want, "looks_like": worst.looks_like, "call": self.call,
            }  # fmt: skip
        return {key: _plain(value) for key, value in record.items()}


@dataclass
class Behaviour:
    """One kind of conduct, over all calls: the first of it, and how often."""

    conduct: Conduct
    outcome: Outcome
    count: int = 0


@dataclass(frozen=True)
class OpReport:
    """How an implementation of one operation compares with the reference.

    Attributes
    ----------
    op, label, framework : str
        The operation; the candidate.
    seed : int
        Drew the calls.
    accept : {"accurate", "lossy"}
        The worst level that passes.
    calls, near_kinks : int
        Calls tried; those among them whose gradients rounding makes undecidable.
    skipped : dict
        Calls that weren't for the candidate: how many by reason.
    stopped : str
        Why not all calls were tried; empty where they were.
    rows : tuple of ResultRow
    behaviour : tuple of Behaviour
        What it did besides giving right arrays.
    diagnosis : Diagnosis or None
        Which mistake explains wrong results; None where nothing is wrong.
    smallest : dict
        By fault, the smallest call that has it.
    setting : Setting
    seconds : float
        Wall-clock time.
    """

    op: str
    label: str
    framework: str
    seed: int
    accept: str
    calls: int
    near_kinks: int
    skipped: dict[str, int]
    stopped: str
    rows: tuple[ResultRow, ...]
    behaviour: tuple[Behaviour, ...]
    diagnosis: Diagnosis | None
    smallest: dict[str, Outcome]
    setting: Setting
    seconds: float

    @property
    def level(self) -> Level:
        """The worst level of all results."""
        return max((row.level for row in self.rows), key=LEVELS.index, default="exact")

    @property
    def verdict(self) -> str:
        """The level, or how the candidate misbehaved."""
        if self.behaviour and self.level in LEVELS[:2]:
            return ", ".join(dict.fromkeys(b.conduct.kind for b in self.behaviour))
        return self.level

    @property
    def ok(self) -> bool:
        """Whether every result is good enough and nothing else was found."""
        limit = LEVELS.index("lossy" if self.accept == "lossy" else "accurate")
        return not self.behaviour and LEVELS.index(self.level) <= limit

    @property
    def failure(self) -> Outcome | None:
        """The smallest call of the gravest fault; None where nothing is wrong."""
        if self.ok or not self.smallest:
            return None
        graves = ("wrong", "shape", "raised", "crashed", "lossy")
        order = {name: place for place, name in enumerate(graves)}
        fault = min(self.smallest, key=lambda f: (order.get(f.split()[0], len(order)), self.smallest[f].size))
        return self.smallest[fault]

    @property
    def script(self) -> str:
        """Python code that repeats the smallest failing call; empty where there is none."""
        failure = self.failure
        return "" if failure is None else script(failure.call, failure.dtype.name, self.setting)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, strings and finite numbers, ready for JSON."""
        failure = self.failure
        diagnosis = self.diagnosis
        return {
            "op": self.op,
            "candidate": self.label,
            "framework": self.framework,
            "ok": self.ok,
            "verdict": self.verdict,
            "level": self.level,
            "seed": self.seed,
            "calls": self.calls,
            "near_kinks": self.near_kinks,
            "skipped": self.skipped,
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
            "results": [row.to_dict() for row in self.rows],
            "conduct": [
                {
                    "kind": b.conduct.kind, "message": b.conduct.message, "result": b.conduct.result,
                    "calls": b.count, "call": call_text(b.outcome.call), "dtype": b.outcome.dtype.name,
                }
                for b in self.behaviour
            ],
            "diagnosis": None if diagnosis is None else {
                "mistakes": [m.name for m in diagnosis.mistakes],
                "alternatives": [[m.name for m in other] for other in diagnosis.alternatives],
                "results": list(diagnosis.results),
                "text": diagnosis.text,
            },
            "smallest_failure": None if failure is None else {
                "call": call_text(failure.call),
                "dtype": failure.dtype.name,
                "faults": list(failure.faults(self.accept)),
                "script": self.script,
            },
        }  # fmt: skip

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def __str__(self) -> str:
        return format_report(self)


def format_report(report: OpReport, width: int = 80) -> str:
    """Return a report as text of at most `width` columns; the script's lines may be longer."""
    lines = [f"{report.op} against {report.label} ({report.framework}): {report.verdict}"]
    if report.rows:
        lines.append("  result       dtype    verdict   max error/bound    max ulp  typical ulp  calls")
    for row in report.rows:
        lines.append(
            f"  {row.result:<12} {row.dtype:<8} {row.level:<9} {_short(row.ratio):>15} "
            f"{_short(row.max_ulp):>10} {_short(row.typical_ulp):>12} {row.calls:>6}"
        )
    texts = [f"{b.conduct.kind}, in {_count(b.count, 'call')}: {b.conduct.message}" for b in report.behaviour]
    texts += [
        f"{row.result} ({row.dtype}) looks like {row.worst.looks_like}"
        for row in report.rows
        if row.level == "lossy" and row.worst is not None and row.worst.looks_like
    ]
    if report.diagnosis is not None:
        texts.append(f"diagnosis: {report.diagnosis.text}")
    texts += [f"left out, {_count(count, 'call')}: {reason}" for reason, count in report.skipped.items()]
    if report.near_kinks:
        texts.append(
            f"{_count(report.near_kinks, 'call')} within rounding of a kink: gradients not judged there"
        )
    texts += [report.stopped] if report.stopped else []
    lines += _wrapped(texts, width)
    lines.append(f"  {_count(report.calls, 'call')}, seed {report.seed}, {report.seconds:.1f} s")
    if report.failure is not None:
        lines += _failure_lines(report, report.failure, width)
    return "\n".join(lines)


def _failure_lines(report: OpReport, failure: Outcome, width: int) -> list[str]:
    lines = ["", "the smallest call that fails:"]
    shown = [f"{failure.dtype}: {call_text(failure.call)}"]
    shown += [judgement_text(j) for j in failure.judgements if j.level in LEVELS[2:]]
    shown += [f"{c.kind}: {c.message}" for c in failure.conduct]
    return [*lines, *_wrapped(shown, width), "", "to repeat it:", "", textwrap.indent(report.script, "    ")]


def _wrapped(texts: list[str], width: int) -> list[str]:
    lines: list[str] = []
    for text in texts:
        lines += textwrap.wrap(
            text, width, initial_indent="  - ", subsequent_indent="    ", break_long_words=False
        )
    return lines


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _short(value: float) -> str:
    if value == 0 or math.isinf(value) or math.isnan(value):
        return f"{value:g}"
    return f"{value:.2f}" if 0.01 <= value < 1000 else f"{value:.1e}"


def _plain(value: Any) -> Any:
    """Return floats that JSON lacks as text."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
