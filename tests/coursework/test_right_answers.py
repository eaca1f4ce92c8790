"""Right answers pass, however they are written; wrong ones that are in no bank fail, and it is said where."""

from __future__ import annotations

import ast
import difflib
import re
from pathlib import Path

import pytest

from senumpy.coursework import Checker, exercises
from senumpy.coursework.strip import solution_text
from tests.coursework import wrong_answers, wrong_blocks

ANSWERS = sorted((Path(__file__).parent / "answers").glob("*.py"))
WRONG = wrong_answers.WRONG
assert wrong_blocks.wrong is wrong_answers.wrong  # imported for what it adds to the list
# Wrong answers that are in the bank after all, and what is true of them there.
KNOWN = {
    "dw divided by the pixels": "dw-averaged-over-windows",
    "dgamma and dbeta exchanged": "dgamma-without-xhat",
    "no mask before batch norm": "no-relu-mask",
    "the gate of SE left to the default": "always-sigmoid",
}
LIKE = 0.8  # of a function that is not written differently: share of tokens in common, in order


def parts(path: Path) -> tuple[str, str]:
    """Return the exercise that an answer is to, and how it is written."""
    name, _, style = path.stem.partition("__")
    return name, style.replace("_", " ")


def functions(text: str, names: tuple[str, ...]) -> str:
    """Return what a file defines that its functions may use, without comments and docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            body[0] = ast.Pass() if isinstance(body[0].value, ast.Constant) else body[0]
    kept = [node for node in tree.body if getattr(node, "name", "") in names]
    return "\n".join(map(ast.unparse, kept))


def likeness(path: Path) -> float:
    """Return how much of an answer's function is the reference's."""
    exercise = exercises()[parts(path)[0]]
    both = (functions(text, exercise.targets) for text in (path.read_text("utf-8"), solution_text(exercise)))
    one, other = (re.findall(r"\w+|[^\w\s]", text) for text in both)
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


@pytest.mark.parametrize("path", ANSWERS, ids=[": ".join(parts(path)) for path in ANSWERS])
def test_a_right_answer_passes(checker: Checker, path: Path) -> None:
    name, _ = parts(path)
    verdict = checker.check(name, path.read_bytes(), label=f"{name}.py")
    assert verdict.ok, verdict.feedback
    assert verdict.points == exercises()[name].points
    assert verdict.mistakes == ()


def test_every_exercise_has_answers_written_differently() -> None:
    different = [parts(path)[0] for path in ANSWERS if likeness(path) < LIKE]
    assert len(different) >= 90
    assert set(different) == set(exercises())
    assert all(different.count(n) >= 2 for n, exercise in exercises().items() if exercise.op)


@pytest.mark.parametrize(
    ("name", "variant", "results", "text"), WRONG, ids=[f"{entry[0]}: {entry[1]}" for entry in WRONG]
)
def test_a_wrong_answer_fails_and_its_wrong_results_are_named(
    checker: Checker, name: str, variant: str, results: tuple[str, ...], text: str
) -> None:
    verdict = checker.check(name, text.encode(), label=f"{name}.py")
    assert (verdict.status, verdict.points) == ("failed", 0), verdict
    assert verdict.mistakes == ((KNOWN[variant],) if variant in KNOWN else ())  # no false accusation
    feedback = verdict.feedback
    assert max(map(len, feedback.splitlines())) <= 79
    said = " ".join(feedback.split())
    found = re.search(r"Wrong in \d+ of \d+ calls(?:: ([\w, ]+))?\.", said)
    assert found, feedback
    assert tuple(re.findall(r"\w+", (found[1] or "").replace(" and ", ", "))) == results
    assert "For example: " in said
    assert "wanted" in said or "raised" in said
    assert "(it looks like" not in said  # none of them lost precision
    assert f'"{exercises()[name].section}"' in said


def test_there_are_wrong_answers_to_every_operation() -> None:
    assert len(WRONG) >= 40
    assert {entry[0] for entry in WRONG} == {name for name, e in exercises().items() if e.op}


def test_an_overflow_costs_the_points_where_the_docstring_asks_for_none(checker: Checker) -> None:
    naive = b"import numpy as np\ndef sigmoid_forward(x):\n    return 1 / (1 + np.exp(-x)), None\n"
    verdict = checker.check("sigmoid_forward", naive, label="sigmoid_forward.py")
    assert verdict.status == "failed"
    assert "a number overflows to infinity on the way" in verdict.line


def test_an_overflow_that_harms_nothing_is_a_remark(checker: Checker) -> None:
    text = (
        "import numpy as np\ndef relu_backward(dy, cache):\n"
        "    np.exp(np.full(2, 1e4))\n    return dy * cache.mask\n"
    )
    verdict = checker.check("relu_backward", text.encode(), label="r.py")
    assert verdict.ok
    assert "Not counted: a number overflows to infinity on the way" in verdict.feedback


def test_what_is_printed_is_one_remark(checker: Checker) -> None:
    text = "def relu_backward(dy, cache):\n    print(dy)\n    return dy * cache.mask\n"
    verdict = checker.check("relu_backward", text.encode(), label="r.py")
    assert verdict.ok
    assert verdict.feedback.count("Not counted: ") == 1


def test_near_numbers_are_called_near(checker: Checker) -> None:
    text = next(entry[3] for entry in WRONG if entry[1] == "an eps of its own")
    verdict = checker.check("batchnorm2d_forward", text.encode(), label="b.py")
    assert "near, but further off than rounding explains" in " ".join(verdict.feedback.split())


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("raises without a bias", "Wrong only in the calls [no bias]."),
        ("right for square images alone", "Right in the calls [one pixel]."),
        ("the sign of dx", ""),
    ],
)
def test_it_is_said_which_calls_alone_are_wrong_or_right(checker: Checker, variant: str, said: str) -> None:
    name, _, _, text = next(entry for entry in WRONG if entry[1] == variant)
    feedback = " ".join(checker.check(name, text.encode(), label="a.py").feedback.split())
    assert said in feedback
    assert bool(said) == ("in the calls [" in feedback)


BODY = "def relu_backward(dy, cache):\n    return dy * cache.mask\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{BODY}if __name__ == '__main__':\n    import senumpy.ops\n    import os\n    print(open('x'))\n",
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import senumpy.ops\n{BODY}",
        f"import sys\nEPS = sys.float_info.epsilon\nprint(EPS, file=sys.stderr)\n{BODY}",
        f"import logging, pprint, re\nlogging.info('x')\n{BODY}",
        f"class N:\n    def __init__(self):\n        self.modules = []\n        self.modules.sort()\n{BODY}",
        "from typing import Callable\nrelu_backward: Callable = lambda dy, cache: dy * cache.mask\n",
        "if True:\n    def relu_backward(dy, cache):\n        return dy * cache.mask\n",
        "other, relu_backward = None, lambda dy, cache: dy * cache.mask\n",
        "def relu_backward(input, cache):\n    '''import senumpy.ops'''\n    return input * cache.mask\n",
    ],
)
def test_what_honest_students_write_is_accepted(checker: Checker, text: str) -> None:
    verdict = checker.check("relu_backward", text.encode(), label="relu_backward.py")
    assert verdict.ok, verdict.feedback


@pytest.mark.parametrize(
    "before",
    [
        "__name__ = '__main__'\nif __name__ == '__main__':\n    import senumpy.ops\n",
        "from math import pi as TYPE_CHECKING\nif TYPE_CHECKING:\n    import senumpy.ops\n",
        "if __name__ == '__main__':\n    pass\nelse:\n    import senumpy.ops\n",
        "if __name__ != '__main__':\n    import senumpy.ops\n",
        "import sys\nsys.modules\n",
        "from sys import modules\n",
        "from sys import *\n",
        "import sys\nsys._getframe(1)\n",
    ],
)
def test_what_runs_after_all_is_still_looked_at(checker: Checker, before: str) -> None:
    verdict = checker.check("relu_backward", (before + BODY).encode(), label="relu_backward.py")
    assert verdict.status == "refused"
