"""Layers: they pass on what the ops compute, keep gradients, modes, names and state."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy import InputError, engine, ops
from senumpy.layers import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    ConvBNReLU,
    ConvBNReLUSE,
    GlobalAvgPool,
    GlobalMaxPool,
    Layer,
    Linear,
    MaxPool2d,
    PadShortcut,
    ReLU,
    Residual,
    SEConfig,
    Sequential,
    SqueezeExcite,
)


def make(rng):
    return {"engine": "numpy", "rng": rng, "dtype": "float64"}


def build(name, rng):
    """Return a layer and an input for it."""
    m = make(rng)
    images = rng.normal(size=(3, 4, 6, 5))
    layers = {
        "conv": lambda: Conv2d(4, 6, (3, 2), stride=(2, 1), padding=1, groups=2, bias=True, **m),
        "bn": lambda: BatchNorm2d(4, dtype="float64"),
        "relu": ReLU,
        "max": lambda: MaxPool2d(3, stride=2, padding=1),
        "avg": lambda: AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        "gap": GlobalAvgPool,
        "gmp": GlobalMaxPool,
        "se": lambda: SqueezeExcite(4, SEConfig(reduction=2), **m),
        "se without bias": lambda: SqueezeExcite(
            4, SEConfig(reduction=2, bias=False, squeeze="max", gate="tanh"), **m
        ),
        "pad shortcut": lambda: PadShortcut(7, stride=(2, 1)),
        "unit": lambda: ConvBNReLU(Conv2d(4, 5, 3, **m), BatchNorm2d(5, dtype="float64")),
        "residual": lambda: Residual([Conv2d(4, 4, 3, padding=1, **m), Conv2d(4, 4, 3, padding=1, **m)]),
        "residual with SE and projection": lambda: Residual(
            [Conv2d(4, 3, 1, **m), Conv2d(3, 3, 3, stride=2, padding=1, **m), Conv2d(3, 8, 1, **m)],
            se=SqueezeExcite(8, SEConfig(reduction=2), **m),
            shortcut=Sequential(Conv2d(4, 8, 1, stride=2, **m), BatchNorm2d(8, dtype="float64")),
        ),
        "sequence": lambda: Sequential(
            Conv2d(4, 3, 3, **m), BatchNorm2d(3, dtype="float64"), ReLU(), GlobalAvgPool(), Linear(3, 2, **m)
        ),
    }
    layer = layers[name]()
    for parameter_name, parameter in layer.named_parameters():
        if not parameter_name.endswith("fc1.bias"):
            parameter.value += 0.3 * rng.normal(size=parameter.value.shape)
        else:
            parameter.value += 1.0  # keeps hidden units alive
    return layer, images


NAMES = [
    "conv", "bn", "relu", "max", "avg", "gap", "gmp", "se", "se without bias", "pad shortcut", "unit",
    "residual", "residual with SE and projection", "sequence",
]  # fmt: skip


def directional(f, array, direction, step=1e-6):
    """Return the central difference of f() along `direction` in `array`, which is changed and restored."""
    start = array.copy()
    array[...] = start + step * direction
    plus = f()
    array[...] = start - step * direction
    minus = f()
    array[...] = start
    return (plus - minus) / (2 * step)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_backward_is_the_derivative_of_forward(name, training, rng):
    layer, x = build(name, rng)
    layer.forward(x)  # running statistics that are not 0 and 1
    layer.train(training)
    y = layer.forward(x)
    dy = rng.normal(size=y.shape)
    dx = layer.backward(dy)

    def loss():
        return float(np.sum(layer.forward(x) * dy))

    checked = [("x", x, dx)] + [(n, p.value, p.grad) for n, p in layer.named_parameters()]
    for what, array, gradient in checked:
        assert gradient is not None, what
        direction = rng.normal(size=array.shape)
        want = directional(loss, array, direction)
        assert abs(np.sum(gradient * direction) - want) <= 2e-6 * (1 + abs(want)), what


@pytest.mark.parametrize("name", NAMES)
def test_gradients_accumulate_only_when_asked(name, rng):
    layer, x = build(name, rng)
    layer.eval()
    y = layer.forward(x)
    dy = rng.normal(size=y.shape)
    layer.backward(dy)
    once = {n: p.grad.copy() for n, p in layer.named_parameters()}
    layer.backward(dy)
    for n, p in layer.named_parameters():
        np.testing.assert_array_equal(p.grad, once[n], err_msg=n)
    layer.accumulate_gradients()
    layer.backward(dy)
    for n, p in layer.named_parameters():
        np.testing.assert_array_equal(p.grad, once[n] + once[n], err_msg=n)


@pytest.mark.parametrize("name", NAMES)
def test_inference_keeps_nothing_and_restores_modes(name, rng):
    layer, x = build(name, rng)
    y = layer.forward(x)
    before = layer.state_dict()
    with layer.inference():
        layer.forward(x)
        with pytest.raises(RuntimeError, match="call forward"):
            layer.backward(y)
    assert all(inner.training and inner.recording for _, inner in layer.named_layers())
    for n, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[n], err_msg=n)


def test_backward_before_forward_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"ReLU\.backward: .*call forward"):
        ReLU().backward(np.ones((1, 1)))


def test_batch_norm_keeps_the_unbiased_variance(rng):
    layer = BatchNorm2d(3, momentum=0.25, dtype="float64")
    x = rng.normal(2.0, 3.0, size=(4, 3, 2, 5))
    layer.forward(x)
    for c in range(3):
        values = x[:, c].ravel()
        mean = sum(values) / 40
        unbiased = sum((v - mean) ** 2 for v in values) / 39
        assert layer.running_mean.value[c] == pytest.approx(0.75 * 0.0 + 0.25 * mean, rel=1e-12)
        assert layer.running_var.value[c] == pytest.approx(0.75 * 1.0 + 0.25 * unbiased, rel=1e-12)


def test_batch_norm_in_evaluation_uses_and_keeps_running_statistics(rng):
    layer = BatchNorm2d(2, eps=0.5, dtype="float64")
    layer.running_mean.value[:] = [1.0, -2.0]
    layer.running_var.value[:] = [3.5, 0.5]
    layer.eval()
    x = rng.normal(size=(1, 2, 1, 1))
    want = (x.ravel() - [1.0, -2.0]) / np.sqrt([4.0, 1.0])
    np.testing.assert_allclose(layer.forward(x).ravel(), want, rtol=1e-14)
    np.testing.assert_array_equal(layer.running_mean.value, [1.0, -2.0])


def test_units_update_running_statistics_like_single_layers(rng):
    unit, x = build("unit", rng)
    parts = Sequential(unit.conv, BatchNorm2d(5, dtype="float64"), ReLU())
    bn = list(parts)[1]
    bn.weight, bn.bias = unit.bn.weight, unit.bn.bias
    np.testing.assert_allclose(unit.forward(x), parts.forward(x), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(unit.bn.running_mean.value, bn.running_mean.value, rtol=1e-13)
    np.testing.assert_allclose(unit.bn.running_var.value, bn.running_var.value, rtol=1e-13)


def test_names_are_those_of_torchvision_and_timm(rng):
    layer, _ = build("residual with SE and projection", rng)
    names = [n for n in layer.state_dict() if n.endswith(("weight", "running_var"))]
    assert names == [
        "conv1.weight", "bn1.weight", "bn1.running_var", "conv2.weight", "bn2.weight", "bn2.running_var",
        "conv3.weight", "bn3.weight", "bn3.running_var", "se.fc1.weight", "se.fc2.weight",
        "downsample.0.weight", "downsample.1.weight", "downsample.1.running_var",
    ]  # fmt: skip


def test_weight_decay_spares_batch_norm_and_biases(rng):
    layer, _ = build("residual with SE and projection", rng)
    decayed = {n for n, p in layer.named_parameters() if p.decay}
    assert decayed == {
        "conv1.weight", "conv2.weight", "conv3.weight", "se.fc1.weight", "se.fc2.weight",
        "downsample.0.weight",
    }  # fmt: skip


def test_state_passes_from_one_layer_to_another(rng):
    a, x = build("residual with SE and projection", rng)
    b, _ = build("residual with SE and projection", rng)
    a.forward(x)
    b.load_state_dict(a.state_dict())
    with a.inference(), b.inference():
        np.testing.assert_array_equal(a.forward(x), b.forward(x))
    state = a.state_dict()
    state["conv1.weight"][:] = 0.0
    assert not np.any(a.state_dict()["conv1.weight"] == 0.0), "state_dict must return copies"


def test_a_state_that_does_not_fit_is_refused_whole_and_by_name(rng):
    layer, _ = build("se", rng)
    before = layer.state_dict()
    state = {
        **before,
        "fc1.weight": np.zeros((9, 9)),
        "extra": np.zeros(1),
        "num_batches_tracked": np.zeros(()),
    }
    state["fc2.bias"] = state["fc2.bias"] + 1.0
    del state["fc2.weight"]
    with pytest.raises(InputError) as caught:
        layer.load_state_dict(state)
    message = str(caught.value)
    assert "missing: fc2.weight" in message
    assert "surplus: extra" in message
    assert "fc1.weight (got (9, 9), wanted (2, 4))" in message
    for n, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[n])


def test_weights_of_1x1_convolutions_fit_linear_layers(rng):
    layer, x = build("se", rng)
    want = layer.forward(x)
    state = {n: a[:, :, None, None] if a.ndim == 2 else a for n, a in layer.state_dict().items()}
    other, _ = build("se", np.random.default_rng(1))
    other.load_state_dict(state)
    np.testing.assert_array_equal(other.forward(x), want)


def test_he_initialisation_has_the_right_spread():
    conv = Conv2d(32, 64, 3, groups=2, rng=np.random.default_rng(0))
    weight = conv.weight.value
    fan_in = 16 * 9
    # The sample variance of n normal numbers has relative standard deviation sqrt(2/n): five of them.
    assert abs(weight.var() * fan_in / 2 - 1) < 5 * np.sqrt(2 / weight.size)
    assert abs(weight.mean()) < 5 * np.sqrt(2 / fan_in / weight.size)


def test_a_seed_means_the_same_weights_in_both_dtypes():
    a = Conv2d(3, 4, 3, rng=np.random.default_rng(5), dtype="float32").weight.value
    b = Conv2d(3, 4, 3, rng=np.random.default_rng(5), dtype="float64").weight.value
    assert (a.dtype, b.dtype) == (np.float32, np.float64)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reduction": 0}, "reduction: got 0"),
        ({"reduction": 4.0}, "reduction: got 4.0"),
        ({"squeeze": "mean"}, "squeeze: got 'mean', wanted one of avg, max"),
        ({"gate": "softmax"}, "gate: got 'softmax'"),
        ({"stages": (0, 2)}, "stages: got"),
        ({"stages": ()}, "stages: got"),
        ({"stages": 2}, "stages: got"),
        ({"stages": (True, 2)}, "stages: got"),
        ({"reduction": True}, "reduction: got True"),
        ({"bias": "no"}, "bias: got 'no'"),
    ],
)
def test_se_config_refuses(settings, message):
    with pytest.raises(InputError, match=message):
        SEConfig(**settings)


def test_se_hidden_width_never_vanishes():
    assert [SEConfig(reduction=r).hidden(c) for r, c in ((16, 64), (16, 16), (16, 8), (2, 7))] == [4, 1, 1, 3]


def test_squeeze_excite_layer_calls_se(rng):
    layer, u = build("se", rng)
    want, _ = ops.squeeze_excite_forward(u, *layer.weights())
    np.testing.assert_array_equal(layer.forward(u), want)
    assert not np.allclose(want, u)


def test_a_layer_uses_the_engine_it_was_given(rng):
    class Doubling(type(engine("numpy"))):
        @staticmethod
        def relu_forward(x):
            return 2 * x, None

    assert ReLU(Doubling()).forward(np.ones((1, 1)))[0, 0] == 2.0


def test_a_layer_without_mathematics_says_so():
    with pytest.raises(TypeError, match="Layer defines no forward"):
        Layer().forward(np.ones((1, 1)))
    with pytest.raises(TypeError, match="Layer defines no backward"):
        Layer().backward(np.ones((1, 1)))


@pytest.mark.parametrize("engine", ["numpy", "numba"])
def test_a_unit_with_se_does_not_go_back_through_an_older_forward(engine, rng):
    make = {"engine": engine, "dtype": "float64"}
    conv, bn = Conv2d(3, 8, 3, **make), BatchNorm2d(8, **make)
    unit = ConvBNReLUSE(ConvBNReLU(conv, bn), SqueezeExcite(8, SEConfig(reduction=2), **make))
    x, dy = rng.normal(size=(2, 3, 6, 6)), rng.normal(size=(2, 8, 4, 4))
    bn.eval()
    unit.forward(x)
    unit.backward(dy)
    bn.train()
    bn.release_caches()
    unit.forward(x)
    unit.backward(dy)
    with pytest.raises(RuntimeError):
        unit.backward(dy)
