"""Answers from file to verdict, in a process of their own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from senumpy.coursework import Checker, Sandbox, exercises
from senumpy.coursework.strip import solution_lines, solution_text, student_text
from senumpy.errors import InputError
from tests.coursework.test_strip import telling, words

NAMES = list(exercises())
GIVEN = """
import numpy as np
from senumpy.ops.excitation import excitation_backward
from senumpy.ops.scale import scale_backward
from senumpy.ops.squeeze import squeeze_backward
"""
DROPPED = f"""{GIVEN}
def squeeze_excite_backward(dy, cache):
    du, ds = scale_backward(dy, cache.scale)
    dz, dw1, db1, dw2, db2 = excitation_backward(ds, cache.excitation)
    return du, dw1, db1, dw2, db2
"""
MENDED = DROPPED.replace("return du,", "return du + squeeze_backward(dz, cache.squeeze).du,")


def relu(body: str, before: str = "") -> bytes:
    """Return an answer to relu_backward."""
    return f"import numpy as np\n{before}\ndef relu_backward(dy, cache):\n    {body}\n".encode()


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_passes(checker: Checker, name: str) -> None:
    exercise = exercises()[name]
    verdict = checker.check(name, solution_text(exercise).encode(), label=exercise.file)
    assert verdict.ok, verdict.feedback
    assert verdict.points == exercise.points


@pytest.mark.parametrize("name", NAMES)
def test_a_stripped_file_fails_with_its_own_message(checker: Checker, name: str) -> None:
    exercise = exercises()[name]
    verdict = checker.check(name, student_text(exercise).encode(), label=exercise.file)
    assert (verdict.status, verdict.points) == ("not begun", 0)
    assert verdict.line == f"{name}: nothing is written yet"


def test_restoring_one_makes_exactly_that_one_pass(checker: Checker) -> None:
    stripped = {name: student_text(exercises()[name]).encode() for name in NAMES}
    blank = {name: checker.check(name, data, label=name).status for name, data in stripped.items()}
    assert set(blank.values()) == {"not begun"}
    for name in NAMES:
        # A folder in which this exercise is solved, and no other. Files don't see each other, so the others'
        # verdicts are those of before: looked at for the neighbours, whose files import from one another.
        folder = {**stripped, name: solution_text(exercises()[name]).encode()}
        at = NAMES.index(name)
        looked_at = {name, *NAMES[max(0, at - 3) : at + 4]}
        passed = {n for n in looked_at if checker.check(n, folder[n], label=n).ok}
        assert passed == {name}


def test_the_dropped_gate_path_is_named_and_its_paragraph(checker: Checker) -> None:
    verdict = checker.check("squeeze_excite_backward", DROPPED.encode(), label="se.py")
    assert (verdict.status, verdict.points, verdict.mistakes) == ("failed", 0, ("dropped-gate-path",))
    text = verdict.feedback
    assert "Wrong in 20 of 20 calls: du. Right: dw1, db1, dw2 and db2." in text
    assert 'lesson 13, "Two paths to one input"' in text
    assert "for example: u (" in text.lower()
    assert max(map(len, text.splitlines())) <= 79
    u, got, want = (verdict.example[name] for name in ("u", "got_du", "wanted_du"))
    assert u.shape == got.shape == want.shape
    assert not np.allclose(got, want)


def test_the_mended_answer_passes(checker: Checker) -> None:
    verdict = checker.check("squeeze_excite_backward", MENDED.encode(), label="se.py")
    assert verdict.ok
    assert verdict.feedback == "squeeze_excite_backward: passed, 3 of 3 points; right in all 20 calls."


@pytest.mark.parametrize("seed", [1, 999])
def test_a_teachers_seed_draws_other_inputs(sandbox: Sandbox, seed: int) -> None:
    known, own = (Checker(["scale_backward"], seed=s, sandbox=sandbox) for s in (0, seed))
    wrong = b"def scale_backward(dy, cache):\n    return dy * 1.0, cache.s * 1.0\n"
    a, b = (c.check("scale_backward", wrong, label="s.py").example["u"] for c in (known, own))
    assert a.shape == b.shape
    assert not (a == b).any()


def test_a_file_may_bring_its_own_forward_and_cache(checker: Checker) -> None:
    text = """
