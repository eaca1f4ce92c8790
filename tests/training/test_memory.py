"""When a device's memory is full: the message, and a batch that fits, from measurements."""

from __future__ import annotations

import gc
import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from senumpy import create_model
from senumpy.cli import main
from senumpy.engines import Engine
from senumpy.engines.base import DeviceMemory
from senumpy.interop import save_weights
from senumpy.layers import SEConfig
from senumpy.prediction import predict
from senumpy.training import TrainingError, evaluate, load_checkpoint
from senumpy.training import engine as engine_module
from senumpy.training.evaluate import evaluate_crops
from senumpy.training.memory import largest_batch

from .conftest import small_model

FIXED, EACH, TOTAL = 50_000, 3_000, 2**20


class SmallDevice(Engine):
    """A device on which a step takes FIXED bytes and EACH for every image, and a batch of `most` fits."""

    def __init__(self, most):
        self.room = FIXED + EACH * most
        self.batches = []

    def conv2d_forward(self, x, *arguments, **settings):
        self.batches.append(len(x))
        if FIXED + EACH * len(x) > self.room:
            raise MemoryError("Out of memory allocating 1,234 bytes.")
        return Engine.conv2d_forward(x, *arguments, **settings)

    def device_memory(self):
        return DeviceMemory(TOTAL - self.room, self.room, TOTAL)

    def peak_memory(self, run):
        run()
        return FIXED + EACH * self.batches[-1]


def message(room, end):
    return (
        "the GPU's memory is full: Out of memory allocating 1,234 bytes; "
        f"{room / 1024:.1f} KiB free of 1.0 MiB; {end}"
    )


FITS = {
    12: "a batch of 8 images would fit: use --batch-size 8",
    5: "a batch of 5 images would fit: use --batch-size 5",
    1: "a batch of one image would fit: use --batch-size 1",
    0: "not even one image fits: use a smaller network or smaller images",
}


@pytest.mark.parametrize("most", FITS)
def test_training_says_which_batch_would_fit(make_trainer, most):
    engine = SmallDevice(most)
    trainer = make_trainer(small_model(engine=engine))
    before = trainer.model.state_dict()
    with pytest.raises(TrainingError) as error:
        trainer.run()
    assert str(error.value) == message(engine.room, FITS[most])
    assert trainer.position.step == 0
    for name, parameter in trainer.model.named_parameters():
        np.testing.assert_array_equal(parameter.value, before[name], err_msg=name)
        assert parameter.grad is None


@pytest.mark.parametrize("most", FITS)
def test_evaluation_says_it_too(batches, most):
    engine = SmallDevice(most)
    model = small_model(engine=engine)
    with pytest.raises(TrainingError) as error:
        evaluate(model, batches)
    assert str(error.value) == message(engine.room, FITS[most])
    with pytest.raises(TrainingError) as error:
        evaluate_crops(model, [batches, batches])
    assert str(error.value) == message(engine.room, FITS[most])
    assert model.training


def test_a_batch_of_that_size_then_trains(make_trainer, batches):
    batches.batch_size = 8
    make_trainer(small_model(engine=SmallDevice(16)), epochs=1).run()


def test_a_processor_s_memory_error_is_left_as_it_is(make_trainer):
    class Full(Engine):
        def conv2d_forward(self, *arguments, **settings):
            raise MemoryError("17 GiB")

    with pytest.raises(MemoryError, match=r"^17 GiB$"):
        make_trainer(small_model(engine=Full())).run()


def test_an_engine_that_cannot_measure(make_trainer):
    class Unknown(SmallDevice):
        def peak_memory(self, run):
            return None

    with pytest.raises(TrainingError, match=r"; use a smaller --batch-size$"):
        make_trainer(small_model(engine=Unknown(5))).run()


def test_a_run_names_its_checkpoint(stripes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(engine_module, "engine", lambda name, **options: SmallDevice(13))
    out = str(tmp_path / "run")
    status = main(["train", "--data", stripes, "--batch-size=16", "--engine=numpy", "--out", out, "--quiet"])
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2
    assert line.endswith(f"use --batch-size 8. Last checkpoint: {out}/checkpoint.safetensors (step 0)")
    assert load_checkpoint(tmp_path / "run/checkpoint.safetensors").position.step == 0


def test_a_prediction_needs_one_image(tmp_path, monkeypatch):
    save_weights(tmp_path / "w.safetensors", create_model("se_resnet8_cifar", num_classes=2))
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(engine_module, "engine", lambda name, **options: SmallDevice(0))
    with pytest.raises(TrainingError, match="not even one image fits"):
        predict(tmp_path / "w.safetensors", [tmp_path / "a.png"], size=32)


# -- the arithmetic ----------------------------------------------------------------------------------------


def device(fixed, each, room):
    """Return the peak of a step of so many images on a device of so much room, and what was tried."""
    tried = []

    def peak(count):
        tried.append(count)
        needed = fixed + each * count
        return math.inf if needed > room else needed

    return peak, tried


@given(
    fixed=st.integers(0, 10**9),
    each=st.integers(1, 10**8),
    most=st.integers(0, 5000),
    spare=st.floats(0, 0.99),
    more=st.integers(1, 5000),
)
def test_the_largest_batch(fixed, each, most, spare, more):
    room = fixed + int(each * (most + spare))
    peak, tried = device(fixed, each, room)
    found = largest_batch(peak, room, most + more)
    assert found == (most // 8 * 8 if most > 8 else most)
    assert len(tried) <= 12
    assert max(tried, default=0) < most + more  # what is known to fail is not tried again


def test_a_size_that_does_not_fit_after_all_is_not_promised():
    def peak(count):  # from 40 images on, another algorithm takes twice as much
        needed = 100 * count * (1 + (count >= 40))
        return math.inf if needed > 6000 else needed

    found = largest_batch(peak, 6000, 128)
    assert 24 <= found < 40
    assert peak(found) < math.inf


def test_steps_that_take_the_same_tell_nothing_beyond_themselves():
    assert largest_batch(lambda count: 5.0, 100, 128) == 16


# -- what a failed step kept ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("se_resnet8_cifar", {}),
        ("se_resnet8_cifar", {"se": SEConfig(placement="pre")}),
        ("se_preact_resnet110_cifar", {"blocks": (1, 1, 1)}),
        ("se_shake_shake26_2x96d_cifar", {"blocks": (1, 1, 1)}),
        ("se_vgg16_bn", {"widths": (8, 8, 8, 8, 8), "hidden": 8, "image_size": 64}),
        ("se_mobilenet", {}),
        ("se_shufflenet", {}),
        ("se_bn_inception", {}),
    ],
)
def test_a_network_forgets_all_that_it_kept(name, settings):
    """By the memory that is given back, whoever held it."""
    model = create_model(name, num_classes=2, engine="numpy", **settings)
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype("float32")

    def step():
        model.seed_draws(1)
        model.backward(np.ones_like(model.forward(x)))
        model.forward(x)  # and caches once more: a backward may give them up

    step()  # what is made once
    model.forget()
    gc.collect()
    tracemalloc.start()
    step()
    held = tracemalloc.get_traced_memory()[0]
    model.forget()
    gc.collect()
    left = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert left < 0.02 * held
