"""Broken golden folders and answers: each damage gets one line that names file and field."""

from __future__ import annotations

import json
import os
import re
import shutil

import numpy as np
import pytest

from senumpy.crosscheck.golden import check_golden, load_golden, write_golden
from senumpy.errors import InputError
from senumpy.storage import load_tensors, save_tensors

NAME = "linear-01-float32"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden") / "set"
    write_golden(folder, "linear,relu,batchnorm2d,concat,dropout")
    return folder


@pytest.fixture
def golden(written, tmp_path):
    """A golden folder to damage."""
    return shutil.copytree(written, tmp_path / "set")


@pytest.fixture
def answers(written, tmp_path):
    """A folder of right answers to damage."""
    return shutil.copytree(written / "results", tmp_path / "answers")


def one_finding(report, *words):
    """Assert that a report fails by a single finding, one line that has all words; return it."""
    assert not report.ok
    (finding,) = report.findings
    assert "\n" not in finding.message
    assert all(word in finding.message for word in words), finding.message
    shown = "".join(str(report).split())
    assert "".join(finding.message.split()) in shown
    json.dumps(report.to_dict(), allow_nan=False)
    return finding


def edit(folder, function):
    """Change the manifest."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    function(manifest)
    path.write_text(json.dumps(manifest))


def place_of(folder, name=NAME):
    return list(load_golden(folder)).index(name)


# -- nothing to judge ----------------------------------------------------------------------------------------


def test_no_folder_a_file_no_files(tmp_path, written):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, message in [
        ("none", "no such folder, wanted one of answers or a golden set"),
        ("file", "a file, wanted a folder of answers or a golden set"),
        ("empty", "holds no answers, wanted files such as conv2d-00-float32.safetensors"),
    ]:
        with pytest.raises(InputError, match=re.escape(f"{tmp_path / name}: {message}")):
            check_golden(tmp_path / name)
    with pytest.raises(InputError, match="none: no such folder, wanted one that `senumpy golden write` made"):
        check_golden(written / "results", against=tmp_path / "none")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: m.update(format="npz"), "field format: found 'npz', wanted 'senumpy golden'"),
        (
            lambda m: m.update(version=2),
            "field version: found 2, wanted 1; it was written by another senumpy",
        ),
        (lambda m: m.pop("seed"), "field seed is missing"),
        (lambda m: m.update(seed=True), "field seed: found True, wanted a whole number"),
        (lambda m: m.update(cases={}), "field cases: found {}, wanted a list"),
        (lambda m: m["cases"][3].pop("call"), "field cases[3].call is missing"),
        (lambda m: m["cases"][0].update(call="x"), "field cases[0].call: found 'x', wanted an object"),
        (
            lambda m: m["cases"][2]["results"]["tensors"][0].update(shape=[1, "2"]),
            "field cases[2].results.tensors[0].shape[1]: found '2', wanted a whole number",
        ),
        (
            lambda m: m["cases"][1]["tolerance"].update(delta=None),
            "field cases[1].tolerance.delta: found None, wanted a number",
        ),
        (
            lambda m: m["cases"][0].update(op="linaer"),
            "field cases[0].op: found 'linaer', wanted one of conv2d, ",
        ),
        (lambda m: m["cases"][0].update(dtype="half"), "field cases[0].dtype: found 'half', wanted one of"),
        (
            lambda m: m["cases"][0]["call"].update(file="../../etc/passwd"),
            "field cases[0].call.file: found '../../etc/passwd', wanted 'calls/",
        ),
        (lambda m: m["cases"].append(m["cases"][0]), "stands twice, wanted once"),
    ],
)
def test_a_broken_manifest(golden, damage, message):
    edit(golden, damage)
    for call in (check_golden, load_golden, lambda folder: write_golden(folder, "relu")):
        if call in (check_golden, load_golden) or "format" in message:
            with pytest.raises(InputError, match=re.escape(message)) as caught:
                call(golden)
            assert str(golden / "manifest.json") in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "\ufeff{}", '"', "[" * 100_000])
def test_a_manifest_that_is_no_json(golden, text):
    (golden / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=re.escape(str(golden / "manifest.json"))) as caught:
        check_golden(golden)
    assert "\n" not in str(caught.value)


def test_a_manifest_that_cannot_be_read(golden):
    (golden / "manifest.json").unlink()
    (golden / "manifest.json").mkdir()
    with pytest.raises(InputError, match=r"cannot read .*manifest.json: Is a directory"):
        check_golden(golden)


# -- a golden set whose files are damaged --------------------------------------------------------------------


@pytest.mark.parametrize("role", ["call", "results"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), ["cannot read", "No such file", "]. ROLE.file"]),
        (lambda path: path.write_bytes(path.read_bytes()[:-5]), ["holds", "bytes, wanted", "]. ROLE.bytes"]),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1])),
            ["its sha256 is", "]. ROLE.sha256", "the file has been changed"],
        ),
    ],
)
def test_damaged_files_of_a_set(golden, role, damage, words):
    path = golden / {"call": "calls", "results": "results"}[role] / f"{NAME}.safetensors"
    place = place_of(golden)
    damage(path)
    words = [word.replace("]. ROLE", f"cases[{place}].{role}") for word in words]
    report = check_golden(golden)
    assert not report.ok
    assert any(all(word in f.message for word in [str(path), *words]) for f in report.findings), report
    with pytest.raises(InputError, match="write the set again with `senumpy golden write`"):
        check_golden(golden / "results", against=golden)
    stored = load_golden(golden)[NAME]
    with pytest.raises(InputError, match=re.escape(str(path))):
        _ = stored.inputs if role == "call" else stored.results
    healthy = load_golden(golden)["relu-00-float32"]
    assert healthy.results["y"].dtype == np.float32


def test_an_index_that_was_edited(golden):
    text = (golden / "index.tsv").read_text()
    (golden / "index.tsv").write_text(text.replace("option", "Option", 1))
    one_finding(check_golden(golden), str(golden / "index.tsv"), "field index.sha256")
    (golden / "index.tsv").unlink()
    one_finding(check_golden(golden), f"cannot read {golden / 'index.tsv'}: No such file")


def test_a_manifest_that_contradicts_a_file(golden):
    place = place_of(golden, "batchnorm2d-01-float32")

    def other_eps(manifest):
        manifest["cases"][place]["options"]["eps"] = 0.25

    edit(golden, other_eps)
    report = check_golden(golden)
    assert any(f"field cases[{place}].options: found" in f.message for f in report.findings)
    assert any("index.sha256" in f.message for f in report.findings)


def test_a_call_that_is_none(golden):
    """Whoever forges the hashes, too, gets a message and no traceback."""
    from senumpy.crosscheck.golden.manifest import encoded, file_entry, index_of, manifest_of

    path = golden / "calls" / f"{NAME}.safetensors"
    tensors, metadata = load_tensors(path)
    tensors["x"] = tensors["x"][:, :1]
    save_tensors(path, tensors, metadata)
    cases = json.loads((golden / "manifest.json").read_text())["cases"]
    cases[place_of(golden)]["call"] = file_entry(golden, f"calls/{NAME}.safetensors")
    index = index_of(cases)
    (golden / "index.tsv").write_bytes(index)
    (golden / "manifest.json").write_bytes(encoded(manifest_of(cases, index, 0)))
    one_finding(check_golden(golden), str(path), "no call of linear: ValueError: ")


# -- answers -------------------------------------------------------------------------------------------------


def damaged(answers, written, function, name=NAME):
    """Return the report after the tensors of one answer were changed."""
    path = answers / f"{name}.safetensors"
    tensors, _ = load_tensors(path)
    function(tensors)
    save_tensors(path, tensors)
    return check_golden(answers, against=written), str(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-3]), ["cut short"]),
        (lambda path: path.write_bytes(b""), ["holds 0 bytes"]),
        (
            lambda path: path.write_bytes(b"\x10" + bytes(7) + b"garbage" * 9),
            ["header at byte 8 is not JSON"],
        ),
        (lambda path: path.write_bytes(os.urandom(7) + b"\xff" + bytes(50)), ["not a safetensors file"]),
    ],
)
def test_files_that_are_no_safetensors(answers, written, damage, words):
    path = answers / f"{NAME}.safetensors"
    damage(path)
    one_finding(check_golden(answers, against=written), str(path), *words)


def test_wrong_dtype_and_shape(answers, written):
    report, path = damaged(answers, written, lambda t: t.update(dw=t["dw"].astype(np.float64)))
    one_finding(report, f"{path}: tensor 'dw' has dtype float64, wanted float32")
    report, path = damaged(answers, written, lambda t: t.update(dw=t["dw"].astype(np.float32).T.copy()))
    one_finding(report, f"{path}: tensor 'dw' has shape (3, 5), wanted (5, 3)")


def test_missing_and_extra_tensors(answers, written):
    report, path = damaged(answers, written, lambda t: t.pop("dw"))
    one_finding(report, f"{path}: tensor 'dw' is missing")
    report, path = damaged(answers, written, lambda t: t.update(dw=np.zeros((5, 3), np.float32)))
    assert any("dw is wrong" in " ".join(line.split()) for line in str(report).splitlines())


def test_tensors_that_are_no_results(answers, written):
    report, path = damaged(answers, written, lambda t: t.update(db=np.zeros(5, np.float32)))
    one_finding(report, f"{path}: tensor 'db' no result of linear here, wanted y, dx, dw")


def test_no_tensors_at_all(answers, written):
    report, path = damaged(answers, written, lambda t: t.clear())
    assert [f.message for f in report.findings] == [
        f"{path}: tensor {n!r} is missing" for n in ("y", "dx", "dw")
    ]


def test_part_of_a_list_is_missing(answers, written):
    report, path = damaged(answers, written, lambda t: t.pop("dxs[1]"), "concat-00-float64")
    one_finding(report, f"{path}: tensor 'dxs[1]' is missing")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_finite(answers, written, value):
    report, _ = damaged(answers, written, lambda t: t["dx"].__setitem__((2, 1), value))
    assert not report.ok
    (group,) = [g for g in report.groups if (g.op, g.dtype) == ("linear", "float32")]
    (judged,) = group.of_level("wrong")
    assert (judged.case, judged.judgement.result, judged.judgement.index) == (NAME, "dx", (2, 1))
    assert f"{NAME}: dx is wrong" in " ".join(str(report).split())
    json.dumps(report.to_dict(), allow_nan=False)


def test_answers_of_another_case(answers, written):
    a, b = (answers / f"dropout-0{i}-float32.safetensors" for i in (0, 2))
    shutil.copy(a, b)
    report = check_golden(answers, against=written)
    assert "tensor 'y' has shape (2, 3, 4, 3), wanted (3, 4)" in " ".join(str(report).split())

    # Of the same shape: relu's "image" of two seeds can't be told apart by shapes.
    tensors, _ = load_tensors(answers / "batchnorm2d-00-float64.safetensors")
    other = {name: array for name, array in tensors.items() if name.startswith("running")}
    write = {**load_tensors(answers / "batchnorm2d-04-float64.safetensors")[0]}
    assert write["running_mean"].shape == other["running_mean"].shape
    for i in (0, 4):
        path = answers / f"batchnorm2d-0{i}-float64.safetensors"
        save_tensors(path, {n: a for n, a in load_tensors(path)[0].items() if n.startswith("running")})
    first = answers / "batchnorm2d-00-float64.safetensors"
    fourth = answers / "batchnorm2d-04-float64.safetensors"
    exchanged = first.read_bytes(), fourth.read_bytes()
    fourth.write_bytes(exchanged[0]), first.write_bytes(exchanged[1])
    text = " ".join(str(check_golden(answers, against=written)).split())
    assert (
        "batchnorm2d-00-float64: its results are those of batchnorm2d-04-float64: files interchanged?" in text
    )
    assert (
        "batchnorm2d-04-float64: its results are those of batchnorm2d-00-float64: files interchanged?" in text
    )


def test_missing_cases_are_named(answers, written):
    (answers / f"{NAME}.safetensors").unlink()
    (answers / "linear-03-float32.safetensors").unlink()
    report = check_golden(answers, against=written)
    assert not report.ok
    assert not report.findings
    text = " ".join(str(report).split())
    assert f"linear float32: 2 cases have no answer: {NAME}, linear-03-float32" in text
    assert "2 cases missing" in text
    for path in answers.glob("linear-*-float32.safetensors"):
        path.unlink()
    assert check_golden(answers, against=written).ok


def test_files_of_unknown_names(answers, written):
    for name in ("linear-99-float32", "linaer-00-float32", "linear-00-float16", "notes"):
        path = answers / f"{name}.safetensors"
        shutil.copy(answers / f"{NAME}.safetensors", path)
        one_finding(check_golden(answers, against=written), f"{path}: no case has this name")
        one_finding(check_golden(answers), f"{path}: no case has this name")
        path.unlink()


def test_one_number_off_by_three_bounds(answers, written):
    stored = load_golden(written)[NAME]
    step = 3 * stored.bound("y")
    report, _ = damaged(
        answers, written, lambda t: t["y"].__setitem__((0, 0), t["y"][0, 0] + np.float32(step))
    )
    assert not report.ok
    report, _ = damaged(answers, written, lambda t: t["y"].__setitem__((0, 0), stored.results["y"][0, 0]))
    assert report.ok


def test_a_file_that_cannot_be_written(tmp_path, monkeypatch):
    from senumpy.storage import atomic

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_check_equal", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_golden(tmp_path / "set", "relu")
    assert not (tmp_path / "set").exists()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.set.* Not a directory"):
        write_golden(tmp_path / "file" / "set", "relu")
