"""Students' files: made of the reference, without its solutions."""

from __future__ import annotations

import ast
import re

import pytest

from senumpy.coursework.catalogue import PACKAGE, exercise_named, exercises
from senumpy.coursework.exercise import parse_marker
from senumpy.coursework.hints import hints
from senumpy.coursework.strip import imported_names, solution_lines, solution_text, student_text
from senumpy.errors import InputError

NAMES = sorted(exercises())
# Lines of a solution that say nothing of it.
PLAIN = re.compile(
    r"^([\s)\]}({\[,]*|return|else:|if b is not None:|xp = namespace.*|n, [co].* = .*"
    r"|def .*|raise ValueError.*|\) -> .*|\w+: [\w |.]+,|\"\"\".*)$"
)


def words(line: str) -> str:
    """Return a line without its comment and spaces."""
    return re.sub(r"\s+", "", line.partition("  #")[0])


def telling(name: str) -> list[str]:
    """Return the lines of a solution that a student's file must not have."""
    return [
        line for line in solution_lines(exercises()[name]) if not PLAIN.match(line) and len(words(line)) > 8
    ]


def test_there_are_about_thirty_in_the_order_of_lessons() -> None:
    assert len(NAMES) >= 30
    lessons = [exercise.lesson for exercise in exercises().values()]
    assert lessons == sorted(lessons)


@pytest.mark.parametrize("name", NAMES)
def test_a_students_file_has_no_solution_and_no_marker(name: str) -> None:
    text = student_text(exercises()[name])
    lines = {words(line) for line in text.splitlines()}
    assert not lines & {words(line) for line in telling(name)}
    assert "# exercise" not in text
    assert "# end of exercise" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_students_file_has_no_solution_of_another_exercise(name: str) -> None:
    lines = {words(line) for line in student_text(exercises()[name]).splitlines()}
    for other in NAMES:
        leaked = lines & {words(line) for line in telling(other)}
        assert not leaked, f"{name} shows {other}: {leaked}"


@pytest.mark.parametrize("name", NAMES)
def test_a_students_file_is_whole(name: str) -> None:
    exercise = exercises()[name]
    text = student_text(exercise)
    tree = ast.parse(text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    for target in exercise.targets:
        assert ast.get_docstring(functions[target])
        assert f'raise NotImplementedError("{name}: your code goes here")' in ast.unparse(
            functions[target]
        ).replace("'", '"')
    original = ast.get_docstring(ast.parse(exercise.source.read_text()))
    assert original is not None
    assert original.splitlines()[0] in (ast.get_docstring(tree) or "")
    # What it names is there: it runs, and every name that its functions use is known.
    space: dict[str, object] = {"__name__": "answer"}
    exec(compile(text, name, "exec"), space)
    assert all(given in space for given in exercise.given)


@pytest.mark.parametrize("name", NAMES)
def test_a_solutions_file_is_the_references_code(name: str) -> None:
    exercise = exercises()[name]
    text = solution_text(exercise)
    solved = {words(line) for line in text.splitlines()}
    assert {words(line) for line in solution_lines(exercise) if not line.startswith("#")} <= solved
    exec(compile(text, name, "exec"), {"__name__": "answer"})


@pytest.mark.parametrize("name", NAMES)
def test_hints_are_there_and_hold_no_line_of_the_solution(name: str) -> None:
    texts = hints()[name]
    assert texts
    for line in telling(name):
        assert all(words(line) not in words(hint) for hint in texts)


def test_no_hints_for_what_is_no_exercise() -> None:
    assert set(hints()) == set(exercises())


@pytest.mark.parametrize("name", NAMES)
def test_docstrings_of_targets_fit_a_screen(name: str) -> None:
    assert max(map(len, student_text(exercises()[name]).splitlines())) <= 110


def test_a_helper_that_another_exercise_solves_is_imported() -> None:
    names = imported_names(student_text(exercises()["conv2d_backward"]))
    assert names["senumpy.ops.conv2d"] == {"_im2col", "_kernel_matrix"}


def test_the_derivation_above_a_function_is_left_out() -> None:
    source = (PACKAGE / "ops/batchnorm.py").read_text()
    assert "mean(g xhat)" in source
    assert "mean(g xhat)" not in student_text(exercises()["batchnorm2d_backward"])


@pytest.mark.parametrize("name", ["relu_bakward", "relu_backwards.py"])
def test_an_unknown_name_is_refused_with_the_nearest(name: str) -> None:
    with pytest.raises(InputError, match="did you mean 'relu_backward'"):
        exercise_named(name)


def test_the_name_of_a_file_is_taken() -> None:
    assert exercise_named("relu_backward.py").name == "relu_backward"


@pytest.mark.parametrize(
    "text", ["", "3 points", '3 points, level 4, lesson 1 "A"', "3 points, level 1, lesson 1 A"]
)
def test_a_marker_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted: N points"):
        parse_marker(text)
