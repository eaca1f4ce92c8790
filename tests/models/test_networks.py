"""The paper's networks: exact sizes, published sizes, gradients of each family and of each variant of SE."""

from __future__ import annotations

import numpy as np
import pytest

from senumpy import InputError, create_model
from senumpy.analysis import complexity
from senumpy.layers import SEConfig
from senumpy.layers.squeeze_excite import PLACEMENTS
from senumpy.models import image_size, model_names

# facts: parameters without and with SE (biases included), counted from the released networks or by pytorchcv
EXACT = [
    ("resnext50_32x4d", 1000, 25_028_904, 27_559_896),
    ("resnext101_32x4d", 1000, 44_177_704, 48_955_416),
    ("bn_inception", 1000, 11_285_224, 11_931_622),
    ("preact_resnet110_cifar", 10, 1_730_522, None),
    ("preact_resnet110_cifar", 100, 1_736_372, None),
    ("preact_resnet164_cifar", 10, 1_703_258, 1_703_258 + 193_536 + 8_568),
    ("preact_resnet164_cifar", 100, 1_726_388, None),
    ("wrn16_8_cifar", 10, 10_961_370, 10_961_370 + 86_016 + 1_904),
    ("wrn16_8_cifar", 100, 11_007_540, None),
    ("vgg16_bn", 1000, 138_361_768, 138_361_768 + 226_304 + 4_488),
    ("mobilenet", 1000, 4_231_976, None),
]


@pytest.mark.parametrize(("name", "classes", "plain", "with_se"), EXACT)
def test_parameters_are_counted_exactly(name, classes, plain, with_se):
    assert complexity(name, num_classes=classes).total("parameters") == plain
    if with_se:
        assert complexity(f"se_{name}", num_classes=classes).total("parameters") == with_se


# facts: multiply-adds of convolutions and linear layers outside SE; SE's linear layers; SE's scales
WORK = [
    ("se_resnet50", 3_857_973_248, 2_514_944, 5_519_360),
    ("se_resnet101", 7_570_194_432, 4_743_168, 8_931_328),
    ("se_resnet152", 11_282_415_616, 6_578_176, 13_146_112),
    ("se_resnext50_32x4d", 4_230_479_872, 2_514_944, 5_519_360),
    ("se_resnext101_32x4d", 7_969_996_800, 4_743_168, 8_931_328),
    ("senet154", 20_681_785_344, 6_578_176, 13_146_112),
    ("se_bn_inception", 2_032_600_064, 639_360, 1_180_704),
]


@pytest.mark.parametrize(("name", "base", "linear", "scale"), WORK)
def test_multiply_adds_are_counted_exactly(name, base, linear, scale):
    cost = complexity(name)
    assert cost.total("multiply_adds", in_se=False) == base
    assert cost.total("multiply_adds", in_se=True) == linear + scale


def test_senet154_is_the_released_one():
    cost = complexity("senet154")
    assert cost.total("parameters") == 115_088_984
    assert cost.total("parameters", in_se=True) == 6_629_040
    model = create_model("senet154", num_classes=2)
    assert model.layer1._public  # built, not only counted
    assert model.dropout.p == 0.2
    assert [model.layer2.__dict__["0"].downsample._conv.weight.value.shape[-1]] == [3]


# The paper's rounded figures (Tables 2, 3, 10, 13, 15, 16): millions of parameters with batch norm's
# statistics and millions of multiply-adds.
PUBLISHED = [
    ("mobilenet", 4.2, 569),
    ("se_mobilenet", 4.7, 572),
    ("shufflenet", 1.8, 140),
    ("se_shufflenet", 2.4, 142),
    ("resnet50", 25.6, 3860),
    ("se_resnet50", 28.1, 3870),
    ("resnet101", None, 7580),
    ("resnet152", None, 11300),
    ("resnext50_32x4d", None, 4240),
    ("resnext101_32x4d", None, 7990),
    ("se_vgg16_bn", None, 15480),
    ("vgg16_bn", None, 15470),
    ("bn_inception", None, 2030),
    ("se_bn_inception", None, 2040),
    ("shake_shake26_2x96d_cifar", 26.2, None),
    ("shake_even29_2x4x64d_cifar", 34.4, None),
]


@pytest.mark.parametrize(("name", "millions", "work"), PUBLISHED)
def test_published_sizes(name, millions, work):
    cost = complexity(name)
    if millions:
        assert abs(cost.total("parameters") / 1e6 - millions) < 0.1
    if work:
        assert abs(cost.total("multiply_adds") / 1e6 - work) < (21 if work > 1000 else 3)


