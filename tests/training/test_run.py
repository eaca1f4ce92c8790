"""Whole runs: what a folder holds, and that kill -9, Ctrl-C and a full disk cost nothing but time."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from senumpy.cli import main
from senumpy.data import FixedCrop, Normalize, load_data
from senumpy.engines import Engine
from senumpy.errors import InputError
from senumpy.storage import load_tensors
from senumpy.training import (
    Interrupted,
    TrainingError,
    evaluate_checkpoint,
    load_checkpoint,
    load_config,
    resume_run,
    start_run,
    testing,
)
from senumpy.training.folder import METRICS_KEYS, RunFolder

from .conftest import small_model

STEPS = 6  # of an epoch: 48 images in batches of 8
SETTINGS = {"epochs": 3, "batch_size": 8, "lr": 0.05, "momentum": 0.9, "seed": 4, "augment": True}
EXACT = [key for key in METRICS_KEYS if key not in ("images_per_second", "seconds")]


def run(stripes: str, out: Path, **settings):
    return start_run({**SETTINGS, "data": stripes, **settings}, out=out, quiet=True)


@pytest.fixture(scope="module")
def whole(stripes, tmp_path_factory) -> RunFolder:
    """The uninterrupted run that others are held to."""
    folder = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    run(stripes, folder.path)
    return folder


def assert_same(folder: RunFolder, whole: RunFolder) -> None:
    """Check weights, statistics and velocities bit for bit, position, and all metrics but times."""
    got, wanted = load_tensors(folder.checkpoint)[0], load_tensors(whole.checkpoint)[0]
    assert got.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(got[name].view(np.uint32), value.view(np.uint32), err_msg=name)
    assert load_checkpoint(folder.checkpoint).position == load_checkpoint(whole.checkpoint).position
    rows, expected = folder.rows(), whole.rows()
    assert [[row[key] for key in EXACT] for row in rows] == [[row[key] for key in EXACT] for row in expected]


def test_a_run_folder_holds_everything(whole, stripes):
    assert sorted(path.name for path in whole.path.iterdir()) == [
        "checkpoint.safetensors",
        "config.toml",
        "curves.png",
        "metrics.jsonl",
    ]
    config = load_config(whole.config)
    assert {key: getattr(config, key) for key in SETTINGS} == SETTINGS
    assert (config.data, config.model) == (stripes, "se_resnet8_cifar")
    assert whole.curves.read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in whole.metrics.read_text(encoding="utf-8").splitlines()]
    assert [tuple(row) for row in rows] == [METRICS_KEYS] * 3
    assert [row["step"] for row in rows] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]


def test_the_same_seed_gives_the_same_run_and_another_does_not(whole, stripes, tmp_path):
    run(stripes, tmp_path / "again", workers=3)
    assert_same(RunFolder(tmp_path / "again"), whole)
    run(stripes, tmp_path / "other", seed=5, epochs=1)
    assert RunFolder(tmp_path / "other").rows()[0]["train_loss"] != whole.rows()[0]["train_loss"]


# Sends itself a signal in the middle of an update: half of the weights are those of the next step.
STOPPED = """
import os, sys
from senumpy.cli import main
from senumpy.data import FixedCrop, Normalize, load_data
from senumpy.engines import default_engine, engine

number, after, *arguments = sys.argv[1:]
trained_with = type(engine(default_engine()))
calls, update = 0, trained_with.sgd_update

def update_or_stop(self, *args, **settings):
    global calls
    calls += 1
    if calls == int(after):
        os.kill(os.getpid(), int(number))
    update(self, *args, **settings)

