"""Submissions graded: in parallel, equal answers once, without loss when stopped; and what is reported."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from senumpy.cli import main
from senumpy.coursework.catalogue import exercises
from senumpy.coursework.course import build_course, grade, read_submissions
from senumpy.coursework.course.reports import grades_csv, summary
from senumpy.coursework.course.settings import Course
from senumpy.coursework.course.workers import Setting, Task, Workers
from senumpy.coursework.sandbox import Limits
from senumpy.coursework.strip import solution_lines, solution_text, student_text

ROOT = Path(__file__).parents[2]
FAKE = "tests.coursework.fake_checker:FakeChecker"
EMPTY = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}'
TWO = {"relu_backward": 1, "scale_backward": 2.5}


@pytest.fixture
def fake(monkeypatch, tmp_path_factory):
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setenv(
        "TMPDIR", str(tmp_path_factory.mktemp("scratch"))
    )  # a process that dies leaves its own
    return FAKE


def hand_in(folder, students):
    for student, given in students.items():
        (folder / student).mkdir(parents=True)
        for name, text in given.items():
            (folder / student / name).write_text(text)
    return read_submissions(folder)[0]


def test_points_by_student(tmp_path, fake):
    submissions = hand_in(
        tmp_path,
        {
            "ada": {"relu_backward.py": "right", "scale_backward.py": "right too"},
            "bob": {"relu_backward.py": "wrong", "scale_backward.py": "right"},
            "cyd": {"relu_backwards.py": "right"},
            "dan": {},
        },
    )
    grades = grade(submissions, Course("Week 3", TWO, 5), workers=2, checker=fake)
    text = grades_csv(grades).decode()
    assert text == (
        "student,relu_backward,scale_backward,total,out of\n"
        "ada,1,2.5,3.5,3.5\nbob,0,2.5,2.5,3.5\ncyd,0,0,0,3.5\ndan,0,0,0,3.5\n"
    )
    assert grades.students[0].verdicts["relu_backward"].line == "passed with seed 5"
    assert grades.counts("scale_backward") == {"passed": 2, "not begun": 2}
    assert grades.mistakes() == [("relu_backward", "a mistake", 1)]
    assert grades.different == 4
    assert not grades.interrupted


def test_equal_files_are_checked_once_and_each_exercise_for_itself(tmp_path, fake):
    students = {f"s{i}": {"relu_backward.py": "right", "scale_backward.py": "right"} for i in range(20)}
    grades = grade(hand_in(tmp_path, students), Course("T", TWO, 0), workers=1, checker=fake)
    assert grades.different == 2
    assert all(graded.total == 3.5 for graded in grades.students)


@pytest.mark.parametrize("what", ["break", "die"])
def test_a_checker_that_breaks_harms_no_other_answer_and_is_to_be_looked_at(tmp_path, fake, what):
    students = {f"s{i}": {"relu_backward.py": f"right {i}"} for i in range(5)}
    students["s2"] = {"relu_backward.py": what}
    grades = grade(hand_in(tmp_path, students), Course("T", {"relu_backward": 1}, 0), workers=1, checker=fake)
    assert [graded.total for graded in grades.students] == [1, 1, 0, 1, 1]
    verdict = grades.students[2].verdicts["relu_backward"]
    assert verdict.status == "error"
    assert "a teacher has to look" in verdict.line
    assert "To be looked at" in summary(grades)
    assert "s2: " in summary(grades)


def test_a_submission_that_breaks_the_reading_harms_no_other(tmp_path, fake, monkeypatch):
    from senumpy.coursework.course import answers

    def reading(cells, targets):
        raise AssertionError(cells)

    monkeypatch.setattr(answers, "answer_in", reading)
    students = {"ada": {"relu_backward.py": "right"}, "bob": {"relu_backward.ipynb": EMPTY}}
    grades = grade(hand_in(tmp_path, students), Course("T", {"relu_backward": 1}, 0), checker=fake)
    assert [graded.total for graded in grades.students] == [1, 0]
    assert "bob: what was handed in can't be read (AssertionError)" in summary(grades)


def test_workers_end_when_they_are_closed(fake):
    pool = Workers(2, Setting(("relu_backward",), 0, Limits(), fake))
    began = time.monotonic()
    verdicts = pool.check([Task("relu_backward", text, "f") for text in (b"right", b"slow", b"slow 2")])
    task, verdict = next(verdicts)
    assert (task.data, verdict.ok) == (b"right", True)
    pool.close()
    assert time.monotonic() - began < 15
    assert not any(process.is_alive() for process, _ in pool._all)


def test_stopped_by_the_user_what_is_graded_is_kept(tmp_path, fake, monkeypatch):
    students = {f"s{i}": {"relu_backward.py": f"right {i}", "scale_backward.py": "right"} for i in range(6)}
    students["s5"]["relu_backward.py"] = "slow"
    seen = []

    def progress(text):
        seen.append(text)
        if len(seen) == 4:
            raise KeyboardInterrupt

    submissions = hand_in(tmp_path, students)
    grades = grade(submissions, Course("T", TWO, 0), workers=1, checker=fake, progress=progress)
    assert grades.interrupted
    rows = list(csv.reader(grades_csv(grades).decode().splitlines()))[1:]
    assert [row[1] for row in rows] == ["1", "1", "1", "1", "", ""]
    assert {row[3] for row in rows} == {""}
    assert "Stopped before the end: all exercises of 0 of 6 are graded." in summary(grades)


def test_an_answer_that_takes_for_ever_is_given_up_and_the_others_are_checked(fake):
    texts = (b"right", b"slow", b"right 2", b"right 3")
    pool = Workers(1, Setting(("relu_backward",), 0, Limits(seconds=0.4), fake))
    began = time.monotonic()
    try:
        pool._all[0][1].send(Task("relu_backward", b"right", "f"))  # begun: starting takes a while
        assert pool._all[0][1].recv().ok
        found = {}
        for text in texts:
            for task, verdict in pool.check([Task("relu_backward", text, "f")]):
                found[task.data] = verdict
    finally:
        pool.close()
    assert time.monotonic() - began < 25
    assert [found[text].status for text in texts] == ["passed", "error", "passed", "passed"]
    assert "it took more than 6 s and was stopped" in found[b"slow"].line
    assert "a teacher has to look" in found[b"slow"].line
    assert max(map(len, found[b"slow"].feedback.splitlines())) < 80


# -- with the real checker --------------------------------------------------------------------------------

REFUSED = {
    "parse": ("def relu_backward(dy, cache:\n    pass", "not valid Python"),
    "empty": ("", "is empty"),
    "reference": ("from senumpy.ops import relu_backward\n", "reads the\n  reference"),
    "imports": ("import no_such\ndef relu_backward(dy, cache): pass", "no_such"),
}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("course")
    build_course(["relu_backward", "scale_backward"], folder, title="Week 3")
    return folder / "instructor"


def solved(name, **changes):
    text = solution_text(exercises()[name])
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_course_from_the_hand_out_to_the_grades(tmp_path, course, capsys):
    """Every kind of bad submission: one line, no points for that exercise, and all others untouched."""
    relu = exercises()["relu_backward"]
    todo = f'raise NotImplementedError("{relu.name}: your code goes here")'
    blank = student_text(relu)
    right = {name: solved(name) for name in ("relu_backward", "scale_backward")}
    nasty = {
        "hangs": blank.replace(todo, "while True: pass"),
        "exits": blank.replace(todo, "raise SystemExit"),
        "memory": blank.replace(todo, "return np.ones((10**6, 10**6))"),
        "prints": blank.replace(todo, "while True: print('x' * 1000)"),
        "untouched": blank,
    }
    files = {f"n_{name}": text for name, text in nasty.items()}
    files |= {f"r_{name}": text for name, (text, _) in REFUSED.items()}
    inbox = tmp_path / "inbox"
    students = {name: {"relu_backward.py": text} for name, text in files.items()}
    for given in students.values():
        given["scale_backward.py"] = right["scale_backward"]
    students["good"] = {f"{name}.py": text for name, text in right.items()}
    hand_in(inbox, students)
    (inbox / "r_bytes").mkdir()
    (inbox / "r_bytes" / "relu_backward.py").write_bytes(b"# \xff\xfe\ndef relu_backward(): pass")
    (inbox / "r_bytes" / "scale_backward.py").write_text(right["scale_backward"])
    out = tmp_path / "out"
    out.mkdir()
    arguments = ["course", "grade", str(inbox), "--course", str(course), "--out", str(out / "grades.csv")]
    arguments += ["--feedback", str(out / "feedback"), "--gradescope", str(out / "gradescope")]
    arguments += ["--junit", str(out / "junit.xml")]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    rows = {row["student"]: row for row in csv.DictReader((out / "grades.csv").read_text().splitlines())}
    assert rows.pop("good")["total"] == "2"
    assert len(rows) == len(nasty) + len(REFUSED) + 1
    for row in rows.values():
        assert (row["relu_backward"], row["scale_backward"], row["total"]) == ("0", "1", "1"), row
    for name, (_, words) in REFUSED.items():
        assert words in (out / "feedback" / f"r_{name}.md").read_text()
    assert "not UTF-8" in (out / "feedback" / "r_bytes.md").read_text()
    assert "nothing is written yet" in (out / "feedback" / "n_untouched.md").read_text()
    for path in (out / "feedback").iterdir():
        assert not [line for line in solution_lines(relu) if line in path.read_text()], path
    assert len(list((out / "gradescope").glob("*/results.json"))) == 11
    assert (out / "junit.xml").read_text().count("<testsuite ") == 11
    assert max(len(line) for line in printed.splitlines()) <= 79
    assert printed.strip() in (out / "summary.md").read_text()
    assert {path.name for path in out.iterdir()} == {
        "grades.csv",
        "summary.md",
        "feedback",
        "gradescope",
        "junit.xml",
    }


def test_without_a_course_the_exercises_are_those_that_were_handed_in(tmp_path, capsys):
    hand_in(tmp_path / "in", {"ada": {"scale_backward.py": solved("scale_backward")}})
    assert main(["course", "grade", str(tmp_path / "in"), "--out", str(tmp_path / "g.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] == {"scale_backward": 1}
    assert found["students"][0]["exercises"]["scale_backward"]["status"] == "passed"
    assert (tmp_path / "g.csv").read_text() == "student,scale_backward,total,out of\nada,1,1,1\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["no-folder", "--out", "g.csv"], "found nothing, wanted a folder"),
        (["in", "--out", "in"], "is a folder, wanted a file"),
        (["in", "--out", "no/g.csv"], "no folder no"),
        (["in", "--out", "g.csv", "--course", "in"], "no course.toml there"),
        (["in", "--out", "g.csv", "--workers", "0"], "got 0, wanted 1 to 256"),
        (["in", "--out", "g.csv", "--junit", "no/j.xml"], "--junit: no folder"),
        (["in", "--out", "g.csv", "--feedback", "file"], "is a file, wanted a folder"),
        (["in", "--out", "g.csv"], "no file has the name of an exercise"),
    ],
)
def test_bad_arguments_are_one_line_and_status_2(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in" / "ada").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert main(["course", "grade", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "g.csv").exists()


@pytest.fixture
def grading(tmp_path, course):
    """Give a process that is grading one right answer and nine that hang."""
    todo = 'raise NotImplementedError("relu_backward: your code goes here")'
    blank = student_text(exercises()["relu_backward"])
    students = {f"s{i}": {"relu_backward.py": blank.replace(todo, f"while True: {i}")} for i in range(9)}
    students["a"] = {"relu_backward.py": solved("relu_backward")}
    hand_in(tmp_path / "in", students)
    line = [sys.executable, "-m", "senumpy", "course", "grade", str(tmp_path / "in"), "--course", str(course)]
    process = subprocess.Popen(
        [*line, "--out", str(tmp_path / "g.csv"), "--workers", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    time.sleep(9)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


posix = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")


@posix
def test_control_c_writes_what_is_graded_and_leaves_no_process(tmp_path, grading):
    os.killpg(grading.pid, signal.SIGINT)  # a terminal sends it to all
    out, errors = grading.communicate(timeout=30)
    assert grading.returncode == 130
    assert "stopped; what was graded by then is in" in errors
    assert "Stopped before the end" in out
    rows = list(csv.DictReader((tmp_path / "g.csv").read_text().splitlines()))
    assert len(rows) == 10
    assert rows[0]["relu_backward"] == "1"
    assert rows[-1]["relu_backward"] == ""
    assert nobody_left(grading.pid)
    assert not list(tmp_path.glob("senumpy-sandbox-*"))


@posix
def test_killed_it_leaves_no_process_and_no_scratch_folder(tmp_path, grading):
    assert list(tmp_path.glob("senumpy-sandbox-*"))
    grading.kill()
    grading.communicate(timeout=30)
    assert nobody_left(grading.pid)
    assert not list(tmp_path.glob("senumpy-sandbox-*"))


def nobody_left(group):
    """Return whether a group of processes ends within seconds (multiprocessing's own helper goes last)."""
    until = time.monotonic() + 8
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
