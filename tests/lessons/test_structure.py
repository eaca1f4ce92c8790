"""Every lesson has the parts that a reader, the site and the exercises rely on."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from senumpy.coursework import exercises
from senumpy.lessons.catalogue import read
from tests.lessons.conftest import LESSONS

HEADER = """\
# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
"""


def cells(path: Path) -> list[tuple[str, str]]:
    """Return (marker line, text) of each cell; text cells without their comment signs."""
    parts = re.split(r"^(# %%.*)\n", path.read_text(), flags=re.M)[1:]
    found = []
    for marker, text in zip(parts[::2], parts[1::2], strict=True):
        if "[markdown]" in marker:
            text = re.sub(r"^# ?", "", text, flags=re.M)
        found.append((marker, text))
    return found


def markdown(path: Path) -> str:
    return "\n\n".join(text for marker, text in cells(path) if "[markdown]" in marker)


def headings(path: Path) -> list[str]:
    text = re.sub(r"^```.*?^```", "", markdown(path), flags=re.M | re.S)
    return re.findall(r"^#{1,3} .+$", text, re.M)


def section(path: Path, heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", markdown(path), re.M | re.S)
    assert found, heading
    return found[1]


EXERCISES = exercises()
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def test_there_are_twenty():
    assert [read(path).number for path in LESSONS] == list(range(1, 21))


@each_lesson
def test_opening(path):
    assert path.read_text().startswith(HEADER)
    lesson = read(path)
    assert lesson.number == int(path.stem[:2])
    assert lesson.question.endswith("?") or "?" in lesson.question
    assert 5 <= lesson.minutes < 15
    assert re.search(r"section|table|figure|equation|appendix", lesson.paper, re.I)


@each_lesson
def test_headings(path):
    found = headings(path)
    assert [line for line in found if line.startswith("# ")] == found[:1]
    sections = [line for line in found if line.startswith("## ")]
    assert sections[-2:] == ["## Summary", "## Exercises"]
    assert len(sections) == len(set(sections))
    for exercise in EXERCISES.values():
        if exercise.lesson == int(path.stem[:2]):
            assert f"## {exercise.section}" in sections, exercise.name


@each_lesson
def test_exercises(path):
    text = section(path, "Exercises")
    own = {name: str(one.points) for name, one in EXERCISES.items() if one.lesson == int(path.stem[:2])}
    listed = re.findall(r"^- `(\w+)` \((\d+) points?\):(.*(?:\n  .*)*)", text, re.M)
    assert {name: points for name, points, _ in listed} == own
    for name, _, rest in listed:
        assert f"`senumpy exercise start {name}`" in " ".join(rest.split())
    questions = re.findall(r"^\d+\. ", text, re.M)
    assert 2 <= len(questions) <= 5
    answers = re.findall(r"^ *:{3,}\{admonition\} Answer\n *:class: dropdown$", text, re.M)
    assert len(answers) == len(questions)


@each_lesson
def test_figures(path):
    figures = [(marker, text) for marker, text in cells(path) if "plt.show()" in text]
    assert figures
    for marker, text in figures:
        assert "hide-input" in marker
        options = re.search(r"mystnb=(\{.*\})$", marker)
        assert options, f"no alt text: {marker}"
        alt = json.loads(options[1])["image"]["alt"]
        assert len(alt) >= 60
        assert alt.endswith(".")
        assert "plt.show()" in map(ast.unparse, ast.parse(text).body)
        assert text.count("plt.show()") == 1  # an alt text describes one figure
    assert "style()" in path.read_text()


@each_lesson
def test_claims_are_checked_and_code_is_the_librarys(path):
    code = "\n".join(text for marker, text in cells(path) if "[markdown]" not in marker)
    tree = ast.parse(code)
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert len(asserts) >= 3
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    derives = any(exercise.lesson == int(path.stem[:2]) for exercise in EXERCISES.values())
    assert "show" in calls or not derives


@each_lesson
def test_length(path):
    words = len(markdown(path).split())
    assert 600 <= words <= 2700  # a quarter of an hour at 200 words a minute, code and formulas apart


@each_lesson
def test_links_to_lessons(path):
    for target in re.findall(r"\]\(([^)#]+\.(?:py|md))", markdown(path)):
        assert (path.parent / target).is_file(), target
