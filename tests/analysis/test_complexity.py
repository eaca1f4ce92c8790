"""Counting: the exact integers of the released prototxts, and that what is counted is what runs."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from senumpy import InputError, create_model
from senumpy.analysis import complexity


@pytest.mark.parametrize(
    ("name", "parameters", "se_parameters", "macs", "fc_macs", "scale"),
    [
        ("se_resnet50", 28_088_024, 2_530_992, 3_857_973_248, 2_514_944, 5_519_360),
        ("se_resnet101", 49_326_872, 4_777_712, 7_570_194_432, 4_743_168, 8_931_328),
        ("se_resnet152", 66_821_848, 6_629_040, 11_282_415_616, 6_578_176, 13_146_112),
    ],
)
def test_exact_counts(name, parameters, se_parameters, macs, fc_macs, scale):
    report = complexity(name)
    assert report.total("parameters") == parameters == create_model(name).num_parameters()
    assert report.total("parameters", in_se=True) == se_parameters
    assert report.total("multiply_adds", in_se=False) == macs
    assert report.total("multiply_adds", in_se=True) == fc_macs + scale
    assert sum(row.multiply_adds for row in report.layers if row.kind == "SE scale") == scale


def test_running_statistics_are_counted_apart():
    # 53 batch norms with 26,560 channels, a mean and a variance each
    assert complexity("resnet50").statistics == 2 * 26_560


def test_rows_name_layers_and_shapes():
    report = complexity("se_resnet50", size=64, num_classes=10)
    rows = {(row.name, row.kind): row for row in report.layers}
    assert rows["conv1", "conv 7x7/2"].output == (64, 32, 32)
    assert rows["layer2.0.conv1", "conv 1x1/2"].output == (128, 8, 8)
    assert rows["layer2.0.conv1", "conv 1x1/2"].multiply_adds == 256 * 128 * 8 * 8
    assert rows["layer4.2.se.fc1", "SE fc1"].parameters == 2048 * 128 + 128
    assert rows["layer4.2.se", "SE scale"].multiply_adds == 2048 * 2 * 2
    assert rows["fc", "linear"].parameters == 2048 * 10 + 10


@pytest.mark.parametrize("name", ["se_resnet20_cifar", "resnet20_cifar"])
def test_output_shapes_are_those_of_a_real_run(name):
    report = complexity(name, size=(13, 9), in_channels=1)
    model = create_model(name, in_channels=1)
    x = np.zeros((1, 1, 13, 9), np.float32)
    with model.inference():
        stages = [x := model._parts[0].forward(x)]
        for stage in (model.layer1, model.layer2, model.layer3):
            stages.append(x := stage.forward(x))
    ends = ["bn1", "layer1.2.bn2", "layer2.2.bn2", "layer3.2.bn2"]
    rows = {row.name: row.output for row in report.layers}
    assert [rows[end] for end in ends] == [stage.shape[1:] for stage in stages]


def test_report_for_people_and_programs():
    report = complexity("se_resnet8_cifar", size=8, in_channels=1)
    text = str(report)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert f"{report.total('parameters'):,}" in text
    data = json.loads(json.dumps(report.to_dict()))
    assert data["parameters"] == report.total("parameters")
    assert len(data["layers"]) == len(report.layers)


def test_too_small_images_are_refused():
    with pytest.raises(InputError, match="size: got 7x9, wanted at least 8x8"):
        complexity("resnet18", size=(7, 9))


@pytest.mark.parametrize("name", ["se_inception_resnet_v2", "se_bn_inception", "se_shufflenet"])
def test_counting_at_a_large_size_takes_no_memory(name):
    complexity(name, size=64 if "v2" not in name else 75)  # imports
    tracemalloc.start()
    try:
        complexity(name, size=2048 if "v2" not in name else 2050)
        assert tracemalloc.get_traced_memory()[1] < 2e7
    finally:
        tracemalloc.stop()
