"""Weights on a test set: the images that the network sees, and what does not fit together."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy import InputError, create_model
from senumpy.data import load_data
from senumpy.data.images import resize_array
from senumpy.interop import Preprocessing, save_weights
from senumpy.prediction import evaluate_file

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "noise.npz"
    np.savez(path, x=rng.integers(0, 256, (90, 32, 32, 3), dtype=np.uint8), y=np.arange(90) % 7)
    return str(path)


def _weights(path, resize, size, *, classes=7, names=()):
    model = create_model("se_resnet8_cifar", num_classes=classes)
    save_weights(path, model, preprocessing=Preprocessing(resize, size, MEAN, STD), class_names=names)
    return model


@pytest.mark.parametrize(("resize", "size"), [(32, 32), (40, 32), (24, 24)])
def test_images_go_through_what_the_weights_expect(resize, size, images, tmp_path):
    model = _weights(tmp_path / "w.safetensors", resize, size)
    got = evaluate_file(tmp_path / "w.safetensors", data=images, batch_size=7)

    test = load_data(images).test
    edge = (resize - size) // 2
    seen = resize_array(np.stack(list(test.images)), resize)[:, edge : edge + size, edge : edge + size]
    x = ((seen / 255 - np.array(MEAN)) / np.array(STD)).transpose(0, 3, 1, 2).astype("float32")
    with model.inference():
        logits = model.forward(x).astype("float64")
    log_sums = np.log(np.exp(logits).sum(1))
    losses = log_sums - logits[np.arange(len(x)), test.labels]
    assert got.images == len(x)
    assert got.loss == pytest.approx(losses.mean(), rel=1e-4)
    assert got.top1 == np.mean(logits.argmax(1) == test.labels)


def test_what_does_not_fit_together_is_said(images, tmp_path):
    path = tmp_path / "w.safetensors"
    _weights(path, 32, 32)
    for settings, message in (
        ({}, "weights don't say on which images; wanted --data"),
        ({"data": images, "crops": 10}, "crops: got 10"),
        ({"data": images, "batch_size": 0}, "batch_size: got 0"),
        ({"data": "digits"}, "num_classes is 10, wanted 7"),
    ):
        with pytest.raises(InputError, match=message):
            evaluate_file(path, **settings)
    _weights(path, 32, 32, names=[*"0123456"[:5], "six", "five"])
    with pytest.raises(InputError, match="class 5 is '5', wanted 'six'"):
        evaluate_file(path, data=images)
    with pytest.raises(InputError, match=r"cannot read .*none\.safetensors"):
        evaluate_file(tmp_path / "none.safetensors", data=images)
