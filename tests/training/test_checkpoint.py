"""Checkpoints: everything comes back; what doesn't fit is refused by name, and the last good one stays."""

from __future__ import annotations

import json

import numpy as np
import pytest

from senumpy.errors import InputError
from senumpy.storage import load_tensors, save_tensors
from senumpy.training import (
    SGD,
    Position,
    Tally,
    TrainConfig,
    TrainingError,
    load_checkpoint,
    save_checkpoint,
)
from senumpy.training.checkpoint import DataInfo

from .conftest import small_model

CONFIG = TrainConfig(data="somewhere/ä", model="se_resnet8_cifar", epochs=3, batch_size=16, lr=0.1 + 0.2)
DATA = DataInfo("stripes", ("a", "b", "c"), (8, 8, 1), (0.1 + 0.2,), (0.7,))
POSITION = Position(2, 1, 7, Tally(16, 1 / 3, 9, 16), 0.123456789, 1e-17)


@pytest.fixture
def trained(batches):
    """A model with running statistics and velocities that are not those of the start."""
    model = small_model()
    sgd = SGD(model)
    logits = model.forward(batches.x)
    model.backward(np.ones_like(logits))
    sgd.step(0.01)
    return model, sgd


@pytest.fixture
def saved(trained, tmp_path):
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, *trained, POSITION, CONFIG, DATA)
    return path


def test_everything_comes_back(trained, saved):
    checkpoint = load_checkpoint(saved)
    assert (checkpoint.config, checkpoint.data, checkpoint.position) == (CONFIG, DATA, POSITION)
    model = small_model(seed=5)
    sgd = SGD(model)
    checkpoint.restore(model, sgd)
    for mine, theirs in zip((model, sgd), trained, strict=True):
        state = theirs.state_dict()
        assert mine.state_dict().keys() == state.keys()
        for name, value in mine.state_dict().items():
            np.testing.assert_array_equal(value, state[name], err_msg=name)
    assert any("running_var" in name for name in checkpoint.state)


def test_the_file_is_a_weight_file_by_the_usual_names(saved):
    tensors, metadata = load_tensors(saved)
    assert tensors["layer1.0.conv1.weight"].shape == (16, 16, 3, 3)
    assert tensors["velocity.layer1.0.conv1.weight"].shape == (16, 16, 3, 3)
    assert "velocity.bn1.running_mean" not in tensors
    assert {k: metadata[k] for k in ("format_version", "model", "num_classes", "in_channels", "dtype")} == {
        "format_version": "1",
        "model": "se_resnet8_cifar",
        "num_classes": "3",
        "in_channels": "1",
        "dtype": "float32",
    }


def test_a_checkpoint_from_before_there_were_gpus(saved):
    tensors, metadata = load_tensors(saved)
    config = json.loads(metadata["config"])
    for name in ("device", "precision", "deterministic"):
        del config[name]
    save_tensors(saved, tensors, {**metadata, "config": json.dumps(config)})
    assert load_checkpoint(saved).config == CONFIG


def other_model(**settings):
    from senumpy import create_model

    defaults = {"num_classes": 3, "in_channels": 1}
    return create_model(settings.pop("name", "se_resnet8_cifar"), **(defaults | settings))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet8_cifar"}, "model is se_resnet8_cifar, wanted resnet8_cifar"),
        ({"num_classes": 10}, "num_classes is 3, wanted 10"),
        ({"in_channels": 3}, "in_channels is 1, wanted 3"),
        ({"dtype": "float64"}, "dtype is float32, wanted float64"),
    ],
)
def test_a_checkpoint_of_another_model(saved, settings, message):
    with pytest.raises(InputError, match=f"checkpoint.safetensors: {message}"):
        load_checkpoint(saved).restore(other_model(**settings))


def test_missing_tensors_are_named(trained, saved):
    tensors, metadata = load_tensors(saved)
    velocity = tensors.pop("velocity.fc.bias")
    save_tensors(saved, tensors, metadata)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: velocity of fc\.bias: missing"):
        load_checkpoint(saved).restore(*trained)
    tensors["velocity.fc.bias"] = velocity
    del tensors["bn1.running_var"]
    save_tensors(saved, tensors, metadata)
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: .*missing: bn1\.running_var"):
        load_checkpoint(saved).restore(*trained)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
def test_a_checkpoint_cut_in_half(saved, part):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(part * len(data))])
    with pytest.raises(InputError, match=r"checkpoint\.safetensors: .*(wanted|cut short)"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", None, "metadata field format is missing"),
        ("format", "pt", "format is 'pt', wanted 'senumpy checkpoint'"),
        ("format_version", "9", "format_version is '9', wanted '1'"),
        ("num_classes", "ten", "metadata field num_classes: "),
        ("position", "{}", "metadata field position: "),
        ("position", "[", "metadata field position: "),
        ("config", '{"epochs": 3}', "metadata field config: .*missing"),
        ("data", "null", "metadata field data: "),
    ],
)
def test_metadata_that_were_spoilt(saved, field, value, message):
    tensors, metadata = load_tensors(saved)
    metadata.pop(field)
    if value is not None:
        metadata[field] = value
    save_tensors(saved, tensors, metadata)
    with pytest.raises(InputError, match=rf"checkpoint\.safetensors: .*{message}"):
        load_checkpoint(saved)


def test_weights_that_are_not_finite_never_replace_good_ones(trained, saved):
    before = saved.read_bytes()
    model, sgd = trained
    model.fc.weight.value[0, 0] = np.inf
    with pytest.raises(TrainingError, match=r"fc\.weight is no longer finite at step 7 \(epoch 3\)"):
        save_checkpoint(saved, model, sgd, POSITION, CONFIG, DATA)
    assert saved.read_bytes() == before
