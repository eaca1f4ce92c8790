"""A candidate held against one operation: calls tried, results judged, mistakes named, a failure shrunk."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from senumpy.crosscheck.candidates import Candidate, candidate, close
from senumpy.crosscheck.explore import Explorer, evaluate
from senumpy.crosscheck.options import check_options
from senumpy.crosscheck.report import Behaviour, OpReport, ResultRow
from senumpy.crosscheck.script import Setting
from senumpy.errors import InputError
from senumpy.verify.calls import OpCall
from senumpy.verify.cases import op_spec
from senumpy.verify.diagnosis import Diagnosis
from senumpy.verify.evidence import diagnose_outcomes
from senumpy.verify.judgement import LEVELS
from senumpy.verify.outcome import Outcome, memory_text

DTYPES = ("float32", "float64")

# Faults that make a call worth shrinking; the others are as plain in a large one.
_PLAIN = ("printed", "timeout", "exited")


def check(
    op: str,
    target: Any,
    *,
    backward: Any = None,
    framework: str | None = None,
    options: dict[str, Any] | None = None,
    max_examples: int = 200,
    seconds: float | None = None,
    seed: int = 0,
    dtypes: Sequence[str] = DTYPES,
    accept: str = "accurate",
    c_order: bool = False,
    timeout: float = 10.0,
    isolated: bool = False,
    progress: Callable[[str], None] | None = None,
) -> OpReport:
    """Hold an implementation of one operation against the reference.

    Parameters
    ----------
    op : str
        An operation or unit of `senumpy.ops`, such as ``"conv2d"``.
    target : object or str
        A function on NumPy arrays, ``forward(*args, **options) -> (y, cache)``, with `backward`; a PyTorch
        function, module, or class of modules; a JAX function; a Keras layer; a path of an ONNX file; or text:
        ``"module:name"``, ``"file.py:name"``, ``"model.onnx"``, ``"cmd:PROGRAM ARGUMENT ..."``.
    backward : callable or str, optional
        ``backward(dy, cache) -> gradients``, for a pair of functions.
    framework : str, optional
        Where it can't be told: one of `senumpy.crosscheck.candidates.FRAMEWORKS`.
    options : dict, optional
        Options of the operation that the candidate is fixed to, such as ``{"stride": 2}``.
    max_examples : int
        Calls to try.
    seconds : float, optional
        Stop after this long.
    seed : int
        Draws the calls.
    dtypes : sequence of str
        Of the calls: ``"float32"``, ``"float64"``.
    accept : {"accurate", "lossy"}
        The worst level that passes.
    c_order : bool
        Hand over all arrays in C order, for candidates that promise nothing else.
    timeout : float
        Seconds that one call of the candidate may take.
    isolated : bool
        Run a target that is text in a process of its own, which may crash or hang.
    progress : callable, optional
        Told what is being done, from time to time.

    Returns
    -------
    OpReport
        ``report.ok``, ``print(report)``, ``report.to_dict()``. Whatever the candidate does is in the report.

    Raises
    ------
    InputError
        There is no such operation, the candidate can't be found, or it isn't of a kind that can be called.
    """
    op_spec(op)
    _check_settings(accept, max_examples, seed, {"seconds": seconds, "timeout": timeout})
    check_options(op, options or {})
    start = time.monotonic()
    subject = candidate(
        op,
        target,
        backward=backward,
        framework=framework,
        options=options,
        isolated=isolated,
        timeout=timeout,
    )
    try:
        chosen = _dtypes(subject, dtypes)
        run = _Run(op, subject, chosen, seed, accept, c_order, progress or _silent)
        run.explore(max_examples, seconds)
        diagnosis = run.diagnosis()
    finally:
        close(subject)
    setting = Setting(target, backward, framework, options, subject.label)
    return run.report(diagnosis, setting, time.monotonic() - start)


def _check_settings(accept: str, max_examples: int, seed: int, times: dict[str, float | None]) -> None:
    if accept not in ("accurate", "lossy"):
        raise InputError(f"accept: got {accept!r}, wanted 'accurate' or 'lossy'")
    if not isinstance(max_examples, int) or max_examples < 1:
        raise InputError(f"max_examples: got {max_examples}, wanted a whole number of at least 1")
    if not isinstance(seed, int) or seed < 0:
        raise InputError(f"seed: got {seed}, wanted a whole number of at least 0")
    for name, value in times.items():
        if value is not None and not 0 < value < 1e6:
            raise InputError(f"{name}: got {value:g}, wanted seconds above 0")


def check_call(
    call: OpCall,
    target: Any,
    *,
    dtype: str = "float64",
    backward: Any = None,
    framework: str | None = None,
    options: dict[str, Any] | None = None,
    timeout: float = 10.0,
) -> Outcome:
    """Let a candidate answer one call, and judge its numbers; see `check` for the arguments."""
    subject = candidate(
        call.op, target, backward=backward, framework=framework, options=options, timeout=timeout
    )
    try:
        reason = subject.accepts(call)
        if reason:
            raise InputError(f"{subject.label} can't be given this call: {reason}")
        return evaluate(subject, call, dtype)
    finally:
        close(subject)


def assert_matches(op: str, target: Any, **settings: Any) -> None:
    """Fail with the report unless an implementation matches the reference: for a project's own tests.

    >>> def test_my_conv():
    ...     assert_matches("conv2d", my_forward, backward=my_backward)

    Parameters
    ----------
    op, target, **settings
        As for `check`.
    """
    report = check(op, target, **settings)
    if not report.ok:
        raise AssertionError(f"\n{report}")


class _Run:
    """What is known of a candidate so far."""

    def __init__(
        self,
        op: str,
        subject: Candidate,
        dtypes: Sequence[str],
        seed: int,
        accept: str,
        c_order: bool,
        progress: Callable[[str], None],
    ) -> None:
        self.op, self.subject, self.dtypes, self.seed, self.accept = op, subject, dtypes, seed, accept
        self._c_order, self._progress = c_order, progress
        self.rows: dict[tuple[str, str], ResultRow] = {}
        self.behaviour: dict[tuple[str, str], Behaviour] = {}
        self.skipped: Counter[str] = Counter()
        self.near_kinks = self.calls = 0
        self.stopped = ""
        self.smallest: dict[str, Outcome] = {}
        self._failing: list[Outcome] = []
        self._passing: list[Outcome] = []

    def explore(self, max_examples: int, seconds: float | None) -> None:
        """Try calls until the budget is spent."""
        explorer = self._explorer(max_examples, seconds)
        explorer.run()
        if explorer.stopped and self.calls < max_examples:
            self.stopped = explorer.stopped
        if not self.calls:
            reasons = "; ".join(self.skipped) or "no call was drawn in the time given"
            raise InputError(f"{self.subject.label}: no call of {self.op} could be tried: {reasons}")

    def _explorer(self, max_examples: int, seconds: float | None) -> Explorer:
        return Explorer(
            self.subject,
            self.op,
            dtypes=self.dtypes,
            seed=self.seed,
            max_examples=max_examples,
            seconds=seconds,
            record=self._record,
            skip=lambda reason: self.skipped.update([reason]),
            c_order=self._c_order,
        )

    def _record(self, outcome: Outcome, shrinking: bool) -> list[str]:
        faults = outcome.faults(self.accept)
        if not shrinking:
            self._count(outcome)
        for fault in outcome.faults():
            if fault not in self.smallest or outcome.size <= self.smallest[fault].size:
                self.smallest[fault] = outcome
        self._progress(
            f"{self.op}: {self.calls} calls" + (", making the failing one smaller" if shrinking else "")
        )
        return [fault for fault in faults if not fault.startswith(_PLAIN)]

    def _count(self, outcome: Outcome) -> None:
        self.calls += 1
        self.near_kinks += outcome.expectation.near_kink
        for judgement in outcome.judgements:
            key = judgement.result, outcome.dtype.name
            self.rows.setdefault(key, ResultRow(*key)).add(judgement, outcome)
        for conduct in outcome.conduct:
            place = conduct.kind, conduct.result
            self.behaviour.setdefault(place, Behaviour(conduct, outcome)).count += 1
        if (outcome.results or outcome.misshapen) and not outcome.expectation.near_kink:
            wrong = outcome.level in LEVELS[2:] or bool(outcome.misshapen)
            (self._failing if wrong else self._passing).append(outcome)

    def diagnosis(self) -> Diagnosis | None:
        """Return which mistake explains the wrong results; None where all are right."""
        if not self._failing:
            return None
        by_memory = self._by_memory_order()
        if by_memory is not None:
            return by_memory
        self._progress(f"{self.op}: looking for the mistake")
        return diagnose_outcomes(
            self.op,
            self._failing,
            self._passing,
            lambda more: self._explorer(10**9, 5.0).small_calls(self.seed + more),
        )

    def _by_memory_order(self) -> Diagnosis | None:
        """Return that memory order is to blame, if the failing call in C order is right; else None."""
        failing = [
            outcome for fault, outcome in self.smallest.items() if fault.startswith(("wrong", "lossy"))
        ]
        orders = [sorted({o for o in outcome.call.layouts if o != "C"}) for outcome in failing]
        if not failing or not all(orders):
            return None
        for outcome in failing:
            plain = evaluate(self.subject, replace(outcome.call, layouts=()), outcome.dtype)
            if plain.faults(self.accept):
                return None
        found = {j.result for outcome in failing for j in outcome.judgements if j.level in LEVELS[2:]}
        seen = "; ".join(dict.fromkeys(memory_text(outcome.call) for outcome in failing))
        text = (
            "The same numbers in C order come out right: what is wrong is how arrays in another memory order "
            f"are read. It takes {seen}."
        )
        return Diagnosis((), (), tuple(sorted(found)), text)

    def report(self, diagnosis: Diagnosis | None, setting: Setting, seconds: float) -> OpReport:
        """Return the report. What a known mistake explains is wrong, however small its effect."""
        if diagnosis is not None and diagnosis.mistakes:
            for row in self.rows.values():
                if row.result in diagnosis.results and row.level == "lossy":
                    row.level = "wrong"
        return OpReport(
            op=self.op,
            label=self.subject.label,
            framework=self.subject.framework,
            seed=self.seed,
            accept=self.accept,
            calls=self.calls,
            near_kinks=self.near_kinks,
            skipped=dict(self.skipped),
            stopped=self.stopped,
            rows=tuple(sorted(self.rows.values(), key=_order(self.op))),
            behaviour=tuple(self.behaviour.values()),
            diagnosis=diagnosis,
            smallest=dict(self.smallest),
            setting=setting,
            seconds=seconds,
        )


def _order(op: str) -> Callable[[ResultRow], tuple[int, str, str]]:
    """Return the key that sorts rows as results come: y, gradients in the arguments' order, statistics."""
    names = ["y", *(f"d{name}" for name in op_spec(op).arguments)]

    def key(row: ResultRow) -> tuple[int, str, str]:
        place = row.result.partition("[")[0]
        return (names.index(place) if place in names else len(names)), row.result, row.dtype

    return key


def _dtypes(subject: Candidate, wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in DTYPES:
            raise InputError(f"dtypes: got {name!r}, wanted 'float32' or 'float64'")
    restriction = subject.restrict()
    has = DTYPES if restriction is None else restriction.dtypes
    found = [name for name in wanted if name in has]
    if not found:
        raise InputError(f"{subject.label}: computes in {', '.join(has)}, wanted {', '.join(wanted)}")
    return found


def _silent(text: str) -> None:
    """Say nothing."""
