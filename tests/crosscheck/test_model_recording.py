"""The recording engine gives what the plain one does, and writes down what went through every layer."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy import create_model
from senumpy.crosscheck.model.recording import record
from senumpy.crosscheck.model.replay import Seen, alone, replay
from senumpy.crosscheck.model.trials import all_twists, changed, explain, fits
from senumpy.crosscheck.model.twisted import TwistedEngine
from senumpy.layers import SEConfig

SMALL = {
    "se_resnet20_cifar": (16, {}),
    "se_resnet18": (32, {"widths": (8, 8, 16, 16)}),
    "se_resnet50": (32, {"widths": (8, 8, 8, 16), "blocks": (1, 1, 1, 1)}),
    "se_preact_resnet164_cifar": (16, {"blocks": (1, 1, 1)}),
    "se_shake_even29_2x4x64d_cifar": (16, {"blocks": (1, 1, 1), "widths": (16, 32, 64)}),
    "se_mobilenet": (32, {}),
    "se_shufflenet": (32, {}),
    "se_bn_inception": (64, {}),
    "se_vgg16_bn": (32, {"image_size": 32, "widths": (8, 8, 16, 16, 16), "hidden": 16}),
}
PLACES = ("standard", "pre", "post", "identity", "3x3")


def _gradients(name, size, settings, rng, training=True):
    model = create_model(name, num_classes=4, dtype="float64", **settings)
    for _, parameter in model.named_parameters():
        if parameter.value.ndim == 1:
            parameter.value += 0.2 * rng.normal(size=parameter.value.shape)
    model.train(training)
    return model, rng.normal(size=(3, 3, size, size)), rng.normal(size=(3, 4))


def _same(model, x, dy):
    model.seed_draws(1)
    trace = record(model, x, dy)
    before = {name: buffer.value.copy() for name, buffer in model.named_buffers()}
    model.seed_draws(1)
    y, dx = model.forward(x), model.backward(dy)

    def close(got, want, what):
        assert np.abs(got - want).max() <= 1e-10 * np.abs(want).max() + 1e-13, what

    close(trace.logits, y, "logits")
    close(trace.dx, dx, "dx")
    for name, parameter in model.named_parameters():
        close(trace.gradients[name], parameter.grad, name)
    for name, buffer in model.named_buffers():
        close(trace.buffers[name], buffer.value, name)
        assert not model.training or not np.array_equal(
            before[name], buffer.value
        )  # record left it as it was
    return trace


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_it_computes_what_the_plain_engine_does(name, training, rng):
    size, settings = SMALL[name]
    model, x, dy = _gradients(name, size, settings, rng, training)
    trace = _same(model, x, dy)
    held = {n.rpartition(".")[0] for n, _ in model.named_parameters()}
    assert (
        held
        == {p.name for p in trace.forward if p.name in held}
        == {p.name for p in trace.backward if p.name in held}
    )
    for passage in trace.backward:
        assert passage.dy.shape == passage.y.shape
        assert passage.dx.shape == passage.x.shape


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", ["se_resnet20_cifar", "se_preact_resnet164_cifar"])
def test_wherever_se_sits(name, place, rng):
    settings = {"se": SEConfig(placement=place, reduction=4), "blocks": (1, 1, 1)}
    _same(*_gradients(name, 16, settings, rng))


def test_layers_run_in_order_and_a_block_after_its_layers(rng):
    model, x, dy = _gradients("se_resnet20_cifar", 16, {}, rng)
    trace = record(model, x, dy)
    names = [p.name for p in trace.forward if p.name.startswith("layer2.0")]
    ordered = [f"layer2.0.{part}" for part in ("conv1", "bn1", "conv2", "bn2", "se.fc1", "se.fc2", "se")]
    assert [n for n in names if n in ordered] == ordered
    assert names[-1] == "layer2.0"
    back = [p.name for p in trace.backward if p.name.startswith("layer2.0")]
    assert [n for n in back if n in ordered] == [
        f"layer2.0.{part}" for part in ("se.fc2", "se.fc1", "se", "bn2", "conv2", "bn1", "conv1")
    ]
    assert back[-1] == "layer2.0"


def test_numbers_put_off_by_rounding_move_results_by_rounding(rng):
    model, x, dy = _gradients("se_resnet20_cifar", 16, {}, rng)
    exact, off = record(model, x, dy), record(model, x, dy, u=2.0**-24, seed=3)
    apart = np.abs(exact.logits - off.logits).max() / np.abs(exact.logits).max()
    assert 1e-8 < apart < 1e-3


@pytest.fixture
def block(rng):
    """Return a block, its name, and what it gives on an input of its own."""
    model, x, dy = _gradients("se_resnet20_cifar", 16, {"se": SEConfig(reduction=4)}, rng)
    trace = record(model, x, dy)
    passage = trace.passages()["layer2.0"]
    gradients = {
        n.removeprefix("layer2.0."): g for n, g in trace.gradients.items() if n.startswith("layer2.0.")
    }
    seen = Seen("theirs", passage.x, passage.y, passage.dy, passage.dx, gradients)
    return dict(model.named_layers())["layer2.0"], seen


def test_a_right_block_is_right_alone(block):
    layer, seen = block
    held = alone(layer, seen, seen.x.shape, 2.0**-53, back=True)
    assert held.wrong() == []


def test_every_mistake_of_a_block_is_found_by_its_numbers(block, rng):
    # The candidate is the block with the mistake; a mistake that does nothing there can't be told.
    layer, seen = block
    right = alone(layer, seen, seen.x.shape, 2.0**-53, back=True)
    tried = 0
    for twist in all_twists(right, "layer2.0"):
        try:
            with changed(layer, (twist,)):
                found = replay(layer, seen.x, seen.dy, TwistedEngine(twist.flags))
        except (ValueError, TypeError, IndexError):
            continue  # no such block can be built
        theirs = Seen(
            "theirs", seen.x, found.pop("y"), seen.dy, found.pop("dx"), {n[1:]: g for n, g in found.items()}
        )
        held = alone(layer, theirs, seen.x.shape, 2.0**-53, back=True)
        if not held.wrong():
            continue
        tried += 1
        assert fits(held, (twist,))
        named = explain(held, "layer2.0")
        assert (twist,) in named or any(pair[0].text == twist.text for pair in named), twist.text
        assert len(named) <= 3, [t.text for pair in named for t in pair]
    assert tried > 25


def test_two_mistakes_at_once_are_found(block):
    layer, seen = block
    found = replay(layer, seen.x, seen.dy, TwistedEngine(["squeeze max", "relu before sum"]))
    theirs = Seen(
        "theirs", seen.x, found.pop("y"), seen.dy, found.pop("dx"), {n[1:]: g for n, g in found.items()}
    )
    held = alone(layer, theirs, seen.x.shape, 2.0**-53, back=True)
    names = [{t.name for t in pair} for pair in explain(held, "layer2.0")]
    assert {"squeeze max", "relu before sum"} in names


def test_numbers_of_no_known_mistake_get_no_name(block, rng):
    layer, seen = block
    seen.y = seen.y + 0.01 * rng.normal(size=seen.y.shape)
    held = alone(layer, seen, seen.x.shape, 2.0**-53, back=True)
    assert held.wrong() == ["y"]
    assert explain(held, "layer2.0") == []