trained_with.sgd_update = update_or_stop
sys.exit(main(arguments))
"""


def stop_in_update(number: int, step: int, stripes: str, out: Path, *more: str):
    parameters = len(list(small_model().named_parameters()))
    calls = step * parameters + parameters // 2
    options = [f"--{k.replace('_', '-')}={v}" for k, v in SETTINGS.items() if k != "augment"]
    return subprocess.run(
        [
            *(sys.executable, "-c", STOPPED, str(number), str(calls), "train", "--data", stripes),
            *(*options, "--augment", "--out", str(out), *more),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("more", "saved_step"), [((), STEPS), (("--checkpoint-minutes=0",), STEPS + 3)], ids=["epoch", "steps"]
)
def test_kill_9_in_the_middle_of_an_epoch(whole, stripes, tmp_path, more, saved_step):
    folder = RunFolder(tmp_path / "run")
    done = stop_in_update(signal.SIGKILL, STEPS + 3, stripes, folder.path, *more)
    assert done.returncode == -signal.SIGKILL
    assert load_checkpoint(folder.checkpoint).position.step == saved_step
    with folder.metrics.open("ab") as file:
        file.write(b'{"epoch": 2, "torn')  # as if it had also been killed in a write
    resume_run(folder.path, quiet=True)
    assert_same(folder, whole)


def test_ctrl_c_saves_and_exits_with_130(whole, stripes, tmp_path):
    folder = RunFolder(tmp_path / "run")
    done = stop_in_update(signal.SIGINT, STEPS + 3, stripes, folder.path)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == (
        f"senumpy: interrupted in epoch 2 at step {STEPS + 4}; all is saved. "
        f"Go on with: senumpy train --resume {folder.path}"
    )
    assert load_checkpoint(folder.checkpoint).position.step == STEPS + 4  # the update was finished
    assert folder.curves.exists()
    resume_run(folder.path, workers=2, quiet=True)
    assert_same(folder, whole)


def interrupt_at_call(monkeypatch, number: int, owner, name: str) -> None:
    """Make the `number`-th call of a function press Ctrl-C first."""
    original, calls = getattr(owner, name), []

    def call(*args, **settings):
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*args, **settings)

    monkeypatch.setattr(owner, name, staticmethod(call))


@pytest.mark.parametrize("batch", [1, STEPS + 1, STEPS + 2, 2 * (STEPS + 2)])
def test_ctrl_c_anywhere_in_training_and_evaluation(whole, stripes, tmp_path, monkeypatch, batch):
    """Forward passes 7 and 8 of each epoch are its evaluation: 12 test images in batches of 8."""
    folder = RunFolder(tmp_path / "run")
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        interrupt_at_call(patch, batch, Engine, "softmax_cross_entropy_forward")
        with pytest.raises(Interrupted, match="all is saved"):
            run(stripes, folder.path)
    assert signal.getsignal(signal.SIGINT) is before
    resume_run(folder.path, quiet=True)
    assert_same(folder, whole)


def test_a_complete_run_is_summed_up_again_and_left_alone(whole):
    before = {path.name: path.read_bytes() for path in whole.path.iterdir()}
    summary = resume_run(whole.path, quiet=True)
    assert summary.test_accuracy == whole.rows()[-1]["test_accuracy"]
    assert {path.name: path.read_bytes() for path in whole.path.iterdir()} == before


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(whole, stripes, tmp_path, monkeypatch, capsys):
    folder = RunFolder(tmp_path / "run")
    real, calls = os.fsync, []

    def sync(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 8:  # config, checkpoints at steps 0, 6, ...: file and folder each
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    arguments = [f"--{k.replace('_', '-')}={v}" for k, v in SETTINGS.items() if k != "augment"]
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", sync)
        status = main(
            ["train", "--data", stripes, *arguments, "--augment", "--out", str(folder.path), "--quiet"]
        )
    assert status == 2
    assert capsys.readouterr().err == (
        f"senumpy: cannot save {folder.checkpoint}: No space left on device; "
        "the previous checkpoint.safetensors is untouched\n"
    )
    assert load_checkpoint(folder.checkpoint).position.step == 2 * STEPS
    resume_run(folder.path, quiet=True)
    assert_same(folder, whole)


def test_a_loss_that_explodes_names_step_rate_and_checkpoint(stripes, tmp_path):
    with pytest.raises(
        TrainingError,
        match=r"the loss is nan at step \d+ .*rate .*Last checkpoint: .*checkpoint.safetensors \(step",
    ):
        run(stripes, tmp_path / "run", lr=1e20, warmup_epochs=0)
    load_checkpoint(tmp_path / "run/checkpoint.safetensors")


def edit_config(folder: RunFolder, old: str, new: str) -> None:
    text = folder.config.read_text(encoding="utf-8")
    assert old in text
    folder.config.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def copy(whole, tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "copy")
    folder.path.mkdir()
    for path in whole.path.iterdir():
        (folder.path / path.name).write_bytes(path.read_bytes())
    return folder


def test_resume_refuses_changed_settings(copy):
    edit_config(copy, "lr = 0.05", "lr = 0.5")
    with pytest.raises(InputError, match=r"config\.toml: lr is 0\.5, wanted 0\.05 as in .*checkpoint"):
        resume_run(copy.path, quiet=True)


def test_resume_refuses_other_data_and_takes_the_same_from_elsewhere(copy, stripes, tmp_path):
    with np.load(stripes) as data:
        x, y = data["x"], data["y"]
    np.savez(tmp_path / "moved.npz", x=x, y=y)
    edit_config(copy, stripes, str(tmp_path / "moved.npz"))
    resume_run(copy.path, quiet=True)
    np.savez(tmp_path / "moved.npz", x=x // 2, y=y)
    with pytest.raises(InputError, match=r"moved\.npz: mean is .*, wanted .* as in .*checkpoint"):
        resume_run(copy.path, quiet=True)


def test_resume_without_a_checkpoint(copy):
    copy.checkpoint.unlink()
    with pytest.raises(InputError, match=r"cannot read .*checkpoint\.safetensors: No such file"):
        resume_run(copy.path, quiet=True)


def test_bad_settings_leave_no_folder(stripes, tmp_path):
    for settings in ({"model": "se_resnet9_cifar"}, {"batch_size": 49}, {"engine": "nupmy"}):
        with pytest.raises(InputError):
            run(stripes, tmp_path / "run", **settings)
    with pytest.raises(ValueError, match="H and W at least 32"):
        run(stripes, tmp_path / "run", model="se_mobilenet")
    assert not (tmp_path / "run").exists()


def test_evaluation_of_a_run_gives_its_last_line_again(whole):
    evaluation = evaluate_checkpoint(whole.path, batch_size=5)
    last = whole.rows()[-1]
    assert evaluation.top1 == last["test_accuracy"]
    assert evaluation.loss == pytest.approx(last["test_loss"], rel=1e-5)
    assert (evaluation.images, evaluation.num_classes, evaluation.top5) == (12, 3, None)
    assert dataclasses.replace(evaluation) == evaluate_checkpoint(whole.checkpoint, batch_size=5)


def test_evaluation_normalises_as_in_training(whole, stripes, tmp_path):
    """Another set has another mean, which must not be taken."""
    with np.load(stripes) as data:
        x, y = data["x"], data["y"]
    np.savez(tmp_path / "half.npz", x=x[:30] // 2, y=y[:30])
    other = evaluate_checkpoint(whole.path, data=str(tmp_path / "half.npz"))
    checkpoint = load_checkpoint(whole.checkpoint)
    test = load_data(tmp_path / "half.npz").test
    assert test.mean != checkpoint.data.mean
    model = small_model()
    checkpoint.restore(model)
    normalize = Normalize(checkpoint.data.mean, checkpoint.data.std)
    with model.inference():
        logits = model.forward(np.stack([normalize(image) for image in test.images]))
    log_sum = np.log(np.exp(logits).sum(axis=1))
    loss = (log_sum - logits[np.arange(len(logits)), test.labels]).mean()
    assert other.loss == pytest.approx(loss, rel=1e-4)


def test_evaluation_refuses_other_numbers_of_classes_and_channels(whole, tmp_path):
    x = np.zeros((20, 8, 8, 1), np.uint8)
    np.savez(tmp_path / "two.npz", x=x, y=np.arange(20) % 2)
    with pytest.raises(InputError, match="num_classes is 2, wanted 3 as in"):
        evaluate_checkpoint(whole.path, data=str(tmp_path / "two.npz"))
    np.savez(tmp_path / "rgb.npz", x=x.repeat(3, axis=3), y=np.arange(20) % 3)
    with pytest.raises(InputError, match="in_channels is 3, wanted 1 as in"):
        evaluate_checkpoint(whole.path, data=str(tmp_path / "rgb.npz"))


def test_evaluation_with_ten_crops(whole, monkeypatch):
    one = evaluate_checkpoint(whole.path)
    ten = evaluate_checkpoint(whole.path, crops=10)
    assert ten.images == one.images
    assert ten.loss != one.loss
    # Ten times the centre crop of a padded image is the image itself: the mean over crops changes nothing.
    monkeypatch.setattr(testing, "FixedCrop", lambda index, size, padding: FixedCrop(0, size, padding))
    same = evaluate_checkpoint(whole.path, crops=10)
    assert (same.top1, same.top5) == (one.top1, one.top5)
    assert same.loss == pytest.approx(one.loss, rel=1e-5)
    with pytest.raises(InputError, match="crops: got 5, wanted 1 or 10"):
        evaluate_checkpoint(whole.path, crops=5)
