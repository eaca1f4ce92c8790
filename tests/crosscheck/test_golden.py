"""Golden vectors: what is written, that it is right, read back and accepted; wrong answers are found."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from senumpy.crosscheck.golden import check_golden, load_golden, write_golden
from senumpy.crosscheck.golden.cases import golden_cases
from senumpy.crosscheck.golden.conventions import TEXTS, conventions
from senumpy.crosscheck.golden.manifest import read_manifest
from senumpy.crosscheck.golden.realistic import realistic_cases
from senumpy.errors import InputError
from senumpy.storage import load_tensors, save_tensors
from senumpy.verify import OPS
from senumpy.verify.calls import OpCall, results
from senumpy.verify.cases import Draw
from senumpy.verify.mistakes import MISTAKES
from tests.cuda.emulator import compiler

README = Path(__file__).parents[2] / "senumpy" / "crosscheck" / "golden" / "README.md"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A whole set, and what writing it returned; not to be changed."""
    folder = tmp_path_factory.mktemp("golden") / "full"
    return folder, write_golden(folder)


@pytest.fixture
def answers(full, tmp_path):
    """Return a function that copies the results of some operations as answers."""

    def copy(*ops, dtype="*"):
        for op in ops:
            for path in (full[0] / "results").glob(f"{op}-[0-9]*-{dtype}.safetensors"):
                shutil.copy(path, tmp_path)
        return tmp_path

    return copy


def files_of(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def unfolded(report):
    """Return a report's text in one line."""
    return " ".join(str(report).split())


def change(path, function):
    """Rewrite an answer's tensors by a function of their dictionary."""
    tensors, metadata = load_tensors(path)
    function(tensors)
    save_tensors(path, tensors, metadata)


# -- what is written -----------------------------------------------------------------------------------------


def test_a_full_set_has_every_operation_in_both_dtypes_and_is_small(full):
    folder, summary = full
    files = files_of(folder)
    assert summary.size == sum(map(len, files.values())) < 20e6
    cases = load_golden(folder)
    assert summary.cases == len(cases)
    for op in OPS:
        for dtype in ("float64", "float32"):
            mine = [case for case in cases.values() if (case.op, case.dtype.name) == (op, dtype)]
            assert len(mine) > len(OPS[op].cases()), (op, dtype)
    assert str(summary).startswith(f"{folder}: {len(cases)} cases of {len(OPS)} operations")
    assert json.dumps(summary.to_dict())


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_the_same_bytes_in_another_process(full, tmp_path, hash_seed):
    ops = "conv2d,batchnorm2d,dropout,softmax_cross_entropy,concat_se"
    code = (
        f"from senumpy.crosscheck.golden import write_golden\nwrite_golden({str(tmp_path / 'a')!r}, {ops!r})"
    )
    # Another hash seed, folder, time and number of threads.
    variables = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "OMP_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    }
    subprocess.run([sys.executable, "-c", code], check=True, env=variables)
    written = files_of(tmp_path / "a")
    whole = files_of(full[0])
    for name, data in written.items():
        if name.endswith(".safetensors"):
            assert data == whole[name], name
    write_golden(tmp_path / "b", ops.split(","))
    assert files_of(tmp_path / "b") == written


def test_another_seed_draws_other_numbers(tmp_path):
    write_golden(tmp_path / "a", "linear")
    write_golden(tmp_path / "b", "linear", seed=1)
    assert json.loads((tmp_path / "b" / "manifest.json").read_text())["seed"] == 1
    a, b = load_golden(tmp_path / "a"), load_golden(tmp_path / "b")
    assert list(a) == list(b)
    assert all((a[name].inputs["x"] != b[name].inputs["x"]).any() for name in a)
    assert check_golden(tmp_path / "b" / "results", seed=1).ok
    assert not check_golden(tmp_path / "b" / "results").ok


def test_every_tensor_is_what_the_library_gives(full):
    for stored in load_golden(full[0]).values():
        got = stored.results
        computed = results(stored.case.call, stored.dtype)
        assert set(got) == {name for name, array in computed.items() if array is not None}, stored.name
        for name, array in got.items():
            assert array.dtype == stored.dtype
            difference = np.abs(array - computed[name].astype(np.longdouble))
            assert (difference <= stored.bound(name)).all(), (stored.name, name)


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="longdouble is double here")
def test_results_are_rounded_once(full):
    # Independent: float64 holds products of float32 numbers exactly, and sums of them nearly so.
    cases = load_golden(full[0])
    stored = cases["linear-04-float32"]
    x, w, b = (stored.inputs[name].astype(np.float64) for name in ("x", "w", "b"))
    assert np.array_equal(stored.results["y"], (x @ w.T + b).astype(np.float32))
    # The smoothed target 1 - e + e / K is no float64: rounded before it is used, it would show.
    stored = cases["softmax_cross_entropy-05-float64"]
    logits, labels = stored.inputs["logits"].astype(np.longdouble), stored.inputs["labels"]
    N, K = logits.shape
    e = np.longdouble(stored.options["label_smoothing"])
    target = np.where(labels[:, None] == np.arange(K), 1 - e + e / K, e / K)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    dlogits = ((p - target) / N * stored.inputs["dy"]).astype(np.float64)
    assert (stored.results["dlogits"] != dlogits).mean() < 0.02


