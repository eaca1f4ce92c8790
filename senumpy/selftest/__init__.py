"""The self-test of an engine: its whole contract, in one command that needs NumPy and the engine alone.

The tests in `tests/engines` draw more, by Hypothesis; this is for the machine that has no such tools, but
the processor or GPU that the engine is for. `agreement`, `contract`, `special`, `refusals`, `gradients`,
`networks` and `helpers` each hold one kind of check: functions that yield outcomes. `samples` draws their
arguments.

No function here hands a NumPy array to an operation, nor an engine's array to NumPy: `Engine.asarray` and
`Engine.to_numpy` lie in between.
"""

from __future__ import annotations

from senumpy.selftest.report import Failure, GroupResult, SelfTestReport
from senumpy.selftest.run import run_selftest

__all__ = ["Failure", "GroupResult", "SelfTestReport", "run_selftest"]