def test_every_network_can_be_built_and_has_its_partner():
    names = model_names()
    assert len(names) == 47
    for name in names:
        if not name.startswith("se"):
            assert f"se_{name}" in names
        large = 299 if "inception_resnet" in name else 224
        assert image_size(name) == (32 if name.endswith("_cifar") else large)


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"placement": "standard"}, 2_514_944),
        ({"placement": "pre"}, 1_991_168),
        ({"placement": "post"}, 2_514_944),
        ({"placement": "identity"}, 2_514_944),
        ({"placement": "3x3"}, 157_184),
        ({"squeeze": "none"}, 2_514_944),
        ({"stages": (2,)}, 24_576),
        ({"stages": (3,)}, 131_072),
        ({"stages": (4,)}, 786_432),
        ({"stages": (2, 3, 4)}, 942_080),
        ({"reduction": 2}, 8 * 2_514_944),
        ({"reduction": 32}, 2_514_944 // 2),
    ],
)
def test_weights_that_variants_of_se_add_to_resnet50(settings, weights):
    plain = create_model("resnet50", num_classes=2).num_parameters()
    se = create_model("se_resnet50", num_classes=2, se=SEConfig(bias=False, **settings))
    assert se.num_parameters() - plain == weights


def test_the_gate_of_every_pixel_costs_what_the_paper_says():
    cost = complexity("se_resnet50", se=SEConfig(squeeze="none"))
    assert abs(cost.total("multiply_adds") / 1e9 - 4.27) < 0.02  # Table 16


def test_timm_rounds_hidden_widths_to_multiples_of_eight():
    config = SEConfig(rounding="timm")
    assert [config.hidden(c) for c in (16, 64, 256, 320, 2048)] == [8, 8, 16, 24, 128]
    assert [SEConfig().hidden(c) for c in (16, 64, 256, 320, 2048)] == [1, 4, 16, 20, 128]


def _check_gradient(model, x, rng, tolerance=1e-10):
    """Hold every parameter's gradient and dx to the complex step along random directions."""
    labels = rng.integers(model.num_classes, size=len(x))
    engine = model.engine

    def loss():
        model.seed_draws(1, 2)
        return engine.softmax_cross_entropy_forward(model.forward(x), labels)

    _, cache = loss()
    dx = model.backward(engine.softmax_cross_entropy_backward(1.0, cache).dlogits)
    parameters = [p for _, p in model.named_parameters()]
    assert all(p.grad is not None and np.all(np.isfinite(p.grad)) for p in parameters)
    for _, holder in [*model.named_parameters(), *model.named_buffers()]:
        holder.value = holder.value.astype(complex)
    real_x, x = x, x.astype(complex)
    for group in range(5):
        chosen = parameters[group::5]
        directions = [rng.normal(size=p.value.shape) * np.abs(p.value).max() for p in chosen]
        want = sum(np.sum(p.grad * d) for p, d in zip(chosen, directions, strict=True))
        size = sum(
            np.linalg.norm(p.grad) * np.linalg.norm(d) for p, d in zip(chosen, directions, strict=True)
        )
        for p, d in zip(chosen, directions, strict=True):
            p.value += 1e-30j * d
        got = loss()[0].imag / 1e-30
        for p in chosen:
            p.value = p.value.real.astype(complex)
        assert abs(got - want) <= tolerance * size, group
    direction = rng.normal(size=x.shape)
    x = real_x + 1e-30j * direction
    size = np.linalg.norm(dx) * np.linalg.norm(direction)
    assert abs(loss()[0].imag / 1e-30 - np.sum(dx * direction)) <= tolerance * size


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("squeeze", ["avg", "max", "none"])
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("se_resnet8_cifar", 9),
        ("se_preact_resnet110_cifar", 8),
        ("se_shufflenet", 64),
        ("se_shake_shake26_2x96d_cifar", 9),
        ("se_shake_even29_2x4x64d_cifar", 9),
    ],
)
def test_gradient_wherever_se_sits(name, size, placement, squeeze, rng):
    se = SEConfig(reduction=4, squeeze=squeeze, placement=placement, gate="tanh", bias=placement != "pre")
    small = {"blocks": (1, 1, 2) if "shuffle" in name else (1, 1, 1)}
    if "shake" in name:
        small |= {"widths": (8, 16, 32), "backward_mode": "forward"}  # then the gradient is the derivative
    model = create_model(name, num_classes=3, in_channels=2, dtype="float64", se=se, **small)
    _check_gradient(model, rng.normal(size=(4, 2, size, size)), rng)


@pytest.mark.parametrize("placement", ["standard", "pre", "3x3", "identity", "post"])
def test_gradient_of_bottlenecks_wherever_se_sits(placement, rng):
    se = SEConfig(placement=placement, rounding="timm")
    model = create_model("se_resnet50", num_classes=3, dtype="float64", se=se, blocks=(2, 1, 1, 1))
    _check_gradient(model, rng.normal(size=(3, 3, 64, 64)), rng)