def test_the_manifest_says_all_that_a_reader_needs(full):
    folder, _ = full
    manifest = read_manifest(folder)
    text = (folder / "manifest.json").read_text()
    assert str(folder) not in text
    assert "Higham" in " ".join(manifest["tolerance"]["derivation"])
    for entry in manifest["cases"]:
        assert set(entry["conventions"]) <= set(manifest["conventions"])
        stored = load_golden(folder)[entry["name"]] if entry["name"].endswith("00-float32") else None
        inputs = {tensor["name"] for tensor in entry["call"]["tensors"]}
        named = {tensor for argument in entry["arguments"] for tensor in argument["tensors"]}
        assert named == inputs - {"dy", "kept", "running_mean", "running_var"}
        assert None not in entry["options"].values()
        for role in ("call", "results"):
            data = (folder / entry[role]["file"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry[role]["sha256"]
            for tensor in entry[role]["tensors"] if stored else ():
                raw = data[tensor["offset"] : tensor["offset"] + tensor["bytes"]]
                array = (stored.inputs if role == "call" else stored.results)[tensor["name"]]
                assert raw == array.tobytes()
                assert tensor["shape"] == list(array.shape)
    assert all(conventions(op) for op in OPS)
    assert {name for op in OPS for name in conventions(op)} == set(TEXTS)


def test_bounds_are_those_of_the_checker_rounded_up(full):
    for stored in list(load_golden(full[0]).values())[::17]:
        expectation = stored.case.expectation
        for name in stored.results:
            assert expectation.bound(name) <= stored.bound(name) <= 1.011 * expectation.bound(name)


def test_options_are_spelt_out(full):
    cases = load_golden(full[0])
    assert cases["conv2d-00-float32"].options == {
        "dilation": [1, 1],
        "groups": 1,
        "padding": [0, 0],
        "stride": [1, 1],
    }
    assert cases["max_pool2d-00-float32"].options["stride"] == [2, 2]
    assert cases["batchnorm2d-00-float32"].options == {"eps": 1e-05, "momentum": 0.1}
    shake = cases["shake-00-float32"].options
    assert shake["beta"] == shake["alpha"] == [0.3, 0.85]
    lines = (full[0] / "index.tsv").read_text().splitlines()
    assert "option\tconv2d-01-float64\tstride\t2\t1" in lines
    assert "option\tavg_pool2d-03-float64\tcount_include_pad\t0" in lines


def test_no_generator_is_needed_for_dropout(full):
    stored = load_golden(full[0])["dropout-00-float64"]
    x, kept, dy = (stored.inputs[name] for name in ("x", "kept", "dy"))
    assert set(np.unique(kept)) == {0, 1}
    assert np.array_equal(stored.results["y"], x * kept / 0.5)
    assert np.array_equal(stored.results["dx"], dy * kept / 0.5)


def test_running_statistics_before_and_after(full):
    stored = load_golden(full[0])["batchnorm2d-00-float64"]
    x, m = stored.inputs["x"], stored.options["momentum"]
    mean = (1 - m) * stored.inputs["running_mean"] + m * x.mean((0, 2, 3))
    var = (1 - m) * stored.inputs["running_var"] + m * x.var((0, 2, 3), ddof=1)
    np.testing.assert_allclose(stored.results["running_mean"], mean, rtol=1e-14)
    np.testing.assert_allclose(stored.results["running_var"], var, rtol=1e-14)


@pytest.mark.parametrize("op", OPS)
def test_no_case_is_near_a_kink_but_those_at_one(op):
    for case in golden_cases([op]):
        assert not case.expectation.near_kink or "at zero" in case.call.note, case.name
    rng = np.random.default_rng(0)
    assert all(
        np.prod(a.shape) > 50
        for c in realistic_cases(op, Draw(rng))
        for a in [c.args[0]]
        if type(a) is not list
    )


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**31),
    op=st.sampled_from(["linear", "concat", "excitation", "dropout", "batchnorm2d"]),
)
def test_what_is_read_back_is_what_was_written(tmp_path_factory, seed, op):
    folder = tmp_path_factory.mktemp("golden")
    write_golden(folder, op, seed=seed)
    cases = load_golden(folder)
    written = {case.name: case for case in golden_cases([op], seed=seed)}
    assert list(cases) == list(written)
    for name, case in written.items():
        back = cases[name].results
        assert set(back) == set(case.results)
        assert all(np.array_equal(back[key], array) for key, array in case.results.items())
        call: OpCall = cases[name].case.call
        for mine, theirs in zip(call.floats(), case.call.floats(), strict=True):
            assert np.array_equal(mine, theirs)
        assert np.array_equal(call.upstream(back["y"].shape), case.call.upstream(back["y"].shape))
        again = results(call, case.dtype)
        for key, array in results(case.call, case.dtype).items():
            assert array is None or np.array_equal(again[key], array)


