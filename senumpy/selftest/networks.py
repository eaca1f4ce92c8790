"""Whole networks: gradients, folded inference, state that passes between engines, training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from senumpy.engines import Engine
from senumpy.models import create_model
from senumpy.models.network import Network
from senumpy.ops.arrays import Array
from senumpy.selftest.agreement import EPS32, TF32
from senumpy.selftest.calls import to_host
from senumpy.selftest.outcome import Check, Outcome, holds, largest, within


class _Net(NamedTuple):
    """A network at a size at which batch norm has more than two values a channel."""

    name: str
    size: int
    settings: dict[str, Any]
    batch: int = 2


NETWORKS = (
    _Net("se_resnet8_cifar", 12, {}),  # the one that is trained, and all there is with --quick
    _Net("se_resnet20_cifar", 12, {}),
    _Net("se_resnext50_32x4d", 40, {"blocks": (1, 1, 1, 1)}),
    _Net("se_mobilenet", 40, {}),
    _Net("se_shufflenet", 40, {}),
    _Net("se_bn_inception", 64, {}),
)
TRAINED = NETWORKS[:1]
STEPS, RATE = 3, 0.05
CLASSES = 7


def network_checks(engine: Engine, oracle: Engine, seed: int, *, quick: bool) -> Iterator[Check]:
    """Yield checks of networks; with `quick` of the smallest alone."""
    for net in NETWORKS[:1] if quick else NETWORKS:
        parts: dict[str, Callable[..., Iterator[Outcome]]] = {
            "a training step in float64": _step,
            "inference in float64": _inference,
            "state between engines": _state,
        }
        if net in TRAINED:
            parts["three steps of SGD in float32"] = _training
        for case, part in parts.items():
            rng = np.random.default_rng([seed, 19])
            yield Check(net.name, case, seed, partial(part, engine, oracle, net, rng))


def _pair(engine: Engine, oracle: Engine, net: _Net, dtype: str) -> tuple[Network, Network]:
    """Return the network on both engines with equal weights: of one seed."""
    ours, theirs = (
        create_model(net.name, num_classes=CLASSES, engine=e, seed=1, dtype=dtype, **net.settings)
        for e in (engine, oracle)
    )
    return ours, theirs


def _images(net: _Net, rng: np.random.Generator) -> tuple[Array, Array]:
    x = rng.normal(size=(net.batch, 3, net.size, net.size)).astype(np.float32)
    return x, np.arange(net.batch) % CLASSES


def _backward(model: Network, x: Array, labels: Array, dtype: str) -> dict[str, Array]:
    """Run a training step without the update; return loss, logits, gradients and buffers by name."""
    engine = model.engine
    model.seed_draws(1, 2)
    logits = model.forward(engine.asarray(x.astype(dtype)))
    loss, cache = engine.softmax_cross_entropy_forward(logits, engine.asarray(labels))
    found: dict[str, Any] = {"loss": loss, "logits": logits}
    dlogits = engine.softmax_cross_entropy_backward(1.0, cache).dlogits
    found["dx"] = model.backward(dlogits)
    found |= {f"d {name}": parameter.grad for name, parameter in model.named_parameters()}
    found |= {name: buffer.value for name, buffer in model.named_buffers()}
    return {name: to_host(engine, value) for name, value in found.items()}


def _step(engine: Engine, oracle: Engine, net: _Net, rng: np.random.Generator) -> Iterator[Outcome]:
    """Hold loss, gradients and running statistics to 1e-9 of the largest number."""
    x, labels = _images(net, rng)
    ours, theirs = _pair(engine, oracle, net, "float64")
    got, want = (_backward(model, x, labels, "float64") for model in (ours, theirs))
    # What is zero but for rounding is not held to itself: a gradient to the largest of all, a mean to 1.
    everything = max(largest(value) for name, value in want.items() if name.startswith("d"))
    for name, value in want.items():
        scale = largest(value) + (1e-4 * everything if name.startswith("d") else 1.0)
        yield within(name, got[name], value, 1e-9 * scale)


def _inference(engine: Engine, oracle: Engine, net: _Net, rng: np.random.Generator) -> Iterator[Outcome]:
    """Hold `inference()` to the oracle's, twice, with running statistics and batch norm of no default."""
    x, _ = _images(net, rng)
    ours, theirs = _pair(engine, oracle, net, "float64")
    _randomise(theirs, rng)
    ours.load_state_dict(theirs.state_dict())
    found = [_infer(model, x) for model in (ours, theirs)]
    yield within("logits", found[0], found[1], 1e-9 * largest(found[1]))
    again = _infer(ours, x)
    yield holds("again", np.array_equal(again, found[0]), "a second inference gives other logits")


