"""Training, evaluation, resume and prediction on the engine `cupy`, from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest

import senumpy
from senumpy.cli import main
from senumpy.storage import load_tensors
from tests.cuda.memory import device_memory

TRAIN = ["train", "--model", "se_resnet8_cifar", "--batch-size", "8", "--epochs", "2", "--augment", "--quiet"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Sixty small images in three classes."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pixels = rng.integers(0, 120, (60, 8, 8, 3)) + 60 * (labels == np.arange(3)[:, None]).T[:, None, None, :]
    path = tmp_path_factory.mktemp("data") / "colours.npz"
    np.savez(path, x=pixels.astype(np.uint8), y=labels)
    return str(path)


def train(images, out, *options):
    assert main([*TRAIN, "--data", images, "--out", str(out), *options]) == 0
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def on_gpu(cupy, images, tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu") / "run"
    train(images, out, "--engine", "cupy", "--deterministic")
    return out


def weights(run):
    return load_tensors(run / "checkpoint.safetensors")[0]


def test_a_run_is_that_of_the_processor(on_gpu, images, tmp_path):
    rows = [json.loads(line) for line in (on_gpu / "metrics.jsonl").read_text().splitlines()]
    for got, want in zip(rows, train(images, tmp_path / "run", "--engine", "numpy"), strict=True):
        # The same images in the same order; float32 sums in another.
        assert got["train_loss"] == pytest.approx(want["train_loss"], rel=1e-3)
        assert got["test_loss"] == pytest.approx(want["test_loss"], rel=1e-2)


def test_deterministic_runs_are_bit_identical_and_say_the_price(on_gpu, images, tmp_path, capsys):
    options = [option for option in TRAIN if option != "--quiet"]
    out = ["--out", str(tmp_path / "run")]
    assert main([*options, "--data", images, *out, "--engine", "cupy", "--deterministic"]) == 0
    printed = capsys.readouterr().err
    assert "engine cupy (device 0: Emulated GPU, float32, deterministic)" in printed
    assert "deterministic: one convolution of each shape takes" in printed
    assert max(map(len, printed.splitlines())) < 160
    for name, value in weights(on_gpu).items():
        assert np.array_equal(value, weights(tmp_path / "run")[name]), name


def test_a_run_moves_between_engines(on_gpu, images, tmp_path, capsys):
    run = tmp_path / "run"
    train(images, run, "--engine", "numpy", "--epochs", "1")
    capsys.readouterr()
    assert main(["eval", str(run), "--engine", "cupy", "--json"]) == 0
    moved = json.loads(capsys.readouterr().out)
    assert moved["engine"].startswith("cupy")
    assert main(["eval", str(run), "--json"]) == 0
    stayed = json.loads(capsys.readouterr().out)
    assert moved["loss"] == pytest.approx(stayed["loss"], rel=1e-4)
    assert main(["eval", str(on_gpu), "--engine", "numpy"]) == 0


def test_a_run_goes_on_elsewhere(images, tmp_path, cupy, monkeypatch):
    from senumpy.training import Interrupted, trainer

    run, real, steps = tmp_path / "run", trainer.Trainer._update, []

    def interrupted(self, *arguments):
        if len(steps) == 8:
            raise Interrupted("power cut")
        steps.append(1)
        return real(self, *arguments)

    monkeypatch.setattr(trainer.Trainer, "_update", interrupted)
    assert main([*TRAIN, "--data", images, "--out", str(run), "--engine", "numpy"]) == 130
    monkeypatch.undo()
    assert main(["train", "--resume", str(run), "--engine", "cupy", "--quiet"]) == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    assert "cupy" in (run / "config.toml").read_text()


def test_predictions_are_those_of_the_processor(on_gpu, images, tmp_path, capsys):
    from PIL import Image

    pixels = np.load(images)["x"]
    files = []
    for k in range(3):
        files.append(str(tmp_path / f"{k}.png"))
        Image.fromarray(pixels[k]).save(files[-1])
    found = {}
    weights_file = str(tmp_path / "weights.safetensors")
    assert main(["export", str(on_gpu), "--to", weights_file]) == 0
    capsys.readouterr()
    for engine in ("cupy", "numpy"):
        assert main(["predict", weights_file, *files, "--engine", engine, "--json"]) == 0
        found[engine] = json.loads(capsys.readouterr().out)
    numbers = {engine: np.array(_numbers(value)) for engine, value in found.items()}
    assert numbers["cupy"].size > 10
    np.testing.assert_allclose(numbers["cupy"], numbers["numpy"], rtol=1e-3, atol=1e-5)


def _numbers(value):
    if isinstance(value, dict | list):
        return [n for item in (value.values() if isinstance(value, dict) else value) for n in _numbers(item)]
    return [float(value)] if isinstance(value, int | float) else []


def test_a_loss_that_is_no_number_stops_the_run(images, tmp_path, cupy, capsys):
    status = main(
        [*TRAIN, "--data", images, "--out", str(tmp_path / "run"), "--engine", "cupy", "--lr", "1e38",
         "--warmup-epochs", "0"]
    )  # fmt: skip
    message = capsys.readouterr().err
    assert status == 2
    assert "the loss is" in message
    assert "Last checkpoint" in message


def test_a_full_memory_names_a_batch_that_fits(images, tmp_path, cupy, capsys):
    run = tmp_path / "run"
    engine = senumpy.engine("cupy")
    model = senumpy.create_model("se_resnet8_cifar", num_classes=3, engine=engine)
    weights_size = engine.device_memory().used
    del model
    arguments = [*TRAIN, "--data", images, "--out", str(run), "--engine", "cupy", "--batch-size", "40"]
    with device_memory(weights_size + 2_000_000):
        status = main(arguments)
    message = capsys.readouterr().err
    assert status == 2
    assert "the GPU's memory is full: Out of memory allocating" in message
    assert "--batch-size" in message
    assert "Last checkpoint" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "7"], "device: got 7, wanted one of 0: Emulated GPU"),
        (["--precision", "half"], "float32"),
        (["--threads", "2"], "threads"),
    ],
)
def test_bad_options(images, tmp_path, cupy, capsys, options, message):
    arguments = [*TRAIN, "--data", images, "--out", str(tmp_path / "run"), "--engine", "cupy", *options]
    try:
        status = main(arguments)
    except SystemExit as refused:
        status = refused.code
    assert status == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