import numpy as np
def relu_forward(x):
    return np.where(x > 0, x, np.zeros_like(x)), {"positive": x > 0}
def relu_backward(dy, cache):
    return {"dx": np.where(cache["positive"], dy, 0).astype(dy.dtype)}
"""
    assert checker.check("relu_backward", text.encode(), label="r.py").ok


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        (relu("return dy * cache.mask"), "passed", "passed"),
        (relu("return dy"), "failed", "mask"),
        (relu("dy *= cache.mask\n    return dy"), "failed", "overwrites-upstream"),
        (relu("return (dy * cache.mask).astype(np.float64)"), "failed", "float64"),
        (relu("return dy[0]"), "failed", "shape"),
        (relu("return None"), "failed", "None"),
        (relu("return 'x'"), "failed", "wrong"),
        (relu("return dy * cache.mask / 0 * 0"), "failed", "wrong"),
        (relu("return undefined"), "error", "r.py: raised NameError: name 'undefined' is not defined"),
        (relu("return dy.foo"), "error", "raised AttributeError"),
        (relu("return relu_backward(dy, cache)"), "error", "RecursionError"),
        (relu("return dy", "1 / 0"), "error", "running the file: ZeroDivisionError"),
        (relu("while True: pass"), "error", "did not come back within"),
        (relu("raise SystemExit(3)"), "error", "sys.exit(3)"),
        (relu("raise SystemExit", "raise SystemExit"), "error", "running the file"),
        (relu("return np.zeros(10**13)"), "error", "MemoryError"),
        (relu("return dy") + b"relu_backward = 3\n", "error", "is of type int, wanted a function"),
        (b"if 0:\n    def relu_backward(dy, cache):\n        pass\n", "error", "wanted a function"),
        (b"from senumpy.ops import relu_backward\n", "refused", "reads the reference"),
        (relu("import senumpy.ops\n    return dy"), "refused", "import senumpy.ops"),
        (b"", "refused", "the file is empty"),
        (None, "not begun", "no such file"),
    ],
)  # fmt: skip
def test_whatever_an_answer_does_becomes_one_line(
    checker: Checker, data: bytes | None, status: str, said: str
) -> None:
    verdict = checker.check("relu_backward", data, label="r.py")
    assert verdict.status == status, verdict
    assert said in verdict.line
    assert "\n" not in verdict.line
    assert verdict.points == (1 if status == "passed" else 0)
    assert verdict.feedback.startswith("relu_backward: ")


@pytest.mark.parametrize(
    "before",
    [
        "import numpy as np\nnp.array_equal = lambda *a, **k: True\nnp.abs = lambda x: 0",
        "np.testing.assert_allclose = lambda *a, **k: None",
        "import types\ntypes.FunctionType",
    ],
)
def test_changing_the_tools_changes_no_verdict(checker: Checker, before: str) -> None:
    assert not checker.check("relu_backward", relu("return dy", before), label="r.py").ok


@pytest.mark.parametrize("module", ["senumpy.ops.activations", "senumpy.ops", "senumpy.engines.base"])
def test_the_references_function_is_out_of_reach(checker: Checker, module: str) -> None:
    way = f'getattr(getattr(typing, "s" + "ys"), "mod" + "ules")["{module}"]'
    holder = f"{way}.Engine" if module.endswith("base") else way
    verdict = checker.check(
        "relu_backward", relu(f"return {holder}.relu_backward(dy, cache)", "import typing"), label="r.py"
    )
    assert verdict.status == "error"
    assert "an answer may not call it" in verdict.line


WRITES = """
import random
def {target}(*a, **k):
    pass