def _state(engine: Engine, oracle: Engine, net: _Net, rng: np.random.Generator) -> Iterator[Outcome]:
    """Yield whether a state comes back as it was, through either engine."""
    ours, theirs = _pair(engine, oracle, net, "float32")
    _randomise(theirs, rng)
    state = theirs.state_dict()
    ours.load_state_dict(state)
    through = ours.state_dict()
    other = [name for name in state if not np.array_equal(state[name], through[name])]
    yield holds("there and back", not other, f"changed: {', '.join(other)}")
    wrong = [name for name, value in through.items() if type(value) is not np.ndarray]
    yield holds("NumPy arrays", not wrong, f"no NumPy arrays: {', '.join(wrong)}")
    theirs.load_state_dict(through)
    yield holds("names and order", list(through) == list(state), "other names, or in another order")


def _randomise(model: Network, rng: np.random.Generator) -> None:
    """Move batch norm and biases of a NumPy network off their initial values."""
    for name, parameter in model.named_parameters():
        if "bn" in name or "bias" in name:
            parameter.value += 0.2 * _normal(rng, parameter.value)
    for _, buffer in model.named_buffers():
        buffer.value += 0.3 * np.abs(_normal(rng, buffer.value))


def _normal(rng: np.random.Generator, like: Array) -> Array:
    draws: Array = np.asarray(rng.normal(size=like.shape), like.dtype)
    return draws


def _infer(model: Network, x: Array) -> Array:
    engine = model.engine
    with model.inference():
        return to_host(engine, model.forward(engine.asarray(x.astype(model.dtype))))


# What rounding may do to the losses is what it does to those of weights that are off by as much.
def _training(engine: Engine, oracle: Engine, net: _Net, rng: np.random.Generator) -> Iterator[Outcome]:
    """Hold the losses of three steps to those of float64, to what rounding of the weights does to them."""
    net = net._replace(batch=8)
    x, labels = _images(net, rng)
    delta = 128 * EPS32 + (TF32 if getattr(engine, "precision", "") == "tf32" else 0.0)
    ours, exact = _pair(engine, oracle, net, "float32")[0], _pair(oracle, oracle, net, "float64")[0]
    state = exact.state_dict()
    want = _losses(exact, x, labels, "float64")
    others = []
    for _ in range(3):
        moved = {k: _off(a, delta, rng) for k, a in state.items()}
        exact.load_state_dict(moved)
        others.append(_losses(exact, x, labels, "float64"))
    got = _losses(ours, x, labels, "float32")
    for step in range(STEPS):
        spread = max(abs(other[step] - want[step]) for other in others)
        limit = 3 * spread + delta * (1 + abs(want[step]))
        yield within(f"loss {step + 1}", np.array(got[step]), np.array(want[step]), limit)
    yield holds("learns", got[-1] < got[0], f"losses {got}: wanted falling ones")


def _off(array: Array, delta: float, rng: np.random.Generator) -> Array:
    """Return the array with every number off by a relative `delta`."""
    signs: Array = rng.choice([-1.0, 1.0], array.shape)
    return array * (1.0 + delta * signs)


def _losses(model: Network, x: Array, labels: Array, dtype: str) -> list[float]:
    """Return the losses of steps of SGD with momentum, each before its update."""
    engine = model.engine
    parameters = dict(model.named_parameters())
    velocities = {n: engine.zeros(p.value.shape, p.value.dtype) for n, p in parameters.items()}
    losses = []
    for _ in range(STEPS):
        losses.append(float(_backward(model, x, labels, dtype)["loss"]))
        for name, parameter in parameters.items():
            assert parameter.grad is not None
            engine.sgd_update(
                parameter.value, parameter.grad, velocities[name], lr=RATE, momentum=0.9, weight_decay=1e-4
            )
    return losses
