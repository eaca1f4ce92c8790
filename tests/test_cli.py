"""The command line: exit status, one line for bad input, JSON that parses, no heavy imports at the start."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from senumpy.cli import main


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Sixty 8x8 images in seven classes."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "noise.npz"
    np.savez(path, x=rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8), y=np.arange(60) % 7)
    return path


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    status = main(["train", "--data", str(data), "--epochs", "1", "--out", str(out), "--quiet"])
    assert status == 0
    return out


def refused(capsys, *arguments: str) -> str:
    """Run a command that has to fail with status 2 and one line on stderr; return the line."""
    try:
        status = main(arguments)
    except SystemExit as error:  # argparse leaves this way
        status = error.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == ""
    assert err.startswith("senumpy")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    return err


def output(capsys, *arguments: str, status: int = 0) -> str:
    assert main(arguments) == status
    return capsys.readouterr().out


def senumpy(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "senumpy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from senumpy.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'matplotlib', 'sklearn', 'torch', 'tqdm', 'PIL'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "{train" not in done.stdout
    for command in ("train", "eval", "info", "gradcheck", "selftest", "bench"):
        assert f"\n    {command} " in done.stdout


@pytest.mark.parametrize("command", ["train", "eval", "info", "gradcheck", "selftest", "bench"])
def test_every_command_has_help_and_json(capsys, command):
    with pytest.raises(SystemExit) as info:
        main([command, "--help"])
    assert info.value.code == 0
    text = capsys.readouterr().out
    assert "--json" in text
    assert "--debug" in text


def test_bad_input_is_one_line_and_status_2_without_traceback():
    done = senumpy("train", "--data", "digitz")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("senumpy: unknown data set 'digitz': did you mean 'digits'?")
    assert done.stderr.count("\n") == 1


def test_debug_shows_the_traceback():
    done = senumpy("info", "resnet51", "--debug")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "did you mean 'resnet50'" in done.stderr


def test_a_reader_that_has_enough_is_no_error():
    command = f"{sys.executable} -m senumpy info se_resnet152 --json | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("trian", "invalid choice: 'trian'"),
        ("train --epochs many", "argument --epochs: invalid int value: 'many'"),
        ("train --out a --resume b", "not allowed with argument"),
        ("train --epochs 0", "epochs: got 0, wanted at least 1"),
        ("train --lr nan", "lr: got nan, wanted a number above 0"),
        (
            "train --model se_resnet9_cifar",
            "unknown model 'se_resnet9_cifar': did you mean 'se_resnet8_cifar'?",
        ),
        ("train --engine nupmy", "unknown engine 'nupmy': did you mean 'numpy'?"),
        ("train --schedule cosinus", "unknown schedule 'cosinus': did you mean 'cosine'?"),
        ("train --engine numpy --device 0", "'numpy' has no option 'device': that is for the engine 'cupy'"),
        ("train --engine cupy --threads 2", "'cupy' has no option 'threads': that is for the engine 'numba'"),
        ("train --precision tf23", "argument --precision: invalid choice: 'tf23'"),
        ("train --resume nowhere --precision tf32", "--precision cannot be given with --resume"),
        ("predict w.pth a.png --device 0", "'numpy' has no option 'device'"),
        ("train --data ./nowhere", "no data at nowhere"),
        ("train --batch-size 5000", "batch_size: got 5000, wanted at most 1437"),
        ("train --resume nowhere", "nowhere is not a folder"),
        ("train --resume nowhere --lr 1", "--lr cannot be given with --resume"),
        ("eval nowhere.safetensors", "cannot read nowhere.safetensors"),
        ("info se_resnet51", "did you mean 'se_resnet50'?"),
        ("info resnet50 --input-size 4", "wanted at least 8x8"),
        ("gradcheck conv2", "did you mean 'conv2d'?"),
        ("gradcheck f.py:f,b", "--like OP"),
        ("gradcheck --like relu", "--like goes with a file"),
        ("gradcheck f.py:f,b relu --like relu", "a file is checked alone"),
        ("gradcheck f.py:f,b --like relu", "f.py: no such file"),
        ("bench no-such-case", "no case has 'no-such-case' in its name"),
        ("bench relu --repeats 0", "repeats: got 0"),
        ("bench relu --plot nowhere/ratios.png", "--plot: no folder nowhere"),
        ("bench relu --engine nmba", "did you mean 'numba'"),
    ],
)
def test_bad_usage_and_names(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, *arguments.split())
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_train_reports_where_everything_is(capsys, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = output(capsys, "train", "--data", str(data), "--epochs=1", "--batch-size=16", "--no-augment")
    assert text.startswith("test accuracy")
    assert "runs/noise-se_resnet8_cifar-001\n" in text
    assert "runs/noise-se_resnet8_cifar-001/curves.png\n" in text
    assert (tmp_path / "runs/noise-se_resnet8_cifar-001/curves.png").exists()


def test_train_shows_one_line_an_epoch_on_stderr_when_it_is_no_terminal(capsys, data, tmp_path):
    main(["train", "--data", str(data), "--epochs=2", "--out", str(tmp_path / "run")])
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "data   noise: 48 training, 12 test images, 1x8x8, 7 classes"
    assert lines[3].split()[0] == "epoch"
    assert [line.split()[0] for line in lines[4:]] == ["1/2", "2/2"]


def test_train_and_resume_as_json(capsys, run):
    result = json.loads(output(capsys, "train", "--resume", str(run), "--json", "--quiet"))
    assert set(result) == {
        *("data", "model", "parameters", "epochs", "test_loss", "test_accuracy", "seconds"),
        *("folder", "curves", "checkpoint"),
    }
    assert result["folder"] == str(run)


def test_a_used_run_folder_is_refused(capsys, run, data):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    message = refused(capsys, "train", "--data", str(data), "--out", str(run))
    assert f"{run} exists and is not an empty folder: choose another --out" in message
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def test_eval(capsys, run):
    result = json.loads(output(capsys, "eval", str(run), "--json"))
    assert result["images"] == 12
    assert 0 <= result["top1"] <= result["top5"] <= 1
    text = output(capsys, "eval", str(run / "checkpoint.safetensors"))
    assert f"engine {result['engine']}" in text.splitlines()
    assert f"top-1  {100 * result['top1']:6.2f} %" in text
    assert f"top-5  {100 * result['top5']:6.2f} %" in text


def test_eval_refuses_broken_weights(capsys, run, tmp_path):
    path = tmp_path / "half.safetensors"
    data = (run / "checkpoint.safetensors").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert f"{path}: cut short" in refused(capsys, "eval", str(path))
    assert "num_classes is 10, wanted 7 as in" in refused(capsys, "eval", str(run), "--data", "digits")
    (tmp_path / "empty").mkdir()
    assert "checkpoint.safetensors: No such file" in refused(capsys, "eval", str(tmp_path / "empty"))


def test_info(capsys):
    result = json.loads(output(capsys, "info", "se_resnet50", "--json"))
    assert (result["parameters"], result["se_parameters"]) == (28_088_024, 2_530_992)
    text = output(capsys, "info", "se_resnet20_cifar", "--input-size=28", "--channels=1", "--classes=7")
    assert text.startswith("se_resnet20_cifar: 1x28x28 images, 7 classes")
    assert max(len(line) for line in text.splitlines()) <= 80


def test_gradcheck_prints_a_row_an_operation(capsys):
    lines = output(capsys, "gradcheck", "relu", "linear").splitlines()
    assert [line.split()[0] for line in lines] == ["operation", "relu", "linear"]
    assert all(line.endswith("passed") for line in lines[1:])
    result = json.loads(output(capsys, "gradcheck", "linear", "--json", "--seed=3"))
    assert (result["ok"], result["seed"], result["operations"][0]["op"]) == (True, 3, "linear")


@pytest.mark.parametrize(("factor", "status", "word"), [("1.0", 0, "passed"), ("2.0", 1, "failed")])
def test_gradcheck_of_a_file(capsys, tmp_path, factor, status, word):
    path = tmp_path / "mine.py"
    path.write_text(
        "import numpy as np\n"
        "def forward(x):\n"
        "    return np.tanh(x), np.tanh(x)\n"
        "def backward(dy, y):\n"
        f"    return {factor} * dy * (1 - y * y)\n",
        encoding="utf-8",
    )
    target = f"{path}:forward,backward"
    assert word in output(capsys, "gradcheck", target, "--like", "tanh", status=status).splitlines()[0]
    result = json.loads(output(capsys, "gradcheck", target, "--like", "tanh", "--json", status=status))
    assert result["ok"] is (status == 0)


def test_bench(capsys, tmp_path):
    chart = tmp_path / "ratios.png"
    lines = output(capsys, "bench", "linear 2048", "--repeats=1", "--plot", str(chart)).splitlines()
    assert "GFLOP/s" in lines[4]
    assert lines[5] == "linear 2048-1000"
    assert chart.read_bytes().startswith(b"\x89PNG")
    result = json.loads(output(capsys, "bench", "linear 2048", "--repeats=1", "--engine=numpy", "--json"))
    assert result["rows"][0]["case"] == "linear 2048-1000"
    assert result["rows"][0]["results"][0]["library"] == "numpy"
    assert result["machine"]["numpy"] == np.__version__


def test_an_experiment_s_folder_is_made_before_all_is_counted(capsys, tmp_path):
    (tmp_path / "file").touch()
    message = refused(capsys, "experiment", "complexity", "--out", str(tmp_path / "file"))
    assert "--out: cannot make the folder" in message
