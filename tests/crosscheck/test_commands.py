"""`senumpy crosscheck` and `senumpy golden`: exit status, one line for bad input, JSON, JUnit."""

from __future__ import annotations

import json

import pytest

from senumpy.cli import main

MINE = """
import sys

import numpy as np

def forward(x, w, b=None):
    return x @ w.T + (0 if b is None else b), (x, w, b)

def backward(dy, cache):
    x, w, b = cache
    return dy @ w, dy.T @ x, None if b is None else dy.sum(0)

def averaged(dy, cache):
    dx, dw, db = backward(dy, cache)
    return dx, dw, None if db is None else db / len(dy)

def leaves(x, w, b=None):
    sys.exit(0)

def half(x, w, b=None):
    y, cache = forward(x, w, b)
    return y.astype(np.float16).astype(x.dtype), cache
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments, status):
    assert main(["crosscheck", *arguments]) == status
    return capsys.readouterr()


PAIR = ("linear", "mine.py:forward", "--max-examples", "20")


def test_right_and_wrong(mine, capsys):
    out = run(capsys, *PAIR, "--backward", "mine.py:backward", status=0).out
    assert out.startswith("linear against mine.py:forward (numpy): accurate\n")
    out = run(capsys, *PAIR, "--backward", "mine.py:averaged", status=1).out
    assert "db-averaged" in out
    assert "check_call(call, 'mine.py:forward'" in out
    assert max(map(len, out.partition("to repeat it:")[0].splitlines())) <= 80


def test_json_and_junit(mine, capsys):
    captured = run(capsys, *PAIR, "--backward", "mine.py:averaged", "--json", "--junit", "out.xml", status=1)
    record = json.loads(captured.out)
    assert record["diagnosis"]["mistakes"] == ["db-averaged"]
    assert record["calls"] == 20
    assert "<testsuite" in (mine / "out.xml").read_text()


def test_a_candidate_that_leaves_is_a_verdict(mine, capsys):
    out = run(capsys, "linear", "mine.py:leaves", "--max-examples", "8", status=1).out
    assert "exited, in 3 calls: called sys.exit(0)" in " ".join(out.split())


def test_accept_dtype_and_option(mine, capsys):
    half = ("linear", "mine.py:half", "--backward", "mine.py:backward", "--dtype", "float32",
            "--max-examples", "30")  # fmt: skip
    run(capsys, *half, status=1)
    out = run(capsys, *half, "--accept", "lossy", status=0).out
    assert "float64" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("conv2",), "did you mean 'conv2d'"),
        (("conv2d",), "wanted what to check: senumpy crosscheck conv2d TARGET"),
        (("linear", "mine.py:nothing"), "mine.py"),
        (("linear", "no_such_module:f"), "no_such_module"),
        (("linear", "mine.py:forward", "--like", "resnet50"), "--like goes with: senumpy crosscheck model"),
        (("linear", "mine.py:forward", "--steps", "2"), "--steps goes with"),
        (("linear", "mine.py:forward", "--option", "stride"), "wanted NAME=VALUE, such as stride=2"),
        (("linear", "mine.py:forward", "--max-examples", "0"), "max_examples: got 0"),
        (("linear", "mine.py:forward", "--timeout", "0"), "timeout: got 0"),
        (("linear", "mine.py:forward", "--junit", "no/where.xml"), "--junit: no folder no"),
        (("model", "--like", "resnet50"), "wanted one of --torch module:net and --onnx FILE"),
        (("model", "--torch", "mine.py:forward"), "wanted --like NAME"),
        (("model", "mine.py:forward", "--torch", "a:b"), "TARGET goes with one operation"),
        (("model", "--torch", "a:b", "--backward", "a:c"), "--backward goes with one operation"),
    ],
)
def test_bad_usage_is_one_line(mine, capsys, arguments, message):
    captured = run(capsys, *arguments, status=2)
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_golden_there_and_back(mine, capsys):
    assert main(["golden", "write", "--out", "gold", "--ops", "relu", "linear"]) == 0
    assert "2 operations" in capsys.readouterr().out
    assert main(["golden", "check", "gold"]) == 0
    capsys.readouterr()
    assert main(["golden", "check", "gold", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    (mine / "gold" / "results" / "relu-00-float32.safetensors").write_bytes(b"short")
    assert main(["golden", "check", "gold"]) == 1
    assert "relu-00-float32" in capsys.readouterr().out
    assert main(["golden", "check", "nowhere"]) == 2
    assert "nowhere: no such folder" in capsys.readouterr().err
    assert main(["golden", "write", "--out", "gold2", "--ops", "conv2"]) == 2
    assert "did you mean 'conv2d'" in capsys.readouterr().err
