"""Notebooks: the hand-out as one, and answers found in what students made of it."""

from __future__ import annotations

import ast
import json
import warnings

import pytest

from senumpy.coursework.catalogue import exercises
from senumpy.coursework.course.answers import find_answers
from senumpy.coursework.course.cells import answer_in
from senumpy.coursework.course.notebooks import NotebookError, cells_of, notebook_of
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


def run(cells, target="f", *arguments):
    names: dict[str, object] = {"__name__": "answer"}
    exec(compile(answer_in(cells, (target,)), "answer", "exec"), names)
    return names[target](*arguments)


TRIAL = "from senumpy.ops import relu_forward; y, cache = relu_forward(x)"


def test_a_trial_is_left_out_though_an_argument_has_its_name():
    cells = [
        "import numpy as np, matplotlib.pyplot as plt",
        TRIAL,
        "def f(dy, cache):\n    y = np.abs(dy)\n    return y",
    ]
    answer = answer_in(cells, ("f",))
    assert "relu_forward" not in answer
    assert "plt" not in answer
    assert run(cells, "f", -1, None) == 1


WHOLE = {  # what f() returns, all of whose cells count
    "subscript": ["import numpy as np\nB = np.zeros((2, 2))\nB[0, 0] = 1", "def f():\n    return B.sum()"],
    "augmented": ["n = 0; n += 1", "def f():\n    return n"],
    "attribute": ["def g():\n    return 0", "g.value = 1", "def f():\n    return g.value"],
    "wrapped": ["def f():\n    return 0", "g = f\nf = lambda: g() + 1"],
    "method": ["found = []", "found.append(1)", "def f():\n    return len(found)"],
    "default": ["n = 1", "def f(n=n):\n    return n"],
    "decorator": ["def plus(g):\n    return lambda: g() + 1", "@plus\ndef f():\n    return 0"],
    "annotation": ["from typing import Any", "def f() -> Any:\n    return 1"],
    "nested": ["n = 1", "def f():\n    def g():\n        return [n for _ in '1'][0]\n    return g()"],
    "class": ["n = 1", "class C:\n    def get(self):\n        return n", "def f():\n    return C().get()"],
    "if": ["if True:\n    n = 1\nelse:\n    n = 2", "def f():\n    return n"],
    "try": ["try:\n    import no_such as m\nexcept ImportError:\n    m = 1", "def f():\n    return m"],
    "for": ["t = {}\nfor i in range(3):\n    t[i] = i", "def f():\n    return t[1]"],
    "with": ["import io\nwith io.StringIO('1') as file:\n    n = int(file.read())", "def f():\n    return n"],
    "if def": ["if True:\n    def f():\n        return 1"],
    "read between": ["n = 1\ndef g():\n    return n\nm = g()", "n = 2\ndef f():\n    return m"],
    "replaced": ["from no_such import f", "def f():\n    return 0", "def f():\n    return 1"],
    "future": [
        "from __future__ import annotations\nn = 1",
        "from __future__ import annotations, division\ndef f(x: No = None) -> No:\n    return n",
    ],
    "star": ["from math import *", "def f():\n    return cos(0)"],
    "mended": ["def f(:\n    return", "def f():\n    return 1"],
    "line ends": ["n = 1\r\nm = 'é'; k = 1\r\n", "def f():\r\n    return n * k"],
    "unpacked": ["a, (b, *c) = 0, (1, 2)", "def f():\n    return b"],
    "deleted": ["n = 1", "def f():\n    return n", "del n"],
    "star is not needed": ["from no_such import *", "n = 1\ndef f():\n    return abs(n)"],
    "asserted": [
        "import numpy as np",
        "n = np.ones(1)",
        "def f():\n    return np.sum(n)",
        "np.no_such.check(f())",
    ],
}


@pytest.mark.parametrize("name", WHOLE)
def test_all_that_makes_a_needed_name_is_kept(name):
    assert run(WHOLE[name]) == 1


def test_many_statements_take_no_time():
    cells = ["\n".join(f"n = {i}\nn += 1" for i in range(20_000)), "def f():\n    return n"]
    assert run(cells) == 20_000


def test_a_folder_of_the_other_kind_does_not_win():
    """In a notebook course a script of the name is from `jupytext --to py`: older than the notebook."""
    known = {"relu_backward": exercises()["relu_backward"]}
    blank = student_text(known["relu_backward"])
    right = solution_text(known["relu_backward"])
    made = {True: "relu_backward.ipynb", False: "relu_backward.py"}
    book = notebook(*cells_of(notebook_of(right, "relu_backward", "").encode()))
    stale = Handed("relu_backward.py", right.replace("return", "return 2 *").encode())
    for kind, name in made.items():
        course = Course("T", {"relu_backward": 1}, 0, kind)
        given = Submission("ada", [stale, Handed("relu_backward.ipynb", book)])
        (answer,) = find_answers(given, course, known, {"relu_backward": blank.encode()})
        assert answer.label == name
        assert f"{name} was graded, not" in answer.note


def test_an_untouched_notebook_is_no_answer_where_there_is_one():
    known = {"relu_backward": exercises()["relu_backward"]}
    blank = student_text(known["relu_backward"])
    book = notebook_of(blank, "relu_backward", "check").encode()
    right = Handed("relu_backward.py", solution_text(known["relu_backward"]).encode())
    given = Submission("ada", [right, Handed("relu_backward.ipynb", book)])
    course = Course("T", {"relu_backward": 1}, 0, notebooks=True)
    (answer,) = find_answers(given, course, known, {"relu_backward": blank.encode()})
    assert (answer.label, answer.note) == ("relu_backward.py", "")


def test_reading_a_notebook_writes_nothing_to_standard_error(capfd):
    cell = {"cell_type": "code", "source": "x = 1", "metadata": {}, "outputs": [], "execution_count": None}
    for cells in ([cell], [{**cell, "id": "a"}, {**cell, "id": "a"}], [{**cell, "more": 1}]):
        data = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            assert set(cells_of(json.dumps(data).encode())) == {"x = 1"}
    assert capfd.readouterr().err == ""


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
