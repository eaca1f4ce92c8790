"""SGD by hand computation, its exemptions from weight decay, and its state."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy import create_model
from senumpy.errors import InputError
from senumpy.layers import Layer, Parameter
from senumpy.training import SGD


class TwoNumbers(Layer):
    """A weight that decays and a bias that doesn't."""

    def __init__(self, weight: float = 1.0, bias: float = 1.0):
        super().__init__()
        self.weight = Parameter(np.array([weight]))
        self.bias = Parameter(np.array([bias]), decay=False)

    def give(self, gradient: float) -> None:
        self.weight.grad = np.array([gradient])
        self.bias.grad = np.array([gradient])


def test_plain_descent():
    layer = TwoNumbers()
    layer.give(0.5)
    SGD(layer, momentum=0.0).step(0.2)
    assert layer.weight.value == pytest.approx([1 - 0.2 * 0.5])


def test_momentum_by_hand():
    layer = TwoNumbers()
    sgd = SGD(layer, momentum=0.9)
    layer.give(1.0)
    sgd.step(0.1)  # v = 1
    layer.give(-2.0)
    sgd.step(0.01)  # v = 0.9 - 2 = -1.1, with the new rate on the whole of it
    assert layer.weight.value == pytest.approx([1 - 0.1 * 1 + 0.01 * 1.1])


def test_nesterov_by_hand():
    layer = TwoNumbers()
    sgd = SGD(layer, momentum=0.5, nesterov=True)
    layer.give(1.0)
    sgd.step(0.1)  # v = 1, direction 1 + 0.5
    layer.give(2.0)
    sgd.step(0.1)  # v = 2.5, direction 2 + 1.25
    assert layer.weight.value == pytest.approx([1 - 0.1 * 1.5 - 0.1 * 3.25])


@pytest.mark.parametrize(("decay_all", "bias"), [(False, 1.0), (True, 1 - 0.1 * 0.3)])
def test_weight_decay_spares_biases_unless_asked(decay_all, bias):
    layer = TwoNumbers()
    layer.give(0.0)
    SGD(layer, weight_decay=0.3, decay_all=decay_all).step(0.1)
    assert layer.weight.value == pytest.approx([1 - 0.1 * 0.3])
    assert layer.bias.value == pytest.approx([bias])


def test_weight_decay_of_a_network_reaches_convolutions_and_linear_weights_only():
    model = create_model("se_resnet8_cifar", in_channels=1)
    before = model.state_dict()
    for _, parameter in model.named_parameters():
        parameter.grad = np.zeros_like(parameter.value)
    SGD(model, weight_decay=0.5).step(0.1)
    changed = {
        name
        for name, p in model.named_parameters()
        if not np.array_equal(p.value, before[name], equal_nan=True)
    }
    # of the rest, batch norm's weights are one-dimensional, and biases are called so
    assert changed == {name for name, p in model.named_parameters() if p.value.ndim > 1}


def test_state_goes_out_and_in():
    first, second = TwoNumbers(), TwoNumbers()
    one, other = SGD(first), SGD(second)
    first.give(1.0)
    one.step(0.1)
    second.load_state_dict(first.state_dict())
    state = one.state_dict()
    other.load_state_dict(state)
    state["weight"] += 7.0  # a copy: changes nothing
    for layer, sgd in ((first, one), (second, other)):
        layer.give(0.5)
        sgd.step(0.1)
    assert first.weight.value == second.weight.value
    assert one.state_dict()["weight"] == pytest.approx([0.9 * 1.0 + 0.5])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"weight": np.zeros(1)}, "velocity of bias: missing"),
        ({"weight": np.zeros(1), "bias": np.zeros(1), "x": np.zeros(1)}, "velocity of x: surplus"),
        (
            {"weight": np.zeros(2), "bias": np.zeros(1)},
            r"velocity of weight: got shape \(2,\), wanted \(1,\)",
        ),
    ],
)
def test_state_that_does_not_fit(state, message):
    with pytest.raises(InputError, match=message):
        SGD(TwoNumbers()).load_state_dict(state)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": float("nan")}, "momentum"),
        ({"weight_decay": -1e-4}, "weight_decay"),
        ({"momentum": 0.0, "nesterov": True}, "nesterov"),
    ],
)
def test_settings_out_of_range(settings, name):
    with pytest.raises(InputError, match=f"^{name}: got"):
        SGD(TwoNumbers(), **settings)
