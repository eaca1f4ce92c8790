"""Runs on an engine that prepares images itself, runs that move to another engine, and engines' options."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from senumpy.data import load_data
from senumpy.engines import Engine
from senumpy.errors import InputError
from senumpy.training import Interrupted, TrainConfig, evaluate_checkpoint, load_config, resume_run, start_run
from senumpy.training import engine as engine_module
from senumpy.training.engine import engine_for_run, engine_of_run, make_engine
from senumpy.training.folder import RunFolder

from .test_run import SETTINGS, assert_same, edit_config, interrupt_at_call


class DeviceEngine(Engine):
    """Computes as NumPy does, but wants its images as bytes."""

    prepares_images = True

    def __init__(self):
        self.seen = []

    def prepare_images(self, images, offsets, flips, scale, shift):
        assert images.dtype == np.uint8
        self.seen.append((len(images), offsets is not None))
        return super().prepare_images(images, offsets, flips, scale, shift)

    def describe(self):
        return "device (bytes)"


@pytest.fixture
def device(monkeypatch):
    """Give every run and evaluation the same engine, whatever its name."""
    made = DeviceEngine()
    monkeypatch.setattr(engine_module, "engine", lambda name, **options: made)
    return made


@pytest.fixture(scope="module")
def cifar(shared_data, tmp_path_factory):
    """A hundred real images of CIFAR-10."""
    train = load_data(shared_data / "cifar10-lossless-4000.npz").train
    path = tmp_path_factory.mktemp("cifar") / "cifar.npz"
    np.savez(path, x=np.stack([train.images[i] for i in range(100)]), y=np.arange(100) % 4)
    return str(path)


def train(data, out, **settings):
    options = {"epochs": 2, "batch_size": 16, "engine": "numpy", "model": "se_resnet8_cifar", "augment": True}
    return start_run({**options, "data": data, "seed": 3, **settings}, out=out, quiet=True)


@pytest.fixture(scope="module")
def plain(cifar, tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("plain") / "run")
    train(cifar, folder.path)
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_bytes_and_transforms_train_to_the_same_bits(plain, cifar, tmp_path, device, workers):
    folder = RunFolder(tmp_path / "run")
    train(cifar, folder.path, workers=workers)
    assert_same(folder, plain)
    one_epoch = [(16, True)] * 5 + [(16, False), (4, False)]  # 80 images to train, 20 to test
    assert device.seen == one_epoch * 2


@pytest.mark.parametrize("batch", [3, 5, 6])
def test_a_run_on_a_device_resumes_exactly(plain, cifar, tmp_path, device, monkeypatch, batch):
    """Batch 6 is the first of the evaluation."""
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        interrupt_at_call(patch, batch, Engine, "softmax_cross_entropy_forward")
        with pytest.raises(Interrupted):
            train(cifar, folder.path)
    resume_run(folder.path, workers=2, quiet=True)
    assert_same(folder, plain)


def test_a_run_moves_between_plain_and_device_engines(plain, cifar, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        interrupt_at_call(patch, 3, Engine, "softmax_cross_entropy_forward")
        with pytest.raises(Interrupted):
            train(cifar, folder.path)
    monkeypatch.setattr(engine_module, "engine", lambda name, **options: DeviceEngine())
    resume_run(folder.path, quiet=True)
    assert_same(folder, plain)


def test_evaluation_on_a_device(plain, device):
    one, ten = evaluate_checkpoint(plain.path, batch_size=9), evaluate_checkpoint(plain.path, crops=10)
    assert device.seen == [(9, False), (9, False), (2, False)]  # fixed crops are cut on the processor
    assert one.engine == ten.engine == "device (bytes)"
    assert one.to_dict()["engine"] == "device (bytes)"
    last = plain.rows()[-1]
    assert one.top1 == last["test_accuracy"]
    assert one.loss == pytest.approx(last["test_loss"], rel=1e-5)


# -- another engine for a run --------------------------------------------------------------------------------


@pytest.fixture
def begun(stripes, tmp_path, monkeypatch):
    """A run on NumPy that was interrupted."""
    folder = RunFolder(tmp_path / "begun")
    with monkeypatch.context() as patch:
        interrupt_at_call(patch, 9, Engine, "softmax_cross_entropy_forward")
        with pytest.raises(Interrupted):
            start_run({**SETTINGS, "data": stripes, "engine": "numpy"}, out=folder.path, quiet=True)
    return folder


def test_a_run_goes_on_with_another_engine(begun, device, capsys, monkeypatch):
    assert load_config(begun.config).threads == 1  # of BLAS: says nothing of the next engine
    with monkeypatch.context() as patch:
        interrupt_at_call(patch, 3, Engine, "softmax_cross_entropy_backward")
        with pytest.raises(Interrupted):
            resume_run(begun.path, engine="naive")
    note = "engine numpy up to here, naive from here on: last bits differ from a run on one of them"
    assert f"note   {note}" in capsys.readouterr().err.splitlines()
    config = load_config(begun.config)
    assert (config.engine, config.threads) == ("naive", None)
    resume_run(begun.path, engine="numpy", quiet=True)
    assert load_config(begun.config).engine == "numpy"
    assert [row["epoch"] for row in begun.rows()] == [1, 2, 3]


def test_a_move_that_was_cut_short_is_made_again(begun):
    edit_config(begun, 'engine = "numpy"', 'engine = "naive"')  # the checkpoint still says numpy
    with pytest.raises(InputError, match="engine is 'naive', wanted 'numpy' as in"):
        resume_run(begun.path, quiet=True)
    resume_run(begun.path, engine="numpy", quiet=True)
    assert load_config(begun.config).engine == "numpy"


def test_the_same_engine_again_is_no_move(begun, capsys):
    before = begun.config.read_bytes()
    resume_run(begun.path, engine="numpy")
    assert begun.config.read_bytes() == before
    assert "note" not in capsys.readouterr().err


def test_the_device_of_a_run_may_change_and_its_precision_may_not(begun, device):
    resume_run(begun.path, device=1, quiet=True)
    edit_config(begun, "deterministic = false", 'deterministic = false\nprecision = "tf32"')
    with pytest.raises(InputError, match="precision is 'tf32', wanted None as in"):
        resume_run(begun.path, quiet=True)
    edit_config(begun, 'deterministic = false\nprecision = "tf32"', "deterministic = true")
    with pytest.raises(InputError, match="deterministic is True, wanted False as in"):
        resume_run(begun.path, quiet=True)


# -- options -------------------------------------------------------------------------------------------------

CONFIG = TrainConfig(data="", model="", epochs=1, batch_size=1, lr=0.1, engine="cupy", threads=None)


@pytest.fixture
def asked(monkeypatch):
    """What engines were asked for, instead of engines."""
    calls = []
    monkeypatch.setattr(engine_module, "engine", lambda name, **options: calls.append((name, options)))
    return calls


def test_only_what_is_set_is_passed_on(asked):
    make_engine("numpy", threads=3)  # BLAS's
    make_engine("numba", threads=3)
    make_engine("cupy")
    make_engine("cupy", device=0, precision="tf32", deterministic=True)
    assert asked == [
        ("numpy", {}),
        ("numba", {"threads": 3}),
        ("cupy", {}),
        ("cupy", {"device": 0, "precision": "tf32", "deterministic": True}),
    ]


def test_a_run_is_evaluated_with_its_own_precision_wherever_it_is(asked):
    config = dataclasses.replace(CONFIG, device=3, precision="tf32", deterministic=True)
    engine_of_run(config)
    engine_for_run(config)
    engine_for_run(config, "cupy", device=1, precision="float32")
    engine_for_run(config, "numba")
    own = {"precision": "tf32", "deterministic": True}
    assert asked == [
        ("cupy", {"device": 3, **own}),
        ("cupy", own),
        ("cupy", {"device": 1, "precision": "float32", "deterministic": True}),
        ("numba", {}),
    ]


@pytest.mark.parametrize(
    ("name", "option", "owner"), [("numpy", "device", "cupy"), ("cupy", "threads", "numba")]
)
def test_an_option_of_another_engine_is_refused_with_its_name(name, option, owner):
    with pytest.raises(InputError, match=f"'{name}' has no option '{option}': .* the engine '{owner}'"):
        make_engine(name, **{option: 1})
