"""What a check found, as frozen records that print at 80 columns and turn into JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["passed", "failed", "vacuous"]


@dataclass(frozen=True)
class ArgumentResult:
    """The gradient of one argument against numerical derivatives.

    Attributes
    ----------
    name : str
        The argument; ``xs[1]`` is the second array of a list.
    verdict : {"passed", "failed", "vacuous"}
        Vacuous: the true gradient is zero for every upstream gradient tried, so nothing could be seen.
    method : str
        Where the expected values come from: "complex step" or "central differences".
    error, tolerance : float
        Largest |got - expected| relative to the largest expected value, and what rounding and truncation
        explain of it.
    central_error : float or None
        The same by central differences, the second opinion; None where every direction was at a kink.
    kinks : int
        Directions along which the input is at a kink; there the value has to lie between the one-sided
        derivatives.
    coverage : float
        Part of the coordinates tried in which the expected gradient isn't zero.
    index : tuple of int or None
        Worst coordinate; None where only a direction that mixes coordinates failed.
    direction, upstream : str
        The direction and the upstream gradient of the worst value.
    expected, got : float
        Directional derivative there (a partial derivative where `index` is given).
    ratio : float or None
        got / expected; None where the expected value is zero.
    hint : str
        What the numbers look like, such as "every entry has the wrong sign"; may be empty.
    """

    name: str
    verdict: Verdict
    method: str
    error: float
    tolerance: float
    central_error: float | None
    kinks: int
    coverage: float
    index: tuple[int, ...] | None
    direction: str
    upstream: str
    expected: float
    got: float
    ratio: float | None
    hint: str = ""

    @property
    def explanation(self) -> str:
        """One line for a gradient that is wrong or can't be seen; empty for one that passed."""
        if self.verdict == "vacuous":
            return f"d{self.name}: the true gradient is zero for every upstream gradient tried"
        if self.verdict == "passed":
            return ""
        where = self.direction if self.index is None else f"at {self.index}"
        ratio = "" if self.ratio is None else f", ratio {self.ratio:.6g}"
        hint = f": {self.hint}" if self.hint else ""
        return f"d{self.name} {where}: expected {self.expected:.9g}, got {self.got:.9g}{ratio}{hint}"


@dataclass(frozen=True)
class Finding:
    """One yes-or-no check: purity, the contract of the results, agreement with the reference forward."""

    check: str
    verdict: Verdict
    message: str = ""


@dataclass(frozen=True)
class Report:
    """The result of checking one pair of functions.

    Attributes
    ----------
    subject : str
        Name of what was checked.
    arguments : tuple of ArgumentResult
        One an argument; empty where the functions could not be run at all.
    findings : tuple of Finding
        All other checks, passed ones included.
    seed : int
        Seed of the upstream gradients and directions.
    case : str
        Name of the case that the numbers belong to; empty for a single check.
    cases : int
        How many cases were run.
    notes : tuple of str
        Remarks that decide nothing, such as why the complex step was not used.
    reproduce : str
        Python code that repeats the check.
    """

    subject: str
    arguments: tuple[ArgumentResult, ...]
    findings: tuple[Finding, ...]
    seed: int = 0
    case: str = ""
    cases: int = 1
    notes: tuple[str, ...] = ()
    reproduce: str = field(default="", compare=False)

    @property
    def verdict(self) -> Verdict:
        """Failed if anything failed, else vacuous if anything was, else passed."""
        verdicts = [a.verdict for a in self.arguments] + [f.verdict for f in self.findings]
        if "failed" in verdicts or not verdicts:
            return "failed"
        return "vacuous" if "vacuous" in verdicts else "passed"

    @property
    def ok(self) -> bool:
        """Whether everything passed, and nothing was vacuous."""
        return self.verdict == "passed"

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line for everything that failed, then for everything vacuous."""
        lines = [(f.verdict, f.message) for f in self.findings]
        lines += [(a.verdict, a.explanation) for a in self.arguments]
        return tuple(text for want in ("failed", "vacuous") for verdict, text in lines if verdict == want)

    @property
    def complex_step_error(self) -> float | None:
        """Largest relative error against the complex step; None where it could not be used."""
        return _largest(a.error for a in self.arguments if a.method == "complex step")

    @property
    def central_error(self) -> float | None:
        """Largest relative error against central differences; None where none were smooth."""
        return _largest(a.central_error for a in self.arguments)

    @property
    def kinks(self) -> int:
        """Number of directions at a kink that were held between the one-sided derivatives."""
        return sum(a.kinks for a in self.arguments)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists, strings and finite numbers or None, ready for JSON."""
        record = {"verdict": self.verdict, "ok": self.ok, "reasons": list(self.reasons), **asdict(self)}
        return json.loads(json.dumps(_finite(record)))

    def __str__(self) -> str:
        return format_report(self)


def format_report(report: Report, width: int = 80) -> str:
    """Return `report` as text of at most `width` columns (the line that reproduces it may be longer)."""
    import textwrap

    case = f", case {report.case!r}" if report.case else ""
    lines = [f"{report.subject}: {report.verdict}{case}, seed {report.seed}"]
    if report.arguments:
        lines.append("  argument    verdict  method               error    tolerance  central")
    for a in report.arguments:
        central = "-" if a.central_error is None else f"{a.central_error:.1e}"
        lines.append(
            f"  {a.name:<11} {a.verdict:<8} {a.method:<20} {a.error:<8.1e} {a.tolerance:<10.1e} {central}"
        )
    passed = sum(f.verdict == "passed" for f in report.findings)
    if report.findings:
        lines.append(f"  other checks: {passed} of {len(report.findings)} passed")
    for text in (*report.reasons, *(f"note: {note}" for note in report.notes)):
        lines += textwrap.wrap(text, width, initial_indent="  - ", subsequent_indent="    ")
    if report.reproduce:
        lines.append("  reproduce:")
        lines.append(f"    {report.reproduce}")
    return "\n".join(lines)


def _largest(values: Any) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON doesn't have, by their names."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value
