"""The self-test passes engines that keep their promises, and names the promise that another breaks."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

import senumpy
from senumpy import InputError
from senumpy.cli import main
from senumpy.engines import Engine
from senumpy.selftest import run_selftest
from senumpy.verify import op_names
from tests.selftest import broken
from tests.selftest.device import DeviceEngine

LOOPS = "float64, small cases, against loops"
LARGER = "float64, larger cases, against numpy"
FLOAT32 = "float32, against float64"
TF32 = "TF32 matrix products, against float64"
CONTRACT = "no side effects, no aliases, same bits"
SPECIAL = "NaN, infinity, zeros, ties, large means"
REFUSED = "bad input is refused"
GRADIENTS = "gradients, against differences"
HELPERS = "array helpers, inference helpers"


def failed_groups(report):
    return {group.name for group in report.groups if group.failed}


def test_the_numpy_engine_holds():
    lines = []
    report = run_selftest("numpy", quick=True, show=lines.append)
    assert report.failures == ()
    assert report.ok
    assert {group.name for group in report.groups} == {
        *(LOOPS, FLOAT32, CONTRACT, SPECIAL, REFUSED, GRADIENTS, HELPERS, "networks")
    }
    assert all(group.checks for group in report.groups)
    text = "\n".join(lines)
    assert max(map(len, text.splitlines())) <= 80
    assert text.endswith(f"{report.checks} checks held")
    assert "left out:\n  TF32: the engine numpy has no such mode\n" in text


def test_nothing_is_mixed_with_arrays_of_a_device():
    report = run_selftest(DeviceEngine(), quick=True, seed=1)
    assert report.failures == ()
    assert {"networks", HELPERS, LARGER} <= {group.name for group in report.groups}


@pytest.mark.parametrize(
    ("engine", "op", "groups"),
    [
        (broken.WrongSign, "conv2d", {LOOPS, LARGER, FLOAT32, GRADIENTS}),
        (broken.DroppedMean, "batchnorm2d", {LOOPS, LARGER, FLOAT32, GRADIENTS, SPECIAL}),
        (broken.ChangesItsInput, "relu", {CONTRACT}),
        (broken.Alias, "dropout", {CONTRACT}),
        (broken.Widens, "sigmoid", {FLOAT32}),
        (broken.TakesInts, "linear", {REFUSED}),
        (broken.LastMaximum, "max_pool2d", {LOOPS, FLOAT32, SPECIAL}),
        (broken.NeverTheSame, "global_avg_pool", {CONTRACT}),
        (broken.LosesNaN, "relu", {SPECIAL}),
    ],
)
def test_a_broken_promise_is_named(engine, op, groups):
    report = run_selftest(engine(), [op], quick=True)
    assert not report.ok
    assert failed_groups(report) == groups
    assert {failure.subject for failure in report.failures} == {op}


@pytest.mark.parametrize(
    ("engine", "op", "what", "message"),
    [
        (broken.ChangesItsInput, "relu", "forward changes no argument", "forward changed x"),
        (broken.Alias, "dropout", "y has memory of its own", "writing to y changed x"),
        (broken.Widens, "sigmoid", "dtype", "dx is float64; wanted float32 like the arguments"),
        (broken.TakesInts, "linear", "x of int64", "wanted TypeError that names x"),
        (broken.NeverTheSame, "global_avg_pool", "a second run gives the same bits", "it gave another y"),
    ],
)
def test_the_message_says_what_is_wrong(engine, op, what, message):
    failures = run_selftest(engine(), [op], draws=1).failures
    assert any(failure.what == what and message in failure.message for failure in failures), failures


def test_a_seed_that_is_named_shows_it_again():
    report = run_selftest(broken.DroppedMean(), ["batchnorm2d"], seed=3, draws=2)
    named = next(failure for failure in report.failures if failure.seed == 4)
    again = run_selftest(broken.DroppedMean(), ["batchnorm2d"], seed=named.seed, draws=1)
    assert named in again.failures


def test_an_exception_stops_no_other_check():
    lines = []
    report = run_selftest(broken.Raises(), ["tanh", "relu"], draws=1, show=lines.append)
    assert {failure.subject for failure in report.failures} == {"tanh"}
    assert any("raised RuntimeError: out of tanh" in failure.message for failure in report.failures)
    assert lines[-1].endswith(f"{len(report.failures)} of {report.checks} checks failed")


def test_ctrl_c_stops():
    class Interrupted(Engine):
        def relu_forward(self, x):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_selftest(Interrupted(), ["relu"])


# -- TF32 --------------------------------------------------------------------------------------------------


class Rounded(Engine):
    """A linear layer whose products have factors of a few binary digits."""

    precision = "tf32"

    def __init__(self, digits=11, cut=False):
        self.digits, self.cut = digits, cut

    def _factor(self, a):
        if getattr(a, "dtype", None) != np.float32:
            return a
        mantissa, exponent = np.frexp(a)
        scaled = mantissa * 2.0**self.digits
        return np.ldexp((np.trunc if self.cut else np.rint)(scaled) / 2.0**self.digits, exponent)

    def linear_forward(self, x, w, b=None):
        return Engine.linear_forward(self._factor(x), self._factor(w), b)

    def linear_backward(self, dy, cache):
        found = Engine.linear_backward(self._factor(dy), cache)
        return found if found.db is None else found._replace(db=dy.sum(0))


@pytest.mark.parametrize("cut", [False, True])
def test_tf32_has_a_bound_of_its_own(cut):
    report = run_selftest(Rounded(cut=cut), ["linear"], draws=4)
    assert report.failures == ()
    assert TF32 in {group.name for group in report.groups}
    assert any("matrix products in float32" in text for text in report.left_out)
    worst = next(group.worst for group in report.groups if group.name == TF32)
    assert worst > 0.05  # the bound is no dead letter


def test_fewer_digits_than_tf32_are_too_few():
    assert failed_groups(run_selftest(Rounded(digits=7), ["linear"], draws=4)) == {TF32}


def test_tf32_is_too_coarse_for_float32():
    engine = Rounded()
    engine.precision = "float32"
    report = run_selftest(engine, ["linear"], options={"precision": "float32"})
    assert failed_groups(report) == {FLOAT32}
    assert "TF32: --precision float32 was asked for" in report.left_out


# -- the command -------------------------------------------------------------------------------------------


def test_json_has_what_the_text_has(capsys, tmp_path):
    arguments = ["selftest", "relu", "scale", "--engine", "numpy", "--draws", "1"]
    out = tmp_path / "result.json"
    assert main([*arguments, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    written = json.loads(out.read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]
    for each in (result, written):
        for group in each["groups"]:
            assert group.pop("seconds") >= 0
    assert result == written
    assert result["ok"] is True
    assert result["versions"]["NumPy"] == np.__version__
    assert f"NumPy {np.__version__}" in text
    assert f"engine {result['describe']}\n" in text
    for group in result["groups"]:
        assert f"{group['name']:<44}{group['checks']:>8}{group['failed']:>8}" in text
    for reason in result["left_out"]:
        assert reason.split(":")[0] in text
    assert f"{result['checks']} checks held" in text


def test_exit_status_1_and_the_failures_as_text_and_json(capsys, monkeypatch):
    monkeypatch.setattr(Engine, "scale_backward", broken_scale)
    arguments = ["selftest", "scale", "--engine", "numpy", "--draws", "1"]
    assert main(arguments) == 1
    text = capsys.readouterr().out
    assert "did not hold:" in text
    assert f"{LOOPS}: scale (image), ds, seed 0" in text
    assert main([*arguments, "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["ok"] is False
    assert f"{len(result['failures'])} of {result['checks']} checks failed" in text
    assert {failure["what"] for failure in result["failures"] if failure["group"] == LOOPS} == {"ds"}


@staticmethod
def broken_scale(dy, cache):
    found = senumpy.ops.scale_backward(dy, cache)
    return found._replace(ds=found.ds + np.float32("inf"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--engine nupmy", "did you mean 'numpy'"),
        ("conv2", "did you mean 'conv2d'"),
        ("--engine numpy --device 0", "'numpy' has no option 'device'"),
        ("--engine numpy --precision tf32", "'numpy' has no option 'precision'"),
        ("--draws 0", "draws: got 0, wanted at least 1"),
        ("--seed -1", "seed: got -1, wanted at least 0"),
        ("--out nowhere/result.json", "--out: no folder nowhere"),
    ],
)
def test_bad_input(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["selftest", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_bad_input_in_python():
    with pytest.raises(InputError, match="draws"):
        run_selftest("numpy", draws=-1)


def test_numpy_is_all_that_is_needed():
    code = (
        "import sys\n"
        "class Nothing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] not in {'senumpy', 'numpy', *sys.stdlib_module_names}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        "from senumpy.cli import main\n"
        "sys.exit(main(['selftest', 'linear', 'relu', '--engine', 'numpy', '--draws', '1']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_operation_has_larger_cases():
    from senumpy.selftest.samples import large_samples

    for op in op_names():
        samples = large_samples(op, 0)
        assert samples
        assert [sample.name for sample in samples] == [sample.name for sample in large_samples(op, 0)]
