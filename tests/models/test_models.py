"""Models: exact sizes, gradients of a whole network, names, variants, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import senumpy
from senumpy import InputError, create_model
from senumpy.layers import SEConfig


@pytest.mark.parametrize(
    ("name", "parameters", "in_se"),
    [
        # facts: the released prototxts, counted; SE with biases
        ("resnet50", 25_557_032, 0),
        ("se_resnet50", 28_088_024, 2_530_992),
        ("resnet101", 44_549_160, 0),
        ("se_resnet101", 49_326_872, 4_777_712),
        ("se_resnet152", 66_821_848, 6_629_040),
        ("resnet110_cifar", 1_730_714, 0),
        ("se_resnet110_cifar", 1_744_952, 14_238),
        # torchvision's counts
        ("resnet18", 11_689_512, 0),
        ("resnet34", 21_797_672, 0),
    ],
)
def test_parameters_are_counted_exactly(name, parameters, in_se):
    model = create_model(name)
    assert model.num_parameters() == parameters
    assert sum(p.value.size for n, p in model.named_parameters() if ".se." in n) == in_se


def test_resnet20_with_parameter_free_shortcuts():
    assert create_model("resnet20_cifar", shortcut="pad").num_parameters() == 269_722


def test_se_without_biases_is_the_formula_of_the_paper():
    plain = create_model("resnet50", num_classes=2).num_parameters()
    se = create_model("se_resnet50", num_classes=2, se=SEConfig(bias=False)).num_parameters()
    # (2/r) sum_s N_s C_s^2 (paper eq. 5)
    blocks = zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True)
    assert se - plain == sum(2 * n * c * c // 16 for n, c in blocks) == 2_514_944


def test_se_in_chosen_stages_only():
    model = create_model("se_resnet50", num_classes=2, se=SEConfig(bias=False, stages=(4,)))
    names = {n for n, _ in model.named_parameters() if ".se." in n}
    assert {n.split(".")[0] for n in names} == {"layer3"}
    assert model.num_parameters() - create_model("resnet50", num_classes=2).num_parameters() == 786_432


SMALL = [
    ("se_resnet8_cifar", {}),
    ("resnet8_cifar", {"shortcut": "pad"}),
    ("se_resnet18", {"pool": "padded", "se": SEConfig(squeeze="max", gate="tanh", reduction=4)}),
    ("se_resnet50", {"stride_in": "1x1", "pool": "ceil"}),
    ("se_resnet50", {"stride_in": "3x3", "pool": "padded"}),
]


@pytest.mark.parametrize(("name", "variant"), SMALL)
def test_gradient_of_a_whole_network(name, variant, rng):
    model = create_model(name, num_classes=3, in_channels=2, dtype="float64", **variant)
    # With few values a channel at the end, batch norm would magnify rounding errors beyond all bounds.
    size = (33, 36) if "50" in name else (11, 9)
    x, labels = rng.normal(size=(4, 2, *size)), np.array([0, 2, 1, 1])
    engine = model.engine

    def loss():
        return engine.softmax_cross_entropy_forward(model.forward(x), labels)

    _, cache = loss()
    dx = model.backward(engine.softmax_cross_entropy_backward(1.0, cache).dlogits)
    assert dx.shape == x.shape
    gradients = {n: p.grad for n, p in model.named_parameters()}
    assert all(g is not None and np.all(np.isfinite(g)) for g in gradients.values())

    # Complex step through the whole network: f(w + ih d) carries the derivative along d in its imaginary
    # part, without a truncation error. Every group of tensors has directions of its own, so that a wrong
    # gradient anywhere shows.
    for _, holder in [*model.named_parameters(), *model.named_buffers()]:
        holder.value = holder.value.astype(complex)
    real_x, x = x, x.astype(complex)
    groups = ("conv1.weight", "bn", "se.fc", "downsample", "")
    for group in groups:
        chosen = [p for n, p in model.named_parameters() if group in n]
        directions = [rng.normal(size=p.value.shape) * np.abs(p.value).max() for p in chosen]
        want = sum(np.sum(p.grad * d) for p, d in zip(chosen, directions, strict=True))
        for p, d in zip(chosen, directions, strict=True):
            p.value += 1e-30j * d
        got = loss()[0].imag / 1e-30
        for p in chosen:
            p.value = p.value.real.astype(complex)
        scale = sum(
            np.linalg.norm(p.grad) * np.linalg.norm(d) for p, d in zip(chosen, directions, strict=True)
        )
        assert abs(got - want) <= 1e-11 * scale, group
    direction = rng.normal(size=x.shape)
    x = real_x + 1e-30j * direction
    assert loss()[0].imag / 1e-30 == pytest.approx(np.sum(dx * direction), rel=1e-9)


@pytest.mark.parametrize(("name", "variant"), SMALL)
def test_evaluation_does_not_depend_on_the_batch(name, variant, rng):
    model = create_model(name, num_classes=4, in_channels=1, dtype="float64", **variant)
    x = rng.normal(size=(5, 1, 16, 16))
    model.forward(x)
    with model.inference():
        whole = model.forward(x)
        parts = np.concatenate([model.forward(x[:2]), model.forward(x[2:])])
    np.testing.assert_allclose(parts, whole, rtol=1e-12, atol=1e-12)


def test_training_depends_on_the_batch(rng):
    # The other side of the test above: with batch statistics the parts must differ.
    model = create_model("se_resnet8_cifar", num_classes=4, dtype="float64")
    x = rng.normal(size=(4, 3, 8, 8))
    assert not np.allclose(model.forward(x)[:2], model.forward(x[:2]))


@pytest.mark.parametrize("name", ["se_resnet8_cifar", "se_resnet18", "se_resnet50"])
@pytest.mark.parametrize("size", [(8, 8), (9, 13), (32, 24)])
def test_any_size_from_8_up(name, size, rng):
    model = create_model(name, num_classes=7, in_channels=1)
    x = rng.normal(size=(2, 1, *size)).astype(np.float32)
    y = model.forward(x)
    assert y.shape == (2, 7)
    assert y.dtype == np.float32
    dx = model.backward(np.ones_like(y))
    assert dx.shape == x.shape
    assert dx.dtype == np.float32
    assert {p.grad.dtype for _, p in model.named_parameters()} == {np.dtype("float32")}


def test_stride_position_and_pool_matter(rng):
    x = rng.normal(size=(2, 3, 33, 33)).astype(np.float32)
    results = []
    for variant in ({}, {"stride_in": "3x3"}, {"pool": "padded"}):
        model = create_model("resnet50", num_classes=5, **variant)
        with model.inference():
            results.append(model.forward(x))
    a, b, c = results
    assert not np.allclose(a, b, rtol=1e-3)
    assert not np.allclose(a, c, rtol=1e-3)


def test_zero_se_weights_halve_the_branch(rng):
    # sigmoid(0) = 0.5: with weights of zero a unit adds half its branch.
    model = create_model("se_resnet8_cifar", dtype="float64")
    unit = next(iter(model.layer1))
    for parameter in (unit.se.fc1.weight, unit.se.fc2.weight, unit.se.fc1.bias, unit.se.fc2.bias):
        parameter.value[...] = 0.0
    x = np.abs(rng.normal(size=(2, 16, 5, 5)))
    with unit.inference():
        with_se = unit.forward(x)
    unit.bn2.weight.value *= 0.5
    unit.bn2.bias.value *= 0.5
    unit.se = None
    with unit.inference():
        np.testing.assert_allclose(unit.forward(x), with_se, rtol=1e-12)


def test_the_same_seed_gives_the_same_network():
    a, b, c = (create_model("se_resnet8_cifar", seed=s).state_dict() for s in (3, 3, 4))
    assert all(np.array_equal(a[n], b[n]) for n in a)
    assert any(not np.array_equal(a[n], c[n]) for n in a)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("se_resnet5",), "unknown model 'se_resnet5': did you mean 'se_resnet50'"),
        (("resnet50", {"se": SEConfig()}), "resnet50 has no SE blocks; wanted se_resnet50"),
        (("resnet18", {"stride_in": "2x2"}), "stride_in: got '2x2', wanted one of 1x1, 3x3"),
        (("resnet18", {"pool": "same"}), "pool: got 'same'"),
        (("resnet18", {"shortcut": "zero"}), "shortcut: got 'zero'"),
        (("resnet18", {"num_classes": 0}), "num_classes: got 0"),
        (("resnet18", {"in_channels": 0}), "in_channels: got 0"),
        (("resnet18", {"dtype": "int32"}), "dtype: got 'int32', wanted float32 or float64"),
        (("resnet18", {"engine": "nunpy"}), "unknown engine 'nunpy': did you mean 'numpy'"),
        (("se_resnet8_cifar", {"se": SEConfig(stages=(5,))}), r"stages: got \(5,\), wanted some of 2 to 4"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    name, *settings = arguments
    with pytest.raises(InputError, match=message):
        create_model(name, **(settings[0] if settings else {}))


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (3, 32, 32), (2, 3, 7, 32)])
def test_wrong_images_are_named(shape):
    model = create_model("resnet8_cifar")
    with pytest.raises(ValueError, match=r"x: got shape .*, wanted \(N, 3, H, W\)"):
        model.forward(np.zeros(shape, np.float32))


def test_public_names():
    assert senumpy.create_model is create_model
    with pytest.raises(AttributeError, match="no attribute 'optimizer'"):
        _ = senumpy.optimizer
