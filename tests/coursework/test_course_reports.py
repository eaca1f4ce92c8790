"""What is reported of grades: a summary, tables and pages, and how they are written."""

from __future__ import annotations

import csv
import json

import pytest

from senumpy.cli import main
from senumpy.coursework.catalogue import exercises
from senumpy.coursework.course.alike import fingerprint, groups
from senumpy.coursework.course.gradescope import results
from senumpy.coursework.course.outcome import Alike, Graded, Grades
from senumpy.coursework.course.reports import feedback, grades_csv, summary
from senumpy.coursework.course.settings import Course
from senumpy.coursework.course.submissions import file_name
from senumpy.coursework.verdict import Verdict


def answer(body, extra=""):
    return f"import numpy as np\n{extra}\ndef f(x, cache):\n" + "\n".join(f"    {line}" for line in body)


LONG = [
    "total = np.zeros_like(x)",
    "for n in range(x.shape[0]):",
    "    for c in range(x.shape[1]):",
    "        total[n, c] += x[n, c] * cache.gate[n, c] + helper(x[n, c], scale=2)",
    "return total / x.size",
]
HELPER = "def helper(a, scale):\n    return a * scale\n"
SAME = {
    "comments": "# mine\n" + answer(LONG, HELPER) + "  # done",
    "names": answer(LONG, HELPER).replace("total", "summe").replace("cache", "c_"),
    "helper's name": answer(LONG, HELPER).replace("helper", "hilf").replace("scale", "faktor"),
    "docstring": answer(LONG, HELPER).replace("cache):\n", 'cache):\n    """Say."""\n', 1),
    "annotations": answer(LONG, HELPER).replace("x, cache)", "x: np.ndarray, cache: tuple) -> np.ndarray"),
    "layout": answer(LONG, HELPER)
    .replace("x[n, c]", "x[n,c]")
    .replace("total / x", "(total / x")
    .replace(".size", ".size)"),
    "import": answer(LONG, HELPER).replace("as np", "as numpy").replace("np.", "numpy."),
}
OTHER = {
    "operator": answer(LONG, HELPER).replace("+=", "-="),
    "number": answer(LONG, HELPER).replace("scale=2", "scale=3"),
    "attribute": answer(LONG, HELPER).replace("cache.gate", "cache.fate"),
    "order": answer([*LONG[:1], "n = 0", *LONG[1:]], HELPER),
    "swapped names": answer(LONG, HELPER).replace("x[n, c]", "x[c, n]"),
    "library function": answer(LONG, HELPER).replace("zeros_like", "ones_like"),
}


@pytest.mark.parametrize("name", SAME)
def test_names_comments_and_layout_make_no_difference(name):
    assert SAME[name] != answer(LONG, HELPER)
    assert fingerprint(SAME[name], ("f",))[0] == fingerprint(answer(LONG, HELPER), ("f",))[0]


@pytest.mark.parametrize("name", OTHER)
def test_what_computes_something_else_is_another_answer(name):
    assert fingerprint(OTHER[name], ("f",))[0] != fingerprint(answer(LONG, HELPER), ("f",))[0]


def test_groups_leave_out_what_everybody_has_and_what_is_short():
    long, handout = answer(LONG, HELPER), answer(["raise NotImplementedError"])
    reference, short = answer([*LONG, "# reference", "x = 1"], HELPER), answer(["return x"])
    given = {
        "a": long, "b": "# b\n" + long.replace("total", "t"), "c": reference, "d": reference, "e": handout,
        "f": handout, "g": short, "h": short, "i": "def (", "j": "def (",
    }  # fmt: skip
    rows = [(student, text.encode(), student == "a") for student, text in given.items()]
    found = groups("ex", rows, ("f",), (reference, handout))
    assert [(group.exercise, group.students) for group in found] == [("ex", ["a", "b"])]


def verdict(name="relu_backward", status="passed", **words):
    return Verdict(name, status, 1 if status == "passed" else 0, f"{name}: line", f"{name}: text", **words)


def test_the_summary_has_79_columns_whatever_is_in_it():
    names = list(exercises())
    course = Course("A long title " * 12, dict.fromkeys(names, 1), 0)
    verdicts = {
        name: verdict(name, "failed", mistakes=("a.very_long_name_of_a_mistake" * 3,)) for name in names
    }
    students = [Graded(f"student-with-a-long-name-{i}" * 3, verdicts) for i in range(30)]
    alike = [Alike(names[-1], [graded.student for graded in students], 12, True)] * 20
    grades = Grades(course, students, alike, besides=["x" * 200], walls="seccomp, " * 30, interrupted=True)
    assert max(len(line) for line in summary(grades).splitlines()) <= 79


def test_a_table_of_a_spreadsheet_does_not_compute_names():
    course = Course("T", {"relu_backward": 1}, 0)
    students = [Graded(name, {"relu_backward": verdict()}) for name in ("=1+1", 'a,"b"', "ü")]
    rows = list(csv.reader(grades_csv(Grades(course, students)).decode().splitlines()))
    assert [row[0] for row in rows] == ["student", "'=1+1", 'a,"b"', "ü"]


