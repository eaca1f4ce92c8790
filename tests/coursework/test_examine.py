"""Files that can't be answers are refused with one line that says why."""

from __future__ import annotations

import pytest

from senumpy.coursework.catalogue import exercises
from senumpy.coursework.examine import LIMIT, RefusedError, examine
from senumpy.coursework.strip import solution_text, student_text

RIGHT = b"def relu_backward(dy, cache):\n    return dy * cache.mask\n"


def refusal(data: bytes, name: str = "relu_backward") -> str:
    """Return why a file is refused."""
    with pytest.raises(RefusedError) as caught:
        examine(exercises()[name], data, "relu_backward.py")
    text = str(caught.value)
    assert text.startswith("relu_backward.py")
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "the file is empty"),
        (b" \n\t\n", "the file is empty"),
        (b"def relu_backward(dy, cache)\n    return dy\n", "line 1: not valid Python, expected ':'"),
        (b"return 1\n", "not valid Python"),
        (b"(" * 5000 + b")" * 5000, "not valid Python"),
        ("# Größe\n".encode("latin-1") + RIGHT, "not UTF-8"),
        (b"\xff\xfe" + RIGHT, "not UTF-8"),
        (b"\0\0\0" + RIGHT, "binary data"),
        (b"#" * (LIMIT + 1), "1.0 MB, wanted at most 1 MB"),
        (b"def relu_backwrd(dy, cache):\n    return dy\n", "wanted a function relu_backward; the functions "),
        (b"x = 1\n", "wanted a function relu_backward"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(data: bytes, said: str) -> None:
    assert said in refusal(data)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("import senumpy.ops", "`import senumpy.ops` reads the reference"),
        ("import senumpy", "`import senumpy` reads the reference"),
        ("from senumpy import ops", "`from senumpy import ops` reads the reference"),
        ("from senumpy.ops import relu_backward as f", "from senumpy.ops import relu_backward"),
        (
            "from senumpy.ops.activations import relu_backward as f",
            "reads the reference, which an answer may not",
        ),
        ("import torch", "torch"),
        ("import os", "imports os, which an answer may not use"),
        ("from . import helper", "a relative import"),
        ("import no_such_thing_at_all", "imports no_such_thing_at_all, which is not installed"),
        ("import importlib", "imports importlib"),
        ("x = __import__('os')", "line 1: uses __import__"),
        ("exec('1')", "uses exec"),
        ("open('f')", "uses open"),
        ("x = ().__class__.__base__.__subclasses__()", "uses .__subclasses__"),
    ],
)
def test_what_an_answer_may_not_use_is_named(line: str, said: str) -> None:
    assert said in refusal(line.encode() + b"\n" + RIGHT)


def test_an_import_within_a_function_is_seen() -> None:
    assert "reads the reference" in refusal(
        b"def relu_backward(dy, cache):\n    from senumpy import ops\n    return ops.sum(dy, cache)\n"
    )


def test_what_is_given_is_named() -> None:
    text = refusal(b"import senumpy.ops\n" + RIGHT)
    assert "given are: Array, check_upstream" in text


@pytest.mark.parametrize("name", sorted(exercises()))
def test_what_is_handed_out_and_the_solution_are_accepted(name: str) -> None:
    exercise = exercises()[name]
    examine(exercise, student_text(exercise).encode(), "a.py")
    examine(exercise, solution_text(exercise).encode(), "a.py")


@pytest.mark.parametrize(
    "line",
    [
        "import math, itertools",
        "from functools import reduce",
        "import numpy as np",
        "import numpy.linalg",
        "def open(x):\n    return x\nopen(1)",
        "# Größe in UTF-8",
        "\ufeff# a byte order mark",
        "relu = lambda x: x",
    ],
)
def test_ordinary_python_is_accepted(line: str) -> None:
    assert examine(exercises()["relu_backward"], line.encode() + b"\n" + RIGHT, "a.py")


def test_a_function_may_be_bound_by_a_name() -> None:
    assert examine(
        exercises()["relu_backward"], b"relu_backward = lambda dy, cache: dy * cache.mask\n", "a.py"
    )