# -- answers -------------------------------------------------------------------------------------------------


def test_own_answers_are_exact(full):
    folder, _ = full
    for report in (check_golden(folder), check_golden(folder / "results", against=folder)):
        assert report.ok, str(report)
        assert not report.untouched
        assert all(group.answered == group.cases for group in report.groups)
        assert {one.judgement.level for group in report.groups for one in group.judged} == {"exact"}
        assert max(map(len, str(report).splitlines())) <= 80 or str(folder) in str(report)
        json.dumps(report.to_dict(), allow_nan=False)


def test_answers_need_no_golden_folder(answers):
    report = check_golden(answers("dropout", "batchnorm2d"))
    assert report.ok
    assert report.reference == "the set of seed 0, made again"
    assert {group.op for group in report.groups} == {"dropout", "batchnorm2d"}


def test_ordinary_floats_are_accurate(full, tmp_path):
    for stored in load_golden(full[0]).values():
        if stored.op in ("conv2d", "batchnorm2d", "squeeze_excite", "softmax_cross_entropy"):
            computed = results(stored.case.call, stored.dtype)
            kept = {name: array for name, array in computed.items() if array is not None}
            save_tensors(tmp_path / f"{stored.name}.safetensors", kept)
    report = check_golden(tmp_path, against=full[0])
    assert report.ok, str(report)
    assert {one.judgement.level for group in report.groups for one in group.judged} == {"exact", "accurate"}