def test_feedback_cannot_break_out_of_its_page():
    course = Course("T", {"relu_backward": 1}, 0)
    bad = Verdict("relu_backward", "failed", 0, "l", "```\n# Passed\n````")
    text = feedback(Graded("ada", {"relu_backward": bad}), Grades(course, []))
    assert "\n`````text\n```\n# Passed\n````\n`````\n" in text
    assert file_name("../a:b") == "_a_b"
    assert file_name("..") == "_"


def test_a_note_is_filled_and_one_point_is_a_point():
    course = Course("T", {"relu_backward": 1}, 0)
    graded = Graded("ada", {"relu_backward": verdict()}, {"relu_backward": "there are several files " * 9})
    grades = Grades(course, [graded])
    assert "1 of 1 point.\n" in feedback(graded, grades)
    assert max(map(len, feedback(graded, grades).splitlines())) < 80
    found = results(graded, grades)
    assert found["output"] == "T: 1 of 1 point."
    assert max(map(len, found["tests"][0]["output"].splitlines())) < 80


def test_results_for_gradescope():
    course = Course("T", {"relu_backward": 3, "scale_backward": 1}, 0)
    verdicts = {"relu_backward": verdict(), "scale_backward": verdict("scale_backward", "not begun")}
    found = results(Graded("ada", verdicts, {"relu_backward": "two files"}), Grades(course, [], seconds=2.6))
    json.dumps(found)
    assert found["execution_time"] == 3
    assert [test["status"] for test in found["tests"]] == ["passed", "failed"]
    assert found["tests"][0]["output"] == "relu_backward: text\n\nNote: two files."
    allowed = {"score", "max_score", "status", "name", "name_format", "number", "output", "output_format",
               "tags", "visibility", "extra_data"}  # fmt: skip
    assert all(set(test) <= allowed for test in found["tests"])


@pytest.fixture
def graded_course(tmp_path, monkeypatch):
    """Let a course of one student be graded without work."""
    monkeypatch.chdir(tmp_path)
    for name in ("ada", "bob"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "relu_backward.py").touch()
    called = []

    def graded(submissions, course, **words):
        called.append(1)
        return Grades(course, [Graded(given.student, {"relu_backward": verdict()}) for given in submissions])

    monkeypatch.setattr("senumpy.coursework.course.grade", graded)
    return called


def test_every_place_is_tried_before_the_work(tmp_path, graded_course, capsys):
    (tmp_path / "file").touch()
    (tmp_path / "summary.md").mkdir()
    (tmp_path / ".j.xml.tmp").mkdir()
    words = [
        "in",
        "--out",
        "g.csv",
        "--feedback",
        "file/feedback",
        "--gradescope",
        "file",
        "--junit",
        "j.xml",
    ]
    assert main(["course", "grade", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    options = ["--out (summary.md beside it): ", "--junit: ", "--feedback: ", "--gradescope: "]
    assert len(lines) == 4
    assert all(option in line for option, line in zip(options, lines, strict=True))
    assert not graded_course
    assert not (tmp_path / "g.csv").exists()


def test_two_outputs_of_one_name_are_refused(tmp_path, graded_course, capsys):
    assert main(["course", "grade", "in", "--out", "g.csv", "--junit", "g.csv"]) == 2
    assert "wanted files of different names" in capsys.readouterr().err
    assert not graded_course


@pytest.mark.parametrize("broken", ["g.csv", "feedback/ada.md", "j.xml"])
def test_what_cannot_be_written_harms_no_other_file(tmp_path, graded_course, monkeypatch, capsys, broken):
    from senumpy.coursework.course import saving
    from senumpy.errors import InputError

    real = saving.write_atomic

    def full(path, data):
        if path.resolve() == tmp_path / broken:
            raise InputError(f"cannot save {path}: No space left on device")
        real(path, data)

    monkeypatch.setattr(saving, "write_atomic", full)
    words = ["--out", "g.csv", "--feedback", "feedback", "--gradescope", "scope", "--junit", "j.xml"]
    assert main(["course", "grade", "in", *words]) == 2
    printed = capsys.readouterr()
    assert "2 submissions, 1 exercise" in printed.out
    assert printed.err.count("\n") == 1
    assert broken in printed.err
    assert "all else is written" in printed.err
    wanted = {"g.csv", "summary.md", "feedback/ada.md", "feedback/bob.md", "j.xml"}
    wanted |= {f"scope/{name}/results.json" for name in ("ada", "bob")}
    assert {name for name in wanted if (tmp_path / name).is_file()} == wanted - {broken}


def test_all_is_written_though_nobody_reads_what_is_printed(tmp_path, graded_course, monkeypatch):
    def closed(grades):
        raise BrokenPipeError

    monkeypatch.setattr("senumpy.coursework.course.reports.summary", closed)
    main(["course", "grade", "in", "--out", "g.csv", "--feedback", "feedback"])
    assert (tmp_path / "g.csv").is_file()
    assert (tmp_path / "feedback" / "ada.md").is_file()
