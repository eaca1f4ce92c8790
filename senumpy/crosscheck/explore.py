"""Calls for a candidate: the small ones that reach every option, then what Hypothesis draws and shrinks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from senumpy.crosscheck.candidates import Candidate
from senumpy.errors import InputError
from senumpy.verify.calls import OpCall, call_of
from senumpy.verify.cases import op_spec
from senumpy.verify.layouts import LAYOUTS
from senumpy.verify.outcome import Outcome, judged
from senumpy.verify.rounding import expect

Record = Callable[[Outcome, bool], Sequence[str]]
SHRINKING = 8.0  # seconds that may go into making failing calls smaller
COSTLY = ("timeout", "crashed", "exited")  # a process may have to be started again after each
PATIENCE = 3


class _OverError(BaseException):
    """The time is over. No `Exception`, so that Hypothesis takes it for no failure of the test."""


class Explorer:
    """Runs a candidate on calls until the budget is spent.

    Parameters
    ----------
    candidate : Candidate
    op : str
    dtypes : sequence of dtype
    seed : int
    max_examples : int
        Calls, without those that shrinking tries.
    seconds : float or None
        Wall-clock budget.
    record : callable
        ``record(outcome, shrinking)`` is told every outcome, and returns its faults that are to be shrunk.
    skip : callable
        ``skip(reason)`` is told of every call that isn't for the candidate.
    c_order : bool
        Whether all arrays are in C order.
    """

    def __init__(
        self,
        candidate: Candidate,
        op: str,
        *,
        dtypes: Sequence[Any],
        seed: int,
        max_examples: int,
        seconds: float | None,
        record: Record,
        skip: Callable[[str], None],
        c_order: bool = False,
    ) -> None:
        self._candidate, self._op = candidate, op
        self._dtypes = [np.dtype(dtype) for dtype in dtypes]
        self._seed, self._max_examples = seed, max_examples
        self._deadline = float("inf") if seconds is None else time.monotonic() + seconds
        self._record, self._skip = record, skip
        self._layouts = ("C",) if c_order else LAYOUTS
        self._failing: dict[str, type[Exception]] = {}
        self._shrinking = self._faults = False
        self._costly = 0
        self.examples = 0
        self.stopped = ""

    def run(self) -> None:
        """Try the small calls, then drawn ones; then look for smaller calls that have the faults found."""
        left = self._max_examples
        try:
            self._small_calls(self._seed)
            left -= self.examples
            if left > 0:
                self._drawn_calls(left)
            if self._faults and left > 0:
                self._shrinking = True
                self._deadline = min(self._deadline, time.monotonic() + SHRINKING)
                self._drawn_calls(left)
        except _OverError:
            pass

    def small_calls(self, seed: int) -> None:
        """Try the small calls of a seed alone, as far as time and patience go."""
        with contextlib.suppress(_OverError):
            self._small_calls(seed)

    def _small_calls(self, seed: int) -> None:
        """Try the calls that reach every option, one after the other."""
        restriction = self._candidate.restrict()
        for number, case in enumerate(op_spec(self._op).cases(seed=seed)):
            if self.examples >= self._max_examples:
                return
            call = call_of(self._op, case, seed)
            if restriction is None or not self._candidate.accepts(
                call
            ):  # the others are no loss: more are drawn
                self._try(call, self._dtypes[number % len(self._dtypes)])

    def _try(self, call: OpCall, dtype: np.dtype[Any]) -> Sequence[str] | None:
        """Return the faults of a call, None where it isn't for the candidate."""
        if time.monotonic() > self._deadline:
            self.stopped = self.stopped or "stopped: the time is over"
            raise _OverError
        reason = self._candidate.accepts(call)
        if reason:
            self._skip(reason)
            return None
        outcome = evaluate(self._candidate, call, dtype)
        self.examples += not self._shrinking
        faults = self._record(outcome, self._shrinking)
        self._faults |= bool(faults)
        self._costly += any(c.kind in COSTLY for c in outcome.conduct)
        if self._costly == PATIENCE:
            self.stopped = f"stopped after {PATIENCE} calls that hung, crashed or left"
            raise _OverError
        return faults

    def _drawn_calls(self, count: int) -> None:
        try:
            import hypothesis
            from hypothesis import strategies as st
        except ImportError:
            raise InputError('drawing calls needs Hypothesis: pip install "senumpy[crosscheck]"') from None
        from senumpy.crosscheck.strategy import calls

        phases = [hypothesis.Phase.generate, *[hypothesis.Phase.shrink] * self._shrinking]

        @hypothesis.seed(self._seed)
        @hypothesis.settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=phases,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(
            calls(self._op, restriction=self._candidate.restrict(), layouts=self._layouts),
            st.sampled_from(self._dtypes),
        )
        def attempt(call: OpCall, dtype: np.dtype[Any]) -> None:
            faults = self._try(call, dtype)
            hypothesis.assume(faults is not None)  # another one is drawn instead
            if faults and self._shrinking:
                raise self._failure(faults[0])(faults[0])

        try:
            attempt()
        except tuple(self._failing.values()):
            pass
        except ExceptionGroup as group:  # several faults, each shrunk; or a candidate that changes its mind
            if group.split(tuple(self._failing.values()))[1] is not None:
                raise
        except hypothesis.errors.Flaky:
            pass  # the outcomes are recorded, and that it isn't repeatable is one of them
        except hypothesis.errors.Unsatisfiable:
            pass  # no call was for the candidate: `skip` was told why

    def _failure(self, fault: str) -> type[Exception]:
        """Return the exception class of a fault: Hypothesis shrinks each class on its own."""
        if fault not in self._failing:
            self._failing[fault] = type("Fault", (Exception,), {})
        return self._failing[fault]


def evaluate(candidate: Candidate, call: OpCall, dtype: Any) -> Outcome:
    """Let a candidate answer a call, and judge what it gave."""
    return judged(expect(call, dtype), candidate.run(call, np.dtype(dtype)))