def test_some_operations_one_dtype_forward_alone(full, answers):
    folder = answers("linear", dtype="float32")
    report = check_golden(folder, against=full[0])
    assert report.ok
    assert ("linear", "float64") in report.untouched
    assert "no answers, which is no failure: conv2d, " in str(report)
    assert "linear float64" in str(report)
    for path in folder.glob("*.safetensors"):
        change(path, lambda tensors: [tensors.pop(name) for name in list(tensors) if name != "y"])
    report = check_golden(folder, against=full[0])
    assert report.ok
    assert report.groups[0].absent == ["db", "dw", "dx"]
    assert "linear float32: no case answers db, dw, dx, which is no failure" in str(report)


def test_lossy_answers_pass_where_they_are_accepted(full, answers):
    folder = answers("conv2d", dtype="float64")
    for path in folder.glob("*.safetensors"):
        change(path, lambda t: t.update({k: v.astype(np.float32).astype(np.float64) for k, v in t.items()}))
    report = check_golden(folder, against=full[0])
    assert not report.ok
    assert "float32: the result was rounded to it" in unfolded(report)
    assert check_golden(folder, against=full[0], accept="lossy").ok
    with pytest.raises(InputError, match='accept: got \'wrong\', wanted "accurate" or "lossy"'):
        check_golden(folder, accept="wrong")


# Every twelfth of the bank: `tests/verify/test_diagnosis.py` has them all. Stride and the like are never left
# to their defaults in a golden set, so wrong defaults don't show.
PLANTED = [mistake for mistake in MISTAKES if "default" not in mistake.name][::12]


@pytest.mark.parametrize("mistake", PLANTED, ids=lambda m: f"{m.op}: {m.name}")
def test_planted_mistakes_are_found_and_named(full, tmp_path, mistake):
    op = OPS[mistake.op]
    forward, backward = mistake.forward or op.forward, mistake.backward or op.backward
    small = len(op.cases())
    for stored in load_golden(full[0]).values():
        if stored.op == mistake.op and stored.dtype == np.float64 and int(stored.name.split("-")[1]) < small:
            with np.errstate(all="ignore"):
                try:
                    got = results(stored.case.call, stored.dtype, forward, backward)
                except ValueError:  # a result of another shape, of which no gradient can be asked
                    call = stored.case.call
                    got = {"y": forward(*call.arguments(np.float64), **call.keywords())[0]}
            kept = {n: np.asarray(a, np.float64) for n, a in got.items() if a is not None}
            save_tensors(tmp_path / f"{stored.name}.safetensors", kept)
    report = check_golden(tmp_path, against=full[0])
    assert not report.ok
    (text,) = report.diagnoses.values()
    assert mistake.explanation.rstrip(".").lower() in text.lower() or mistake.name in text, str(report)
    assert " ".join(text.split()) in unfolded(report)


# -- a program that knows no Python --------------------------------------------------------------------------


def program(tmp_path):
    """Compile the README's C++ program, or skip."""
    command = compiler()
    if command is None:
        pytest.skip("no C++ compiler: install g++, or ziglang")
    (source,) = re.findall(r"```cpp\n(.*?)```", README.read_text(), re.S)
    (tmp_path / "linear.cpp").write_text(source)
    arguments = ["-std=c++17", "-O2", str(tmp_path / "linear.cpp"), "-o", str(tmp_path / "linear")]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tmp_path / "linear"


def test_the_readmes_program_in_cpp_is_accepted(full, tmp_path):
    subprocess.run([program(tmp_path), full[0], tmp_path / "answers"], check=True)
    report = check_golden(tmp_path / "answers", against=full[0])
    assert report.ok, str(report)
    assert [(g.op, g.dtype, g.answered, g.absent) for g in report.groups] == [
        ("linear", "float64", 6, []),
        ("linear", "float32", 6, []),
    ]


def test_the_readme_counts_right(full):
    cases, ops, size = re.search(r"# (\d+) cases of (\d+) operations, (\d+) MB", README.read_text()).groups()
    summary = full[1]
    assert (int(cases), int(ops), int(size)) == (summary.cases, summary.ops, round(summary.size / 1e6))
