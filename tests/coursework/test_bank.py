"""Every wrong answer of the bank is failed, by its name."""

from __future__ import annotations

import pytest

from senumpy.coursework.catalogue import exercises
from tests.coursework.bank import judge_functions, wrong_answers

OPERATIONS = [name for name, exercise in exercises().items() if exercise.op]
# What a wrong forward of these does shows in the gradients alone: its y is right.
ONLY_IN_GRADIENTS = {
    ("max_pool2d_forward", name) for name in ("last-maximum", "ties-share-evenly", "ties-all-get-it")
}


def pairs() -> list[tuple[str, str]]:
    """Return all exercises with the names of their mistakes."""
    found = [(name, mistake.name) for name in OPERATIONS for mistake in wrong_answers(name)]
    return [pair for pair in found if pair not in ONLY_IN_GRADIENTS]


def test_every_operations_exercise_has_mistakes() -> None:
    assert {name for name, _ in pairs()} == set(OPERATIONS)
    assert len(pairs()) > 200


@pytest.mark.parametrize(("name", "mistake"), pairs())
def test_a_wrong_answer_is_failed_by_its_name(name: str, mistake: str) -> None:
    wrong = next(m for m in wrong_answers(name) if m.name == mistake)
    feedback = judge_functions(name, wrong.forward, wrong.backward)
    assert not feedback.ok
    assert feedback.mistakes == (mistake,)
    text = " ".join(feedback.text().split())
    assert wrong.explanation.rstrip(".") in text
    assert feedback.exercise.section in text


@pytest.mark.parametrize(("name", "mistake"), sorted(ONLY_IN_GRADIENTS))
def test_a_right_y_is_right_whatever_else_the_forward_keeps(name: str, mistake: str) -> None:
    kept = next(m for m in wrong_answers(name) if m.name == mistake)
    assert judge_functions(name, kept.forward, None).ok


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("seed", [0, 1, 12345])
def test_the_reference_itself_is_right_at_any_seed(name: str, seed: int) -> None:
    feedback = judge_functions(name, None, None, seed)
    assert feedback.ok, feedback.text()
    assert feedback.tried >= 8