SMALL = [
    ("senet154", {"blocks": (1, 1, 1, 1)}, 64),
    ("se_resnext50_32x4d", {"blocks": (1, 1, 1, 1)}, 64),
    ("preact_resnet164_cifar", {"blocks": (1, 1, 1)}, 12),
    ("se_wrn16_8_cifar", {"widths": (8, 16, 32)}, 12),
    ("se_shake_shake26_2x96d_cifar", {"blocks": (1, 1, 1), "widths": (8, 16, 32)}, 13),
    ("se_vgg16_bn", {"widths": (4, 4, 8, 8, 8), "hidden": 16, "image_size": 64}, 64),
    ("se_mobilenet", {"blocks": (1, 1, 1, 1, 1), "widths": (8, 8, 16, 16, 16)}, 64),
    ("mobilenet", {"blocks": (1, 1, 1, 1, 1), "widths": (8, 8, 16, 16, 16), "activation": "relu6"}, 64),
    ("se_bn_inception", {}, 64),
    ("se_inception_resnet_v2", {"blocks": (1, 1, 2)}, 139),
]


@pytest.mark.parametrize(("name", "settings", "size"), SMALL)
def test_gradient_of_every_family(name, settings, size, rng):
    if "shake" in name:  # the way back is drawn apart from the forward; where it follows it, it is a gradient
        settings = {**settings, "backward_mode": "forward"}
    model = create_model(name, num_classes=3, in_channels=2, dtype="float64", **settings)
    _check_gradient(model, rng.normal(size=(4, 2, size, size)), rng)


def test_shake_even_and_shake_send_back_other_mixtures(rng):
    small = {"blocks": (1, 1, 1), "widths": (4, 8, 8), "num_classes": 2, "in_channels": 1}
    gradients = {}
    for mode in ("forward", "even", "shake"):
        model = create_model("shake_shake26_2x96d_cifar", dtype="float64", backward_mode=mode, **small)
        model.seed_draws(3)
        logits = model.forward(np.random.default_rng(0).normal(size=(3, 1, 8, 8)))
        model.backward(np.ones_like(logits) * [1.0, -2.0])
        gradients[mode] = (logits, model.layer1.__dict__["0"].branch1.__dict__["1"].weight.grad)
    assert np.array_equal(gradients["shake"][0], gradients["even"][0])
    assert not np.allclose(gradients["shake"][1], gradients["even"][1])
    assert not np.allclose(gradients["forward"][1], gradients["even"][1])
    model.eval()
    x = rng.normal(size=(2, 1, 8, 8))
    assert np.array_equal(model.forward(x), model.forward(x))


def test_units_draw_apart_from_each_other():
    model = create_model("shake_shake26_2x96d_cifar", widths=(4, 8, 8), num_classes=2)
    units = [layer for _, layer in model.named_layers() if layer.draws]
    assert len({float(unit.rng.random()) for unit in units}) == len(units) == 12


def test_bn_inception_says_which_sizes_it_takes():
    model = create_model("bn_inception", num_classes=2)
    with pytest.raises(ValueError, match=r"maps of 29 at module 3a, wanted a multiple of 4"):
        model.forward(np.zeros((1, 3, 240 - 4, 224), "float32"))


def test_draws_are_a_function_of_the_numbers_given(rng):
    model = create_model("vgg16_bn", num_classes=2, widths=(2,) * 5, hidden=40, image_size=32)
    x = rng.normal(size=(8, 3, 32, 32)).astype("float32")
    model.seed_draws(0, 5)
    first = model.forward(x)
    model.seed_draws(0, 6)
    assert not np.array_equal(first, model.forward(x))
    model.seed_draws(0, 5)
    assert np.array_equal(first, model.forward(x))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("mobilenet", {"pool": "ceil"}), "pool: mobilenet has no such setting; it has activation"),
        (("se_vgg16_bn", {"se": SEConfig(placement="pre")}), "placement: got 'pre', but VGG has no residual"),
        (("se_mobilenet", {"se": SEConfig(placement="post")}), "but MobileNet has no residual units"),
        (
            ("se_bn_inception", {"se": SEConfig(stages=(1, 3))}),
            r"stages: got \(1, 3\), wanted some of 3 to 5",
        ),
        (("vgg16_bn", {"image_size": 31}), "image_size: got 31, wanted at least 32"),
        (("mobilenet", {"activation": "swish"}), "activation: got 'swish', wanted one of relu, relu6"),
        (("resnet50", {"se": 16}), "se: resnet50 has no SE blocks"),
        (("se_resnet50", {"se": 16}), "se: got 16, wanted a SEConfig"),
        (("resnet50", {"num_classes": "10"}), "num_classes: got '10', wanted an int of at least 1"),
        (("resnet50", {"num_classes": True}), "num_classes: got True"),
        (("resnet50", {"stem": "x"}), "stem: got 'x', wanted one of imagenet, deep, cifar"),
        (("resnet50", {"blocks": (1, 1)}), "wanted a number for each stage"),
        (("resnet50", {"dropout": 2.0}), "dropout: got 2.0"),
        (("resnet50", {"config": 3}), "config: got int, wanted ResNetConfig"),
        (("se_resnet8_cifar", {"se": SEConfig(stages=(2, 5))}), "wanted some of 2 to 4"),
        (("shufflenet", {"se": SEConfig()}), "se: shufflenet has no SE blocks; wanted se_shufflenet"),
    ],
)
def test_what_a_family_cannot_have_is_refused(call, message):
    name, settings = call
    with pytest.raises(InputError, match=message):
        create_model(name, **settings)
