"""Wrong and right functions judged as answers, without a process of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from senumpy.coursework.catalogue import exercises
from senumpy.coursework.feedback import Feedback
from senumpy.coursework.ops_task import OpTask
from senumpy.verify.cases import op_spec
from senumpy.verify.conduct import Record
from senumpy.verify.guard import guarded
from senumpy.verify.mistakes import MISTAKES, Mistake
from senumpy.verify.outcome import Outcome, judged
from senumpy.verify.pairs import run_pair


def judge_functions(
    name: str, forward: Callable[..., Any] | None, backward: Callable[..., Any] | None, seed: int = 0
) -> Feedback:
    """Return what is said of functions as an answer to an exercise; None stands for the reference's."""
    exercise = exercises()[name]
    op = exercise.op
    assert op is not None
    spec, task = op_spec(op), OpTask(exercise, op, seed)
    gradients = name.endswith("_backward")

    def outcomes(round_: int) -> list[Outcome]:
        found = []
        for expectation in task._expectations(round_):
            record = Record(expectation.call, expectation.dtype)

            def work(record: Record = record) -> None:
                run_pair(
                    record.call,
                    record,
                    forward or spec.forward,
                    (backward or spec.backward) if gradients else None,
                    record.call.keywords(),
                )

            guarded(work, record.answer.conduct.append, timeout=10.0)
            record.finish()
            found.append(judged(expectation, record.answer))
        return found

    return task.feedback(outcomes(0), outcomes)


def wrong_answers(name: str) -> list[Mistake]:
    """Return the bank's mistakes that somebody may make in an exercise."""
    op, _, side = name.rpartition("_")
    of_op = [mistake for mistake in MISTAKES if mistake.op == op]
    return [m for m in of_op if (m.forward if side == "forward" else m.backward) is not None]