os = getattr(random, "_os")
text = {head!r}.encode()
os.write(3, len(text).to_bytes(8, "little") + text)
os._exit(0)
"""
SILENT = '{"conduct":[],"absent":[]}'


@pytest.mark.parametrize("name", ["relu_backward", "scale_backward", "sgd_update", "batchnorm2d_forward"])
@pytest.mark.parametrize(
    "notes",
    [
        "[]", "5", "[5]", "{}", "null", f"[{SILENT}]", f"[{','.join([SILENT] * 16)}]",
        f"[{','.join([SILENT] * 17)}]", f"[{','.join([SILENT] * 21)}]", f"[{','.join([SILENT] * 8)}]",
        '[{"conduct":[["printed","x",""]],"absent":["dx","y","du","ds"]}]',
        "[" + ",".join(['{"conduct":[["printed","x",""]],"absent":["dx"]}'] * 16) + "]",
        '[{"conduct":[["raised","a\\u001b[2Jb\\nc",""]],"absent":[]}]',
        '[{"conduct":[["no such kind","x",""]]}]', '[{"conduct":[["raised"]]}]', '[{"absent":[[]]}]',
    ],
)  # fmt: skip
def test_a_reply_that_the_file_wrote_itself_gains_nothing(checker: Checker, name: str, notes: str) -> None:
    head = f'{{"status":"done","message":"","notes":{notes},"arrays":[]}}'
    (target,) = exercises()[name].targets
    verdict = checker.check(name, WRITES.format(target=target, head=head).encode(), label="a.py")
    assert not verdict.ok
    assert verdict.points == 0
    assert "\x1b" not in verdict.feedback
    assert "\n" not in verdict.line


@pytest.mark.parametrize("name", ["relu_backward", "batchnorm2d_forward", "sgd_update"])
@pytest.mark.parametrize("prefix", ["0/", "0?"])
@pytest.mark.parametrize(
    ("dtype", "shape", "number"),
    [
        ("<f8", [7], "inf"),
        ("<f8", [], "nan"),
        ("<c16", [2, 3], "nan"),
        ("<i8", [0, 3], "0"),
        ("|b1", [1], "0"),
    ],
)
def test_arrays_that_the_file_made_up_are_judged_like_others(
    checker: Checker, name: str, prefix: str, dtype: str, shape: list[int], number: str
) -> None:
    (target,) = exercises()[name].targets
    entries = [[f"{prefix}{result}", dtype, shape] for result in ("y", "dx", "no such", "value")]
    notes = ",".join([SILENT] * checker._task(exercises()[name]).count())
    head = f'{{"status":"done","message":"","notes":[{notes}],"arrays":{json.dumps(entries)}}}'
    text = WRITES.format(target=target, head=head).replace(
        "os.write(3, len(text)",
        f"import numpy as np\nblock = np.full({shape}, float('{number}')).astype('{dtype}')\n"
        "text0 = text\ntext += block.tobytes() * 4\nos.write(3, len(text0)",
    )  # fmt: skip
    verdict = checker.check(name, text.encode(), label="a.py")
    assert not verdict.ok
    assert "\n" not in verdict.line


@pytest.mark.parametrize("name", ["squeeze_excite_backward", "relu_backward", "sgd_update"])
def test_no_feedback_holds_the_solution(checker: Checker, name: str) -> None:
    exercise = exercises()[name]
    arguments = "*a, **k"
    wrong = "\n".join(f"def {target}({arguments}):\n    return a[0]" for target in exercise.targets)
    verdict = checker.check(name, wrong.encode(), label="a.py")
    assert not verdict.ok
    said = words(verdict.feedback.replace("\n", " "))
    assert solution_lines(exercise)
    assert all(words(line) not in said for line in telling(name))
    assert "# exercise" not in verdict.feedback


def test_an_unknown_exercise_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(InputError, match="unknown exercise"):
        Checker(["relu_bckward"], sandbox=sandbox)
