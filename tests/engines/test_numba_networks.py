"""Whole networks on the Numba engine: gradients, folded and prepared weights, training."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import senumpy
from senumpy import create_model
from senumpy.engines import engine_names
from senumpy.layers import SEConfig
from senumpy.training import SGD
from tests.engines.steps import batch, train_step

if "numba" not in engine_names():
    pytest.skip("engine 'numba' is not installed", allow_module_level=True)


def test_gradients_of_a_network_in_float64(numba, reference, rng):
    x, labels = batch(rng, dtype=np.float64)
    ours, theirs = (create_model("se_resnet20_cifar", engine=e, dtype="float64") for e in (numba, reference))
    (loss, dx), (want_loss, want_dx) = train_step(ours, x, labels), train_step(theirs, x, labels)
    assert loss == pytest.approx(want_loss, rel=1e-13)
    assert np.abs(dx - want_dx).max() <= 1e-10 * np.abs(want_dx).max()
    wanted = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        expected = wanted[name].grad
        assert np.abs(parameter.grad - expected).max() <= 1e-10 * np.abs(expected).max(), name
    buffers = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        np.testing.assert_allclose(buffer.value, buffers[name].value, rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize(
    ("name", "size", "settings"),
    [
        ("se_resnet50", 75, {}),
        ("resnet18", 75, {}),
        ("se_mobilenet", 75, {}),
        ("se_mobilenet", 64, {"se": SEConfig(stages=(2, 4), squeeze="max", gate="tanh")}),
        ("se_vgg16_bn", 64, {"image_size": 64, "hidden": 32}),
        ("se_bn_inception", 64, {}),
        ("se_shufflenet", 64, {}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inference_folds_batch_norm(numba, reference, rng, name, size, settings, dtype):
    models = [
        create_model(name, num_classes=7, engine=e, dtype=dtype, **settings) for e in (numba, reference)
    ]
    for parameter_name, parameter in models[0].named_parameters():
        if "bn" in parameter_name or "bias" in parameter_name:
            parameter.value += (0.2 * rng.normal(size=parameter.value.shape)).astype(dtype)
    for _, buffer in models[0].named_buffers():
        buffer.value += np.abs(0.3 * rng.normal(size=buffer.value.shape)).astype(dtype)
    models[1].load_state_dict(models[0].state_dict())
    x, _ = batch(rng, n=2, size=size, dtype=dtype)
    results = []
    for model in models:
        with model.inference():
            results.append(model.forward(x))
            assert np.array_equal(model.forward(x), results[-1])
    scale = np.abs(results[1]).max()
    assert np.abs(results[0] - results[1]).max() <= (1e-12 if dtype == "float64" else 1e-4) * scale


@pytest.mark.parametrize("channels", [3, 16, 17, 300])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("depthwise", [True, False])
def test_gates_go_into_the_next_convolution(numba, reference, rng, channels, stride, depthwise):
    groups = channels if depthwise else 1
    x, gates = rng.normal(size=(3, channels, 9, 7)), rng.normal(size=(3, channels))
    w = rng.normal(size=(channels, channels // groups, 3, 3))
    norm = [rng.normal(size=channels) for _ in range(3)] + [rng.uniform(0.5, 2, channels)]
    settings = {"stride": stride, "padding": 1, "groups": groups, "eps": 0.1}
    before = x.copy()
    got = numba.gated_conv_bn_relu_inference(x, gates, w, *norm, **settings)
    want = reference.gated_conv_bn_relu_inference(x, gates, w, *norm, **settings)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())
    assert np.array_equal(x, before)


def test_weights_are_prepared_anew_after_they_changed(numba, rng):
    model, other = (create_model("se_resnet8_cifar", engine=numba, seed=s) for s in (1, 2))
    x, labels = batch(rng)
    with model.inference():
        before = model.forward(x)
        with pytest.raises(ValueError, match="read-only"):
            model.fc.weight.value *= 2.0
        # Another model of the same engine may train meanwhile.
        losses = [train_step(other, x, labels, SGD(other))[0] for _ in range(5)]
    assert losses[-1] < losses[0]
    model.conv1.weight.value *= -1.0
    with model.inference():
        after = model.forward(x)
    assert not np.allclose(before, after, rtol=1e-2)
    copy = create_model("se_resnet8_cifar", engine="numpy")
    copy.load_state_dict(model.state_dict())
    with copy.inference():
        np.testing.assert_allclose(after, copy.forward(x), rtol=1e-3, atol=1e-4)


def test_inferences_overlap(rng):
    """Two threads serve: what ends first leaves the other in peace, what ends last leaves nothing behind."""
    engine = senumpy.engine("numba")
    model, twin = (create_model("se_resnet8_cifar", engine=engine, seed=s) for s in (1, 2))
    x, _ = batch(rng)
    first, second, third = model.inference(), model.inference(), twin.inference()
    first.__enter__()
    second.__enter__()
    third.__enter__()
    before = model.forward(x)
    twins = twin.forward(x)
    first.__exit__(None, None, None)
    assert not model.training
    assert not model.conv1.weight.value.flags.writeable
    np.testing.assert_array_equal(model.forward(x), before)
    second.__exit__(None, None, None)
    assert model.training
    assert model.recording
    model.conv1.weight.value *= -1.0
    with model.inference():
        assert not np.allclose(model.forward(x), before, rtol=1e-2)
    np.testing.assert_array_equal(twin.forward(x), twins)
    third.__exit__(None, None, None)
    assert engine.runtime.frozen is None


def test_the_same_kernels_serve_with_other_groups(reference, rng):
    engine = senumpy.engine("numba")
    w = rng.normal(size=(6, 3, 3, 3))
    w.flags.writeable = False
    with engine.frozen_weights():
        for groups in (1, 2):
            x = rng.normal(size=(2, 3 * groups, 8, 8))
            y, _ = engine.conv2d_forward(x, w, groups=groups)
            want, _ = reference.conv2d_forward(x, w, groups=groups)
            np.testing.assert_allclose(y, want, rtol=0, atol=1e-12)


def test_the_loss_follows_that_of_the_numpy_engine(numba, reference, rng):
    images = rng.normal(size=(20, 16, 1, 16, 16)).astype(np.float32)
    labels = rng.integers(10, size=(20, 16))
    curves = []
    for made in (numba, reference):
        model = create_model("se_resnet8_cifar", in_channels=1, engine=made)
        sgd = SGD(model, momentum=0.9, weight_decay=1e-4)
        curves.append([train_step(model, images[k % 20], labels[k % 20], sgd)[0] for k in range(200)])
    ours, theirs = np.array(curves)
    # Rounding grows from step to step, so single losses part; their course doesn't.
    np.testing.assert_allclose(ours[:10], theirs[:10], rtol=1e-3)
    smooth = [np.convolve(curve, np.full(20, 1 / 20), "valid") for curve in (ours, theirs)]
    assert np.abs(smooth[0] - smooth[1]).max() <= 0.1 * theirs[0]
    assert ours[-20:].mean() < 0.5 * ours[:20].mean()


def test_fashion_mnist_is_learnt_as_well(numba, reference, shared_data):
    from senumpy.data import load_data
    from senumpy.training import Trainer, make_schedule
    from senumpy.training.config import TrainConfig
    from senumpy.training.loaders import evaluation_loader, training_loader

    splits = load_data(str(shared_data / "fashion-mnist"))
    train, test = (
        dataclasses.replace(part, images=part.images[:n], labels=part.labels[:n])
        for part, n in ((splits.train, 3000), (splits.test, 1000))
    )
    config = TrainConfig(data="", model="se_resnet8_cifar", epochs=3, batch_size=32, lr=0.1, augment=False)
    accuracies = []
    for made in (numba, reference):
        model = create_model("se_resnet8_cifar", in_channels=1, engine=made)
        loader = training_loader(train, config)
        schedule = make_schedule("cosine", 0.1, steps=3 * len(loader), warm_up_steps=len(loader))
        evaluation = evaluation_loader(test, 100, mean=train.mean, std=train.std, workers=0)
        trainer = Trainer(model, SGD(model, momentum=0.9), schedule, loader, evaluation, epochs=3)
        metrics = []
        trainer.run(after_epoch=metrics.append)
        accuracies.append(metrics[-1].test_accuracy)
    ours, theirs = accuracies
    # 1,000 images: one standard error of the difference of two such accuracies is 0.018
    assert ours >= theirs - 0.04
    assert ours > 0.7
