"""Settings: out to TOML and back, and what is refused."""

from __future__ import annotations

import dataclasses
import tomllib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from senumpy.data import Dataset
from senumpy.engines import engine_names
from senumpy.errors import InputError
from senumpy.training import TrainConfig, load_config
from senumpy.training.defaults import complete_settings

BASE = TrainConfig(data="digits", model="se_resnet8_cifar", epochs=3, batch_size=8, lr=0.1)

configs = st.builds(
    TrainConfig,
    data=st.text(),
    model=st.text(),
    epochs=st.integers(1),
    batch_size=st.integers(1),
    lr=st.floats(0, exclude_min=True, allow_infinity=False),
    image_size=st.none() | st.integers(1, 999),
    schedule=st.sampled_from(["constant", "cosine", "step"]),
    warmup_epochs=st.floats(0, 99),
    momentum=st.floats(0, 1, exclude_max=True, exclude_min=True),
    nesterov=st.booleans(),
    weight_decay=st.floats(0, 1),
    decay_all=st.booleans(),
    label_smoothing=st.floats(0, 1, exclude_max=True),
    augment=st.booleans(),
    seed=st.integers(0, 2**62),
    threads=st.none() | st.integers(1, 8),
    device=st.none() | st.integers(0, 8),
    precision=st.sampled_from([None, "float32", "tf32"]),
    deterministic=st.booleans(),
)


@given(config=configs)
def test_any_settings_come_back_from_toml(config, tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "config.toml"
    config.save(path)
    assert load_config(path) == config
    # the keys are the fields, in their order
    names = [f.name for f in dataclasses.fields(config) if getattr(config, f.name) is not None]
    assert list(tomllib.loads(path.read_text(encoding="utf-8"))) == names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "^epochs: got 0, wanted at least 1$"),
        ({"batch_size": -3}, "^batch_size: got -3"),
        ({"image_size": 0}, "^image_size: got 0"),
        ({"lr": 0.0}, "^lr: got 0.0"),
        ({"lr": float("nan")}, "^lr: got nan"),
        ({"momentum": 1.0}, "^momentum: got 1.0"),
        ({"weight_decay": -1.0}, "^weight_decay: got -1.0"),
        ({"label_smoothing": 1.5}, "^label_smoothing: got 1.5"),
        ({"nesterov": True, "momentum": 0.0}, "^nesterov: got momentum 0"),
        ({"schedule": "cosinus"}, "did you mean 'cosine'"),
        ({"workers": -1}, "^workers: got -1"),
        ({"seed": -1}, "^seed: got -1"),
        ({"device": -1}, "^device: got -1"),
        ({"precision": "tf23"}, "unknown precision 'tf23': did you mean 'tf32'"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(BASE, **settings)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 3", "epochs = 0", "epochs: got 0, wanted at least 1"),
        ("epochs = 3", "epochs = 3.5", "epochs: got 3.5, wanted int"),
        ("epochs = 3", "epochs = true", "epochs: got True, wanted int"),
        ("epochs = 3", "", "setting epochs is missing"),
        ("epochs = 3", "epocs = 3", "unknown setting 'epocs': did you mean 'epochs'"),
        ("epochs = 3", "epochs = ", "not a TOML file: .*line 3"),
        ("nesterov = false", "nesterov = 'no'", "nesterov: got 'no', wanted bool"),
    ],
)
def test_a_config_file_that_was_spoilt(tmp_path, old, new, message):
    path = tmp_path / "config.toml"
    BASE.save(path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message) as info:
        load_config(path)
    assert str(info.value).startswith(str(path))


def test_a_config_file_from_before_there_were_gpus(tmp_path):
    path = tmp_path / "config.toml"
    BASE.save(path)
    text = path.read_text(encoding="utf-8")
    assert "device" not in text
    assert "precision" not in text
    path.write_text(text.replace("deterministic = false\n", ""), encoding="utf-8")
    assert load_config(path) == BASE


def test_no_config_file(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*config\.toml: No such file"):
        load_config(tmp_path / "config.toml")


def dataset(size: int, count: int = 500, *, augmentable: bool = True) -> Dataset:
    images = np.zeros((count, size, size, 3), dtype=np.uint8)
    labels = np.zeros(count, dtype=np.int64)
    return Dataset(
        "x/train", images, labels, ("a", "b"), (size, size, 3), (0.0,) * 3, (1.0,) * 3, augmentable
    )


@pytest.mark.parametrize(
    ("size", "model", "batch_size"),
    [(8, "se_resnet8_cifar", 32), (28, "se_resnet20_cifar", 128), (65, "se_resnet18", 32)],
)
def test_defaults_fit_the_images(size, model, batch_size):
    config = complete_settings({"data": "x"}, dataset(size))
    assert (config.model, config.batch_size) == (model, batch_size)
    assert complete_settings({"data": "x", "model": "resnet8_cifar"}, dataset(size)).model == "resnet8_cifar"


def test_the_learning_rate_follows_the_batch_size():
    given_batch = complete_settings({"data": "x", "batch_size": 64}, dataset(32))
    assert given_batch.lr == pytest.approx(0.05)
    assert complete_settings({"data": "x", "batch_size": 64, "lr": 0.3}, dataset(32)).lr == 0.3


def test_tiny_images_get_a_short_recipe_of_their_own():
    config = complete_settings({"data": "x"}, dataset(8))
    assert (config.epochs, config.lr, config.weight_decay) == (15, 0.1, 1e-3)
    assert complete_settings({"data": "x", "batch_size": 64}, dataset(8)).lr == pytest.approx(0.2)


def test_the_default_engine_is_the_fastest_that_is_installed():
    fastest = "numba" if "numba" in engine_names() else "numpy"
    assert complete_settings({"data": "x"}, dataset(8)).engine == fastest


def test_numpy_trains_on_small_images_in_one_thread_and_prepares_them_in_none():
    for size, threads in ((8, 1), (64, 1), (65, None)):
        config = complete_settings({"data": "x", "engine": "numpy"}, dataset(size))
        assert (config.threads, config.workers) == (threads, 0)
    assert complete_settings({"data": "x", "engine": "naive"}, dataset(8)).threads is None
    assert complete_settings({"data": "x", "threads": 3, "workers": 4}, dataset(8)).threads == 3


def test_the_data_say_whether_to_augment():
    assert complete_settings({"data": "x"}, dataset(32)).augment
    assert not complete_settings({"data": "x"}, dataset(32, augmentable=False)).augment
    assert not complete_settings({"data": "x", "augment": False}, dataset(32)).augment


def test_a_batch_larger_than_the_data():
    assert complete_settings({"data": "x"}, dataset(32, count=50)).batch_size == 50
    with pytest.raises(InputError, match=r"^batch_size: got 51, wanted at most 50, the number"):
        complete_settings({"data": "x", "batch_size": 51}, dataset(32, count=50))
