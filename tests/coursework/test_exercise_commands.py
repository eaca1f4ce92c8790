"""`senumpy exercise`: what a student types and reads."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from senumpy.cli import main
from senumpy.coursework import exercises

RIGHT = "def relu_backward(dy, cache):\n    return dy * cache.mask\n"
WRONG = "def relu_backward(dy, cache):\n    return dy * 1.0\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path / "exercises"


def run(*arguments: str) -> int:
    """Run `senumpy exercise`."""
    return main(["exercise", *arguments])


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line that says why a command is refused."""
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("senumpy: ")
    assert said.count("\n") == 1
    return said


def test_a_list_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list") == 0
    text = capsys.readouterr().out
    assert all(name in text for name in exercises())
    assert f"{len(exercises())} exercises; 0 of {sum(e.points for e in exercises().values())} points." in text
    assert max(map(len, text.splitlines())) <= 79


def test_a_list_of_one_lesson_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--lesson", "13", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [
        "scale_backward", "squeeze_excite_forward", "squeeze_excite_backward"
    ]  # fmt: skip


def test_a_lesson_without_exercises_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "got 16, which has none; lessons with exercises are 1, 2, 3" in refused(
        capsys, "list", "--lesson", "16"
    )


def test_from_start_to_pass(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("start", "relu_backward") == 0
    text = capsys.readouterr().out
    assert f"{Path('exercises') / 'relu_backward.py'} (1 point, level 1)" in text
    assert max(map(len, text.splitlines())) <= 79

    assert run("check", "relu_backward") == 1
    assert "relu_backward: not begun, 0 of 1 point." in capsys.readouterr().out

    (folder / "relu_backward.py").write_text(WRONG)
    assert run("check") == 1
    assert "no-mask: The gradient passes everywhere." in " ".join(capsys.readouterr().out.split())
    assert run("list", "--lesson", "3") == 0
    assert "relu_backward                        1      1  failed" in capsys.readouterr().out

    (folder / "relu_backward.py").write_text(RIGHT)
    assert run("list", "--lesson", "3", "--json") == 0
    assert '"status": "begun"' in capsys.readouterr().out  # another file than the one that failed
    assert run("check", "relu_backward", "--json") == 0
    (verdict,) = json.loads(capsys.readouterr().out)
    assert (verdict["status"], verdict["points"]) == ("passed", 1)
    assert run("list") == 0
    assert "; 1 of " in capsys.readouterr().out


def test_all_of_a_lesson(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("start", "lesson:13") == 0
    assert sorted(path.name for path in folder.glob("*.py")) == [
        "scale_backward.py", "squeeze_excite_backward.py", "squeeze_excite_forward.py"
    ]  # fmt: skip
    assert run("check", "lesson:13") == 1
    assert "0 of 3 exercises, 0 of 5 points." in capsys.readouterr().out


def test_a_file_that_is_there_is_never_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("start", "relu_backward")
    (folder / "relu_backward.py").write_text(RIGHT)
    assert "is there already, and was left as it is" in refused(capsys, "start", "relu_backward")
    assert (folder / "relu_backward.py").read_text() == RIGHT


def test_of_several_those_that_are_not_there_are_begun(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("start", "scale_backward")
    capsys.readouterr()
    assert run("start", "lesson:13") == 0
    assert "scale_backward.py is there already, and was left as it is" in capsys.readouterr().err
    assert len(list(folder.glob("*.py"))) == 3
    assert "unknown exercise" in refused(capsys, "start", "cosine", "nothing_like_it")
    assert len(list(folder.glob("*.py"))) == 3


def test_a_reset_keeps_the_old_files(folder: Path) -> None:
    run("start", "relu_backward")
    fresh = (folder / "relu_backward.py").read_text()
    for text in (RIGHT, WRONG):
        (folder / "relu_backward.py").write_text(text)
        assert run("reset", "relu_backward") == 0
    assert (folder / "relu_backward.py").read_text() == fresh
    assert (folder / "relu_backward.py.old1").read_text() == RIGHT
    assert (folder / "relu_backward.py.old2").read_text() == WRONG


def test_hints_go_on_and_begin_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("start", "squeeze_excite_backward")
    capsys.readouterr()
    said = []
    for _ in range(4):
        assert run("hint", "squeeze_excite_backward") == 0
        said.append(capsys.readouterr().out)
    assert [text[:11] for text in said] == ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3", "Hint 1 of 3"]
    assert max(len(line) for text in said for line in text.splitlines()) <= 79


def test_the_solution_is_an_answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("solution", "relu_backward") == 0
    folder.mkdir()
    (folder / "relu_backward.py").write_text(capsys.readouterr().out)
    assert run("check", "relu_backward") == 0


def test_an_example_can_be_looked_at(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder.mkdir()
    (folder / "relu_backward.py").write_text(WRONG)
    assert run("check", "relu_backward", "--save", "case.npz") == 1
    with np.load("case.npz") as case:
        assert np.array_equal(case["wanted_dx"], case["dy"] * (case["x"] > 0))
        assert np.array_equal(case["got_dx"], case["dy"])
    (folder / "relu_backward.py").write_text(RIGHT)
    assert run("check", "relu_backward", "--save", "other.npz") == 0
    assert "other.npz is not written: no answer gave wrong numbers" in capsys.readouterr().err
    assert not Path("other.npz").exists()
    assert "ends in .npz" in refused(capsys, "check", "relu_backward", "--save", "case.txt")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["start", "relu_bakward"], "did you mean 'relu_backward'"),
        (["start", "lesson:99"], "got lesson:99, wanted an exercise, or lesson:N"),
        (["start", "relu_backward", "--dir", "file/x"], "cannot make the folder"),
        (["check"], "no exercise is begun in exercises"),
        (["check", "relu_backward"], "exercise start relu_backward writes it"),
        (["check", "relu_backward", "--seed", "-1"], "--seed: got -1"),
        (["watch"], "no folder exercises"),
        (["hint", "nothing_like_it"], "unknown exercise"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert said in refused(capsys, *arguments)


def test_notes_that_are_lost_or_broken_cost_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("start", "relu_backward")
    for broken in ("", "{", "[1]", '{"relu_backward": 3}'):
        (folder / ".senumpy-progress.json").write_text(broken)
        assert run("list") == 0
        assert run("hint", "relu_backward") == 0


def test_a_folder_that_is_named_like_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "relu_backward.py").mkdir(parents=True)
    assert "cannot read" in refused(capsys, "check", "relu_backward")


def test_a_notebook_is_checked_without_its_trials(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jupytext = pytest.importorskip("jupytext")
    trial = "# %%\nimport matplotlib\nfrom senumpy.ops import relu_forward\ny, cache = relu_forward(1)\n"
    folder.mkdir()
    notebook = folder / "relu_backward.ipynb"
    notebook.write_text(jupytext.writes(jupytext.reads(f"# %%\n{RIGHT}\n{trial}", "py:percent"), "ipynb"))
    assert run("check") == 0
    assert "relu_backward: passed, 1 of 1 point" in capsys.readouterr().out
    assert run("list", "--lesson", "3", "--json") == 0
    assert '"status": "passed"' in capsys.readouterr().out
    notebook.write_text(jupytext.writes(jupytext.reads(trial, "py:percent"), "ipynb"))
    assert "no cell defines a function relu_backward" in refused(capsys, "check", "relu_backward")
    notebook.write_text("{")
    assert "relu_backward.ipynb" in refused(capsys, "check", "relu_backward")


def test_watching_checks_what_is_saved(folder: Path) -> None:
    folder.mkdir()
    (folder / "relu_backward.py").write_text(WRONG)
    process = subprocess.Popen(
        [sys.executable, "-m", "senumpy", "exercise", "watch", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["status"] == "failed"
        time.sleep(0.5)  # until the folder is watched
        (folder / "scale_backward.ipynb").write_text("{")  # half saved: no end of watching
        time.sleep(0.5)
        (folder / "relu_backward.py").write_text(RIGHT)
        assert json.loads(process.stdout.readline())["status"] == "passed"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        process.stdout.close()
    assert process.returncode in (0, 130)
