"""Lessons are found and described by what stands in them."""

from __future__ import annotations

import pytest

from senumpy.errors import InputError
from senumpy.lessons import catalogue
from tests.lessons.conftest import ROOT, small_lesson


def test_a_lesson_describes_itself(tmp_path):
    lesson = catalogue.read(small_lesson(tmp_path, 13, "scale", "x = 1"))
    assert (lesson.number, lesson.title, lesson.name) == (13, "A small lesson", "13_scale")
    assert lesson.question == "What is $x_{nc}$, and `why` not {py:func}`senumpy.ops.scale_forward`?"
    assert (lesson.paper, lesson.minutes) == ("section 3.2, equation 4; figure 1", 12)
    assert lesson.to_dict()["question"] == "What is x_{nc}, and why not scale_forward?"


@pytest.mark.parametrize(
    ("part", "wanted"),
    [("# # 3. A", "heading"), ("**Question.**", "Question"), ("*Paper:", "Paper"), ("Reading", "time")],
)
def test_what_is_missing_is_named(tmp_path, part, wanted):
    path = small_lesson(tmp_path, 3, "broken", "x = 1")
    path.write_text(path.read_text().replace(part, "# nothing"))
    with pytest.raises(InputError, match=wanted):
        catalogue.read(path)


def test_lessons_are_in_order_and_found_by_number(tmp_path):
    for number in (11, 2, 1):
        small_lesson(tmp_path, number, "name", "x = 1")
    (tmp_path / "conf.py").write_text("")
    assert [lesson.number for lesson in catalogue.lessons(tmp_path)] == [1, 2, 11]
    assert catalogue.find(2, tmp_path).path.name == "02_name.py"
    with pytest.raises(InputError, match=r"no lesson 7: wanted one of 1 to 11"):
        catalogue.find(7, tmp_path)


def test_the_checkouts_lessons_come_first():
    assert catalogue.lessons_folder() == ROOT / "lessons"


def test_no_lessons_at_all(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    with pytest.raises(InputError, match=r"no lessons beside or in"):
        catalogue.lessons_folder()
