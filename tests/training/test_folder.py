"""Run folders: names, refusals, and metrics that are cut off at an epoch."""

from __future__ import annotations

import dataclasses
import json

import pytest

from senumpy.errors import InputError
from senumpy.training import EpochMetrics, TrainConfig
from senumpy.training.folder import create_folder, open_folder

CONFIG = TrainConfig(data="digits", model="se_resnet8_cifar", epochs=3, batch_size=8, lr=0.1)


def metrics(epoch: int) -> EpochMetrics:
    return EpochMetrics(epoch, 10 * epoch, 0.1, 1.5, 0.5, 1.25, 0.625, 1000.0, 2.5)


@pytest.fixture
def folder(tmp_path):
    folder = create_folder(CONFIG, "digits", tmp_path / "run")
    for epoch in (1, 2, 3):
        folder.append(metrics(epoch))
    return folder


def test_default_names_count_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [create_folder(CONFIG, "my data: ü", None).path.as_posix() for _ in range(2)]
    assert paths == ["runs/my_data-se_resnet8_cifar-001", "runs/my_data-se_resnet8_cifar-002"]
    (tmp_path / "runs/my_data-se_resnet8_cifar-041").mkdir()
    assert create_folder(CONFIG, "my data", None).path.name == "my_data-se_resnet8_cifar-042"
    assert create_folder(CONFIG, "my", None).path.name == "my-se_resnet8_cifar-001"


def test_an_empty_folder_is_taken_and_a_used_one_refused(tmp_path):
    (tmp_path / "deep/run").mkdir(parents=True)
    create_folder(CONFIG, "digits", tmp_path / "deep/run")
    with pytest.raises(InputError, match=r"run exists and is not an empty folder: .* --resume"):
        create_folder(CONFIG, "digits", tmp_path / "deep/run")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(InputError, match="file exists and is not an empty folder"):
        create_folder(CONFIG, "digits", tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "x"
    with pytest.raises(InputError, match=r"cannot make the run folder .*Not a directory"):
        create_folder(CONFIG, "digits", tmp_path / "file/run")


def test_settings_come_back(folder):
    assert open_folder(folder.path) == (folder, CONFIG)


def test_no_folder_to_open(tmp_path):
    with pytest.raises(InputError, match="is not a folder: wanted the run folder"):
        open_folder(tmp_path / "nothing")


def test_lines_have_exactly_these_keys(folder):
    line = folder.metrics.read_text(encoding="utf-8").splitlines()[0]
    assert list(json.loads(line)) == [
        "epoch",
        "step",
        "lr",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "images_per_second",
        "seconds",
    ]


@pytest.mark.parametrize("epochs", [0, 2, 3, 5])
def test_metrics_are_cut_off_after_an_epoch(folder, epochs):
    before = folder.metrics.read_bytes().splitlines(keepends=True)
    with folder.metrics.open("ab") as file:
        file.write(b'{"epoch": 4, "st')  # a kill in the middle of a line
    folder.keep_epochs(epochs)
    assert folder.metrics.read_bytes() == b"".join(before[:epochs])
    folder.append(metrics(epochs + 1))
    assert folder.rows()[-1] == dataclasses.asdict(metrics(epochs + 1))


def test_metrics_with_other_fields(folder):
    with folder.metrics.open("a", encoding="utf-8") as file:
        file.write('{"epoch": 4}\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl, line 4: fields are epoch, wanted epoch, step"):
        folder.rows()
