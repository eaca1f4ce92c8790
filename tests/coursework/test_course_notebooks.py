"""Notebooks: the hand-out as one, and answers found in what students made of it."""

from __future__ import annotations

import ast
import json

import pytest

from senumpy.coursework.catalogue import exercises
from senumpy.coursework.course.answers import find_answers
from senumpy.coursework.course.notebooks import NotebookError, answer_in, cells_of, notebook_of
from senumpy.coursework.course.settings import Course
from senumpy.coursework.course.submissions import Handed, Submission
from senumpy.coursework.strip import solution_text, student_text

pytest.importorskip("jupytext")


def notebook(*cells):
    made = [
        {"cell_type": "code", "source": cell, "metadata": {}, "outputs": [], "execution_count": None}
        for cell in cells
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}).encode()


@pytest.mark.parametrize("name", list(exercises()))
def test_a_notebook_has_the_code_of_the_script_and_nothing_else(name):
    text = student_text(exercises()[name])
    cells = cells_of(notebook_of(text, name, "check").encode())
    script = ast.parse(text)
    script.body = script.body[1:]  # the docstring is text in the notebook
    assert ast.dump(ast.parse("\n".join(cells))) == ast.dump(script)


@pytest.mark.parametrize("name", list(exercises()))
def test_the_answer_in_a_solved_notebook_is_what_its_functions_need(name):
    exercise = exercises()[name]
    text = solution_text(exercise)
    cells = ["%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])"]
    cells += cells_of(notebook_of(text, name, "check").encode())
    cells += ["!pip list", "x = 1\nprint(x)", "this cell ( does not parse"]
    answer = answer_in(cells_of(notebook(*cells)), exercise.targets)
    assert answer is not None
    assert "plt" not in answer
    defined = {node.name for node in ast.parse(answer).body if isinstance(node, ast.FunctionDef)}
    assert set(exercise.targets) <= defined
    names: dict[str, object] = {}
    exec(compile(answer, name, "exec"), names)  # nothing is missing
    assert callable(names[exercise.targets[0]])


def test_the_last_definition_counts():
    cells = ["def f(x):\n    return 1", "y = 2\ndef f(x):\n    return y", "y = 3"]
    answer = answer_in(cells, ("f",))
    names: dict[str, object] = {}
    exec(answer, names)
    assert names["f"](0) == 3
    assert answer_in(cells, ("g",)) is None


def test_a_cell_that_does_not_parse_spoils_its_own_answer_only():
    cells = ["def f(x):\n    return (", "def g(x):\n    return 1"]
    assert answer_in(cells, ("f",)) == cells[0]
    assert "return (" not in answer_in(cells, ("g",))


NONE = {
    "empty": b"",
    "no JSON": b"print(1)",
    "another JSON": b"[1, 2]",
    "no cells": b'{"nbformat": 4}',
    "cells of nonsense": b'{"cells": [1], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}',
    "nested": b"[" * 100_000,
    "not UTF-8": b"\xff\xfe\x00",
    "a number too large": b'{"nbformat": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_notebook_is_one_line(name):
    with pytest.raises(NotebookError) as caught:
        cells_of(NONE[name])
    assert "\n" not in str(caught.value)
    known = {"relu_backward": exercises()["relu_backward"]}
    submission = Submission("ada", [Handed("relu_backward.ipynb", NONE[name])])
    (answer,) = find_answers(submission, Course("T", {"relu_backward": 1}, 0), known, {"relu_backward": b""})
    assert answer.data is None
    assert answer.problem.startswith("relu_backward.ipynb is not a notebook that can be read: ")


def test_one_notebook_may_hold_several_exercises():
    names = ("relu_backward", "scale_backward")
    known = {name: exercises()[name] for name in names}
    cells = [
        cell
        for name in names
        for cell in cells_of(notebook_of(solution_text(known[name]), name, "").encode())
    ]
    submission = Submission("ada", [Handed("all.ipynb", notebook(*cells, "not python ("))])
    found = find_answers(
        submission, Course("T", dict.fromkeys(names, 1), 0), known, dict.fromkeys(names, b"")
    )
    for answer in found:
        assert answer.data is not None
        assert answer.label == "all.ipynb"
        other = names[1 - names.index(answer.exercise)]
        assert f"def {answer.exercise}".encode() in answer.data
        assert f"def {other}".encode() not in answer.data


def test_a_notebook_without_the_function_says_so():
    known = {"relu_backward": exercises()["relu_backward"]}
    submission = Submission("ada", [Handed("relu_backward.ipynb", notebook("x = 1"))])
    (answer,) = find_answers(submission, Course("T", {"relu_backward": 1}, 0), known, {"relu_backward": b""})
    assert answer.problem == "relu_backward.ipynb: no cell defines relu_backward"
