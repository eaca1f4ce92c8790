"""The checker applied to the operations of the table: the library's own, and candidates for one of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.errors import InputError
from senumpy.verify.candidate import Arguments, Candidate
from senumpy.verify.cases import Case, OpSpec, op_spec
from senumpy.verify.gradcheck import MOVED, Check
from senumpy.verify.report import ArgumentResult, Finding, Report, Verdict
from senumpy.verify.reproduce import names_and_imports
from senumpy.verify.slots import CandidateError

Array = NDArray[Any]
COMPLEX_STEP_LIMIT = 1e-12  # relative agreement that the library's own operations have to reach
CENTRAL_LIMIT = 1e-8


@dataclass(frozen=True)
class OpReport:
    """How one of the library's operations did over all its cases: a row of ``senumpy gradcheck``.

    Attributes
    ----------
    op : str
    cases : int
    complex_step, central : float or None
        Largest relative error against the complex step and against central differences.
    kinks : int
        Directions at a kink that were held between the one-sided derivatives.
    verdict : {"passed", "failed", "vacuous"}
    reports : tuple of Report
        One a case.
    """

    op: str
    cases: int
    complex_step: float | None
    central: float | None
    kinks: int
    verdict: Verdict
    reports: tuple[Report, ...]

    @property
    def ok(self) -> bool:
        """Whether every case passed and the agreement is within the limits."""
        return self.verdict == "passed"

    @property
    def reasons(self) -> tuple[str, ...]:
        """What failed or was vacuous, with its case."""
        return tuple(f"{report.case}: {reason}" for report in self.reports for reason in report.reasons)

    def to_dict(self) -> dict[str, Any]:
        """Return the row and the reports, ready for JSON."""
        row = {key: value for key, value in asdict(replace(self, reports=())).items() if key != "reports"}
        return {
            **row,
            "reasons": list(self.reasons),
            "reports": [report.to_dict() for report in self.reports],
        }

    def __str__(self) -> str:
        return format_table([self])


def check_op(name: str, *, seed: int = 0, case: int | None = None) -> OpReport:
    """Check one of the library's operations over all cases of the table, or over one of them.

    Parameters
    ----------
    name : str
        An operation or unit of `senumpy.ops`, such as ``"conv2d"``.
    seed : int
        Draws the cases, upstream gradients and directions.
    case : int, optional
        Number of a single case.

    Raises
    ------
    InputError
        Unknown name, or no case of that number.
    """
    spec = op_spec(name)
    reports = []
    for number, drawn in _numbered_cases(spec, seed, case):
        report = _check_case(spec, spec.forward, spec.backward, drawn, seed, oracle=None)
        line = f"from senumpy.verify import check_op; print(check_op({name!r}, seed={seed}, case={number}))"
        reports.append(replace(report, reproduce=line))
    merged = merge(name, reports)
    complex_step, central = merged.complex_step_error, merged.central_error
    verdict = merged.verdict
    if (complex_step or 0.0) > COMPLEX_STEP_LIMIT or (central or 0.0) > CENTRAL_LIMIT:
        verdict = "failed"
    return OpReport(name, len(reports), complex_step, central, merged.kinks, verdict, tuple(reports))


def check_like(
    name: str,
    forward: Callable[..., Any] | None = None,
    backward: Callable[..., Any] | None = None,
    *,
    seed: int = 0,
    case: int | None = None,
) -> Report:
    """Check functions that are meant to do what the operation `name` does.

    On every case of the table, up to the first with a wrong value: the forward has to give the library's
    result, the backward the derivatives of it, at a kink by the library's convention, and both have to be
    pure.

    Parameters
    ----------
    name : str
        An operation or unit of `senumpy.ops`.
    forward, backward : callable, optional
        The candidates, called as the library's; the library's own where None. The cache is theirs.
    seed : int
    case : int, optional
        Number of a single case.

    Returns
    -------
    Report
        Of the first case with a wrong value, else of the first that fails otherwise (purity, dtype), else of
        all cases together.

    Raises
    ------
    InputError
        Unknown name, or no case of that number.
    """
    spec = op_spec(name)
    reports: list[Report] = []
    subject = getattr(forward or backward, "__name__", name)
    names, lines = names_and_imports(forward, backward)
    for number, drawn in _numbered_cases(spec, seed, case):
        report = _check_candidate(spec, forward or spec.forward, backward or spec.backward, drawn, seed)
        imports = "; ".join(["from senumpy.verify import check_like", *dict.fromkeys(lines)])
        line = f"{imports}; print(check_like({name!r}, {names[0]}, {names[1]}, seed={seed}, case={number}))"
        report = replace(report, subject=f"{subject} as {name}", reproduce=line)
        if _wrong_in_value(report):
            return replace(report, cases=len(reports) + 1)
        reports.append(report)
    impure = next((report for report in reports if report.verdict == "failed"), None)
    return merge(f"{subject} as {name}", reports) if impure is None else replace(impure, cases=len(reports))


def _wrong_in_value(report: Report) -> bool:
    """Whether a result or a gradient is wrong, and not only the manners of the functions."""
    values = {"forward", "backward", "finite", "convention", "batch of one"}
    return any(a.verdict == "failed" for a in report.arguments) or any(
        f.verdict == "failed" and f.check in values for f in report.findings
    )


def merge(subject: str, reports: Sequence[Report]) -> Report:
    """Return one report for several cases of one operation.

    A gradient that is vacuous in one case counts as checked if another case sees it.
    """
    by_name: dict[str, list[ArgumentResult]] = {}
    for report in reports:
        for argument in report.arguments:
            by_name.setdefault(argument.name, []).append(argument)
    findings: dict[str, list[Finding]] = {}
    for report in reports:
        for finding in report.findings:
            findings.setdefault(finding.check, []).append(finding)
    order: tuple[Verdict, ...] = ("failed", "passed", "vacuous")
    arguments = tuple(_merge_arguments(group) for group in by_name.values())
    worst = tuple(min(group, key=lambda f: order.index(f.verdict)) for group in findings.values())
    notes = tuple(dict.fromkeys(note for report in reports for note in report.notes))
    blamed = next((r for v in ("failed", "vacuous") for r in reports if r.verdict == v), reports[0])
    return Report(subject, arguments, worst, blamed.seed, "", len(reports), notes, blamed.reproduce)


def _merge_arguments(group: list[ArgumentResult]) -> ArgumentResult:
    """Return the result of the worst case that saw something, with the largest errors of all."""
    seen = [a for a in group if a.verdict != "vacuous"] or group
    worst = max(seen, key=lambda a: (a.verdict == "failed", a.error / (a.tolerance or 1.0)))
    central = max((a.central_error for a in seen if a.central_error is not None), default=None)
    largest = max((a.error for a in seen if a.method == worst.method), default=worst.error)
    return replace(
        worst,
        error=largest,
        central_error=central,
        kinks=sum(a.kinks for a in group),
        coverage=max(a.coverage for a in group),
    )


def format_table(rows: Sequence[OpReport]) -> str:
    """Return one line an operation under a heading, at most 80 columns wide."""
    lines = [f"{'operation':<26}{'cases':>6}{'complex step':>14}{'central':>10}{'kinks':>7}  verdict"]
    for row in rows:
        complex_step = "-" if row.complex_step is None else f"{row.complex_step:.1e}"
        central = "-" if row.central is None else f"{row.central:.1e}"
        lines.append(
            f"{row.op:<26}{row.cases:>6}{complex_step:>14}{central:>10}{row.kinks:>7}  {row.verdict}"
        )
    return "\n".join(lines)


def _numbered_cases(spec: OpSpec, seed: int, case: int | None) -> list[tuple[int, Case]]:
    cases = list(enumerate(spec.cases(seed=seed)))
    if case is None:
        return cases
    if not 0 <= case < len(cases):
        raise InputError(f"{spec.name} has no case {case}: cases are 0 to {len(cases) - 1}")
    return [cases[case]]


def _check_case(
    spec: OpSpec,
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    case: Case,
    seed: int,
    oracle: Callable[..., Any] | None,
) -> Report:
    # The names of the arguments are the library's: a candidate may call its own as it likes.
    check = Check(
        arguments=Arguments(spec.forward, case.args, case.kwargs, spec.arguments),
        forward=forward,
        backward=backward,
        oracle=oracle,
        pattern=spec.pattern,
        complex_step=True,
        upstream=None,
        batched=() if case.kink else spec.batched,
        purity=True,
        seed=seed,
    )
    return replace(check.report(spec.name, ""), case=case.name)


def _check_candidate(
    spec: OpSpec, forward: Callable[..., Any], backward: Callable[..., Any], case: Case, seed: int
) -> Report:
    """Return the report of one case: forward against the reference, gradients, conventions at kinks."""
    call = Arguments(spec.forward, case.args, case.kwargs, spec.arguments)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        agreement = _compare_forward(spec, forward, call)
    # A right forward lends its complex step to one that can't take complex arrays; of a wrong one, its own
    # derivatives still tell whether the backward belongs to it.
    oracle = spec.forward if agreement.verdict == "passed" else None
    report = _check_case(spec, forward, backward, case, seed, oracle)
    extra = [agreement]
    if case.kink and report.verdict != "failed":
        extra.append(_compare_convention(spec, forward, backward, call, seed))
    return replace(report, findings=(*extra, *report.findings))


def _compare_forward(spec: OpSpec, forward: Callable[..., Any], call: Arguments) -> Finding:
    """Return whether `forward` gives the reference's result.

    It may differ by what a relative change of the inputs by 8 eps makes: a backward-stable computation
    does no better, and one that cancels (a variance as E[x^2] - E[x]^2) does much worse.
    """
    values = call.values
    reference = Candidate(spec.forward, None, call)
    expected = reference.output(values)
    try:
        got = Candidate(forward, None, call).output(values)
    except CandidateError as error:
        return Finding("forward", "failed", str(error))
    if got.shape != expected.shape:
        return Finding(
            "forward", "failed", f"forward's result has shape {got.shape}, wanted {expected.shape}"
        )
    rng = np.random.default_rng(0)
    nearby = {leaf: a * (1 + MOVED * rng.choice([-1.0, 1.0], a.shape)) for leaf, a in values.items()}
    moved = np.abs(reference.output(nearby) - expected).max(initial=0)
    tolerance = 4 * moved + 8 * MOVED * np.abs(expected).max(initial=0)
    error_at = np.abs(got - expected)
    if not (error_at <= tolerance).all():
        worst = np.unravel_index(np.argmax(np.where(np.isnan(error_at), np.inf, error_at)), expected.shape)
        index = tuple(int(i) for i in worst)
        where = f" at {index}" if index else ""
        message = f"forward's result{where}: wanted {expected[index]:.9g}, got {got[index]:.9g}"
        return Finding("forward", "failed", message)
    return Finding("forward", "passed")


def _compare_convention(
    spec: OpSpec, forward: Callable[..., Any], backward: Callable[..., Any], call: Arguments, seed: int
) -> Finding:
    """Return whether the gradient at a kink is the one that the library documents."""
    values = call.values
    y, cache = Candidate(spec.forward, spec.backward, call).forward(values)
    dy = np.random.default_rng(seed).standard_normal(y.shape)
    expected = Candidate(spec.forward, spec.backward, call).backward(dy, cache)
    candidate = Candidate(forward, backward, call)
    got = candidate.backward(dy, candidate.forward(values)[1])
    for leaf, gradient in expected.items():
        error = np.abs(got[leaf] - gradient)
        if not (error <= 1e-9 * np.abs(gradient).max(initial=0)).all():
            index = tuple(int(i) for i in np.unravel_index(error.argmax(), error.shape))
            return Finding(
                "convention",
                "failed",
                f"d{leaf} at {index}: the input is at a kink, where the library's convention gives "
                f"{gradient[index] + 0.0:.9g} and this {got[leaf][index]:.9g} (also a valid subgradient)",
            )
    return Finding("convention", "passed")
