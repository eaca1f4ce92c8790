"""The self-test, group by group. A check that fails, or raises, never stops the others."""

from __future__ import annotations

import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import senumpy
from senumpy.engines import Engine, default_engine
from senumpy.errors import InputError
from senumpy.selftest.groups import Group, Plan, Settings
from senumpy.selftest.outcome import Check, Outcome
from senumpy.selftest.report import Failure, GroupResult, SelfTestReport, heading
from senumpy.verify import op_names, op_spec

DRAWS = 2


def run_selftest(
    engine: str | Engine | None = None,
    ops: Sequence[str] = (),
    *,
    seed: int = 0,
    draws: int | None = None,
    quick: bool = False,
    options: dict[str, Any] | None = None,
    show: Callable[[str], None] = lambda text: None,
    progress: Callable[[str], None] = lambda text: None,
) -> SelfTestReport:
    """Check an engine: every operation and unit, helpers, networks.

    Parameters
    ----------
    engine : str or Engine, optional
        The default engine where not given.
    ops : sequence of str
        Check these operations alone; where empty all, and helpers and networks too.
    seed, draws : int
        Cases are drawn by the seeds `seed` to ``seed + draws - 1``: two, or one if `quick`, where not given.
    quick : bool
        Fewer larger cases and gradient checks, and one network.
    options : dict, optional
        Of the engine: `device`, `precision`.
    show, progress : callable
        Are given the text as it comes, and what is being done.

    Raises
    ------
    InputError
        No such engine, option or operation; a number that makes no sense.
    """
    draws = (1 if quick else DRAWS) if draws is None else draws
    for name, number, least in (("seed", seed, 0), ("draws", draws, 1)):
        if number < least:
            raise InputError(f"{name}: got {number}, wanted at least {least}")
    for name in ops:
        op_spec(name)
    options = options or {}
    made = senumpy.engine(default_engine() if engine is None else engine, **options)
    versions = _versions(made)
    show(heading(made.describe(), versions, seed, draws))
    plan = Plan(made, options, Settings(tuple(ops) or tuple(op_names()), not ops, seed, draws, quick))
    results, failures = [], []
    for group in plan.groups():
        result, failed = run_group(group, progress)
        show(str(result))
        results.append(result)
        failures += failed
    report = SelfTestReport(
        engine=made.name,
        describe=made.describe(),
        versions=versions,
        seed=seed,
        draws=draws,
        quick=quick,
        groups=tuple(results),
        failures=tuple(failures),
        left_out=tuple(plan.left_out),
    )
    show(report.summary())
    return report


def run_group(group: Group, progress: Callable[[str], None]) -> tuple[GroupResult, list[Failure]]:
    """Run all checks of a group; return its line and what failed."""
    start, count, failures = time.perf_counter(), 0, []
    worst: tuple[float | None, str] = None, ""
    for check in group.checks:
        progress(f"{group.name}: {check.subject}")
        for outcome in _outcomes(check):
            count += 1
            if outcome.ratio is not None and (worst[0] is None or outcome.ratio > worst[0]):
                worst = outcome.ratio, f"{check.subject} ({check.case}), {outcome.what}"
            if not outcome.held:
                failures.append(
                    Failure(group.name, check.subject, check.case, outcome.what, outcome.message, check.seed)
                )
    progress("")
    seconds = time.perf_counter() - start
    return GroupResult(group.name, count, len(failures), *worst, round(seconds, 2)), failures


def _outcomes(check: Check) -> Iterator[Outcome]:
    """Yield what a check finds; an exception is one more finding, and the end of this check alone."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of NaN and infinity, which are tried on purpose
            yield from check.run()
    except Exception as error:
        yield Outcome("runs", f"raised {type(error).__name__}: {error}")


def _versions(made: Engine) -> dict[str, str]:
    """Return versions of what is at work: of the engine's package too, once it is imported."""
    versions = {
        "senumpy": senumpy.__version__,
        "Python": platform.python_version(),
        "NumPy": np.__version__,
    }
    module = sys.modules.get(made.name)
    if made.name in ("numba", "cupy") and module is not None:
        versions[made.name] = str(module.__version__)
    return versions
