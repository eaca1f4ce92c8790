"""A course written: students get no solution and no seed, the instructor gets all that grading needs."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import senumpy
from senumpy.coursework.catalogue import exercises
from senumpy.coursework.course import build_course, read_course
from senumpy.coursework.course.gradescope import autograder
from senumpy.coursework.course.notebooks import cells_of
from senumpy.coursework.course.settings import Course
from senumpy.coursework.strip import solution_lines, solution_text, student_text
from senumpy.errors import InputError

TWO = ("relu_backward", "scale_backward")


def files(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("notebooks", [False, True])
def test_no_solution_and_no_seed_reach_the_hand_out(tmp_path, notebooks):
    if notebooks:
        pytest.importorskip("jupytext")
    course = build_course(["all"], tmp_path, notebooks=notebooks)
    found = files(tmp_path / "handout")
    ending = "ipynb" if notebooks else "py"
    assert set(found) == {"README.md", *(f"{name}.{ending}" for name in exercises())}
    texts = {name: path.read_text(encoding="utf-8") for name, path in found.items()}
    assert not any(str(course.seed) in text for text in texts.values())
    assert not any("end of exercise" in text for text in texts.values())
    for name, exercise in exercises().items():
        text = texts[f"{name}.{ending}"]
        code = "\n".join(cells_of(text.encode())) if notebooks else text
        assert f'raise NotImplementedError("{name}: your code goes here")' in code
        lines = {line.strip() for line in code.splitlines()}
        given = {line.strip() for line in student_text(exercise).splitlines()}
        assert not (set(solution_lines(exercise)) - given) & lines, name


def test_the_instructor_gets_solutions_seed_and_autograder(tmp_path):
    course = build_course(TWO, tmp_path, title='Week 3: "SE"')
    found = files(tmp_path / "instructor")
    assert set(found) == {
        "README.md", "autograder.zip", "course.toml", *(f"solutions/{name}.py" for name in TWO)
    }  # fmt: skip
    assert read_course(tmp_path / "instructor") == read_course(tmp_path) == course
    assert course.title == 'Week 3: "SE"'
    assert course.points == {name: exercises()[name].points for name in TWO}
    for name in TWO:
        assert found[f"solutions/{name}.py"].read_text() == solution_text(exercises()[name])


def test_the_hand_out_says_what_is_due_and_how_to_check(tmp_path):
    build_course(TWO, tmp_path)
    text = (tmp_path / "handout" / "README.md").read_text()
    assert "2 points in all" in text
    assert "| `relu_backward.py` | " in text
    assert "senumpy exercise check relu_backward --dir ." in text
    ast.parse((tmp_path / "handout" / "relu_backward.py").read_text())


def test_seeds_differ_and_can_be_given(tmp_path):
    seeds = {build_course(TWO, tmp_path / str(i)).seed for i in range(3)}
    assert len(seeds) == 3
    assert min(seeds) > 0
    assert build_course(TWO, tmp_path / "given", seed=7).seed == 7
    with pytest.raises(InputError, match="got -1, wanted 0 or more"):
        build_course(TWO, tmp_path / "new", seed=-1)


def test_a_course_is_written_anew_and_keeps_its_seed_and_what_others_put_there(tmp_path):
    first = build_course(TWO, tmp_path, title="Week 3")
    (tmp_path / "instructor" / "notes.txt").write_text("mine")
    second = build_course(["relu_backward"], tmp_path)
    assert (second.seed, second.title) == (first.seed, "Week 3")
    assert "handout/scale_backward.py" not in files(tmp_path)
    assert "instructor/solutions/scale_backward.py" not in files(tmp_path)
    assert (tmp_path / "instructor" / "notes.txt").read_text() == "mine"


def test_the_hand_out_says_how_to_install(tmp_path):
    def text():
        return (tmp_path / "handout" / "README.md").read_text()

    build_course(TWO, tmp_path)
    assert "pip install senumpy" not in text()
    assert "as your teacher says" in text()
    course = build_course(TWO, tmp_path, install='Use the "image" of week 1')
    assert 'Use the "image" of week 1. Then, in this folder' in text()
    assert read_course(tmp_path) == course
    assert build_course(TWO, tmp_path).install == 'Use the "image" of week 1'


def test_a_lesson_stands_for_its_exercises(tmp_path):
    lesson = exercises()["relu_backward"].lesson
    course = build_course([f"lesson:{lesson}"], tmp_path)
    assert list(course.points) == [e.name for e in exercises().values() if e.lesson == lesson]
    with pytest.raises(InputError, match="lesson:N"):
        build_course(["lesson:999"], tmp_path)


@pytest.mark.parametrize("after", range(4))
def test_stopped_by_a_full_disk_it_can_be_built_again_with_its_seed(tmp_path, monkeypatch, after):
    from senumpy.coursework.course import build

    real, count = build.write_atomic, iter(range(100))

    def full(path, data):
        if next(count) >= after:
            raise InputError("No space left on device")
        real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_atomic", full)
        with pytest.raises(InputError, match="No space"):
            build_course(TWO, tmp_path / "course", seed=7)
    course = build_course(TWO, tmp_path / "course")
    assert (course.seed == 7) == (after > 0)
    assert (tmp_path / "course" / "handout" / "README.md").is_file()


def test_another_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds something else than a course"):
        build_course(TWO, tmp_path)
    with pytest.raises(InputError, match="is a file, wanted a folder"):
        build_course(TWO, tmp_path / "thesis.tex")
    assert list(files(tmp_path)) == ["thesis.tex"]


def test_names_of_exercises_are_checked_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match="did you mean 'relu_backward'"):
        build_course(["relu_bakward"], tmp_path / "new")
    with pytest.raises(InputError, match="at least one"):
        build_course([], tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert list(build_course(["relu_backward"] * 2, tmp_path / "new").points) == ["relu_backward"]


HEAD = "format = 1\ntitle = 'x'\nseed = 1\nnotebooks = false\n"
BROKEN = {
    "": "got format None",
    "format = 2": "wanted format 1",
    "format = 1\nseed = 'x'": "title",
    "format = 1\ntitle = 'x'\nseed = 'x'": "got seed = 'x', wanted a whole number",
    "format = 1\ntitle = 'x'\nseed = true": "wanted a whole number",
    "format = 1\ntitle = 'x'\nseed = -1\nnotebooks = false": "wanted 0 or more",
    "format = 1\ntitle = 'x'\nseed = 1\nnotebooks = 3": "wanted true or false",
    HEAD: "wanted a table",
    f"{HEAD}[exercises]": "no exercises",
    f"{HEAD}[exercises]\nrelu_backward = 'a'": "got 'a' points",
    f"{HEAD}[exercises]\nrelu_backward = nan": "got nan points",
    f"{HEAD}[exercises]\nrelu = 1": "unknown exercise 'relu'",
    "format = = 1": "line 1",
}


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_course_file_is_one_line(tmp_path, text):
    (tmp_path / "course.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_course(tmp_path)
    assert BROKEN[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_course_says_what_was_wanted(tmp_path):
    with pytest.raises(InputError, match=r"no course\.toml there; wanted the folder"):
        read_course(tmp_path)


def test_the_autograder_holds_the_package_as_it_is_and_two_programs():
    course = Course("T", {"relu_backward": 1.5}, 3)
    data = autograder(course)
    assert data == autograder(course)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
        assert modes["setup.sh"] == modes["run_autograder"] == 0o100755
        assert modes["course.toml"] == 0o100644
        package = Path(senumpy.__file__).parent
        for path in package.rglob("*.py"):
            assert archive.read(path.relative_to(package.parent).as_posix()) == path.read_bytes()
        assert not any("__pycache__" in name for name in modes)
        setup = archive.read("setup.sh").decode()
        assert "numpy" in setup
        assert "extra ==" not in setup


@pytest.mark.skipif(sys.platform == "win32", reason="the autograder runs on Linux")
def test_the_autograder_grades_a_submission(tmp_path):
    """As Gradescope runs it, but for `setup.sh`, which needs a registry: this Python takes its place."""
    base = tmp_path / "autograder"
    course = Course("Week 3", {"relu_backward": 2, "scale_backward": 1}, 11)
    with zipfile.ZipFile(io.BytesIO(autograder(course))) as archive:
        archive.extractall(base / "source")
    python = base / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (base / "submission").mkdir()
    (base / "submission" / "relu_backward.py").write_text(solution_text(exercises()["relu_backward"]))
    (base / "submission" / "scale_bakward.py").write_text("x")
    environment = {**os.environ, "AUTOGRADER": str(base)}
    done = subprocess.run(
        ["bash", str(base / "source" / "run_autograder")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((base / "results" / "results.json").read_text())
    assert results["score"] == 2
    first, second = results["tests"]
    assert (first["name"], first["score"], first["max_score"], first["status"]) == (
        "relu_backward",
        2,
        2,
        "passed",
    )
    assert (second["score"], second["max_score"], second["status"]) == (0, 1, "failed")
    assert "found scale_bakward.py, wanted scale_backward.py" in second["output"]
    assert results["stdout_visibility"] == "hidden"
