"""Weights in and out: round trips, layouts, what is refused, memory."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from senumpy import InputError, create_model
from senumpy.interop import Preprocessing, import_weights, load_model, save_foreign, save_weights
from senumpy.layers import SEConfig
from senumpy.storage import TensorFile, load_tensors, save_tensors

NETWORKS = [
    ("se_resnet18", {"se": SEConfig(reduction=4, bias=False, gate="tanh", placement="pre", stages=(2, 4))}),
    ("resnet50", {"stride_in": "3x3", "pool": "padded"}),
    ("se_shufflenet", {}),
    ("se_vgg16_bn", {"image_size": 64, "hidden": 32}),
    ("mobilenet", {"activation": "relu6"}),
    ("se_preact_resnet110_cifar", {"se": SEConfig(squeeze="none")}),
]


@pytest.mark.parametrize(("name", "settings"), NETWORKS)
def test_a_network_comes_back_as_it_was(name, settings, tmp_path, rng):
    model = create_model(name, num_classes=3, **settings)
    path = tmp_path / "model.safetensors"
    save_weights(path, model)
    back = load_model(path)
    assert (back.name, back.config, back.num_classes) == (model.name, model.config, 3)
    x = rng.normal(size=(2, 3, 64, 64)).astype("float32")
    with model.inference(), back.inference():
        assert np.array_equal(model.forward(x), back.forward(x))


def _foreign(tmp_path, change=None, **settings):
    """Write a ResNet-18 under torchvision's names, without metadata."""
    state = create_model("resnet18", num_classes=4, pool="padded", **settings).state_dict()
    state["bn1.num_batches_tracked"] = np.array(7)
    if change:
        change(state)
    path = tmp_path / "weights.safetensors"
    save_tensors(path, state)
    return path


def test_names_without_metadata_are_torchvision_s(tmp_path):
    loaded = import_weights(_foreign(tmp_path))
    assert loaded.layout == "torchvision/timm"
    assert loaded.model.name == "resnet18"
    assert (loaded.model.config.pool, loaded.model.config.stride_in) == ("padded", "3x3")
    assert loaded.preprocessing[:2] == (256, 224)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("layer1.0.conv2.weight"), "missing: layer1.0.conv2.weight"),
        (lambda s: s.update(extra=np.zeros(3)), "surplus: extra"),
        (
            lambda s: s.update({"bn1.bias": np.zeros(5)}),
            r"wrong shape: bn1.bias \(got \(5,\), wanted \(64,\)",
        ),
        (lambda s: s["layer2.0.bn1.weight"].fill(np.nan), "tensor 'layer2.0.bn1.weight' holds NaN"),
        (lambda s: s["bn1.running_var"].fill(np.inf), "tensor 'bn1.running_var' holds NaN, infinity or"),
        (lambda s: s.pop("layer4.1.conv1.weight"), "a ResNet that is not known here: basic units, "),
    ],
)
def test_what_does_not_fit_is_named(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load_model(_foreign(tmp_path, change))


def _state(**shapes):
    return {name.replace("__", "."): np.zeros(shape, "float32") for name, shape in shapes.items()}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (_state(foo=(1,)), "no known layout of weights: it has foo"),
        ({}, "no known layout of weights: it has nothing"),
        (_state(features__0__weight=(64, 3, 3, 3)), "a VGG without batch norm"),
        (_state(conv_stem__weight=(32, 3, 3, 3), conv_head__weight=(1,)), "but not of MobileNet 1.0"),
    ],
)
def test_unknown_layouts_are_refused(state, message, tmp_path):
    path = tmp_path / "w.safetensors"
    save_tensors(path, state)
    with pytest.raises(InputError, match=message):
        load_model(path)


def test_a_file_cut_short_is_refused_wherever_it_is_cut(tmp_path):
    path = _foreign(tmp_path)
    data = path.read_bytes()
    for size in (0, 4, 8, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match=str(path)):
            load_model(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}}', "'a' stands twice"),
        (b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}', "wanted 4398046511104"),
        (b'{"a":{"dtype":"F8_E5M2","shape":[4],"data_offsets":[0,4]}}', "has dtype 'F8_E5M2'"),
        (b"{", "is not JSON"),
    ],
)
def test_headers_that_lie_are_refused(header, message, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 4)
    with pytest.raises(InputError, match=message):
        load_model(path)
    path.write_bytes((1 << 40).to_bytes(8, "little") + header)
    with pytest.raises(InputError, match="give a header of 1099511627776 bytes"):
        load_model(path)


def test_files_that_are_not_there_or_of_another_kind(tmp_path):
    for name, message in (
        ("none.safetensors", "cannot read"),
        ("model.h5", "unknown kind of weight file '.h5'"),
    ):
        with pytest.raises(InputError, match=message):
            load_model(tmp_path / name)


def test_metadata_that_cannot_be_read_is_one_line(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, create_model("resnet8_cifar"))
    tensors, metadata = load_tensors(path)
    for change in ({"config": "{"}, {"config": json.dumps({"unit": "basic"})}, {"num_classes": "ten"}):
        save_tensors(path, tensors, {**metadata, **change})
        with pytest.raises(InputError, match="metadata of senumpy that can't be read"):
            load_model(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_classes", 1 << 30),
        ("in_channels", 1 << 30),
        ("config", {"widths": [16, 32, 1 << 30]}),
        ("config", {"blocks": [1, 1, 1 << 30]}),
        ("config", {"se": {"reduction": 1 << 40}}),
    ],
)
def test_a_small_file_that_claims_a_huge_network_costs_nothing(field, value, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, create_model("se_resnet8_cifar"))
    tensors, metadata = load_tensors(path)
    if field == "config":
        value = {**json.loads(metadata["config"]), **value}
    save_tensors(path, tensors, {**metadata, field: json.dumps(value)})
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"would have (\w+ = \d+|\d+ blocks), but"):
            load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 1e7
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": "[" * 200_000}, "metadata of senumpy that can't be read"),
        ({"preprocessing": "[" * 200_000}, "metadata of senumpy that can't be read"),
        ({"preprocessing": '{"resize": 32}'}, "metadata of senumpy that can't be read"),
        ({"class_names": '["a"]'}, "got 1 names, wanted 10, one for each class"),
        ({"class_names": '"abcdefghij"'}, "class_names: wanted a list of names"),
        ({"resize": 0, "size": 0}, "resize: got 0, wanted 1 to 8192 pixels"),
        ({"size": -32}, "size: got -32"),
        ({"resize": float("inf")}, "resize: got inf"),
        ({"resize": "32"}, "resize: got '32'"),
        ({"resize": 10, "size": 90}, "size: got 90, wanted at most resize"),
        ({"mean": ["x", 0, 0]}, r"mean: got \['x', 0, 0\], wanted 3 finite numbers"),
        ({"mean": [0, 0]}, r"mean: got \[0, 0\], wanted 3 finite numbers"),
        ({"mean": [0]}, "mean: got"),
        ({"std": [0, 1, 1]}, "wanted 3 positive numbers"),
        ({"std": "111"}, "wanted 3 positive numbers"),
    ],
)
def test_metadata_that_no_image_can_follow(change, message, tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, create_model("resnet8_cifar"))
    tensors, metadata = load_tensors(path)
    if not change.keys() & metadata.keys():
        change = {"preprocessing": json.dumps({**json.loads(metadata["preprocessing"]), **change})}
    save_tensors(path, tensors, {**metadata, **change})
    with pytest.raises(InputError, match=message) as caught:
        load_model(path)
    assert str(path) in str(caught.value)


def test_names_with_dataparallel_s_prefix_are_the_same_without(tmp_path):
    plain = load_model(_foreign(tmp_path)).state_dict()

    def prefixed(state):
        for name in list(state):
            state[f"module.{name}"] = state.pop(name)

    with_prefix = load_model(_foreign(tmp_path, prefixed)).state_dict()
    assert all(np.array_equal(with_prefix[name], array) for name, array in plain.items())


def test_weights_without_a_classifier_say_that_it_is_missing(tmp_path):
    path = _foreign(tmp_path, lambda s: [s.pop("fc.weight"), s.pop("fc.bias")])
    with pytest.raises(InputError, match=r"missing: fc\.weight, the classifier"):
        load_model(path)


def test_bfloat16_is_read_as_the_upper_half_of_float32(tmp_path):
    header = b'{"a":{"dtype":"BF16","shape":[2,2],"data_offsets":[0,8]}}'
    path = tmp_path / "w.safetensors"
    upper = np.array([[1.0, -2.5], [np.inf, 3e38]], np.float32).view(np.uint32) >> 16
    path.write_bytes(len(header).to_bytes(8, "little") + header + upper.astype("<u2").tobytes())
    got = np.asarray(TensorFile(path)["a"])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [[1.0, -2.5], [np.inf, 3e38]], rtol=2**-8)


def test_loading_holds_no_second_copy(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, create_model("resnet50"))
    tracemalloc.start()
    try:
        load_model(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak <= 1.3 * path.stat().st_size


def test_a_vgg_s_biases_go_into_the_running_means(tmp_path, rng):
    model = create_model("vgg16_bn", num_classes=3, image_size=32, hidden=8)
    state = model.state_dict()
    bias = rng.normal(size=64).astype("float32")
    state["features.0.bias"] = bias
    path = tmp_path / "w.safetensors"
    save_tensors(path, state)
    back = load_model(path).state_dict()
    np.testing.assert_allclose(back["features.1.running_mean"], state["features.1.running_mean"] - bias)


def test_what_a_network_expects_of_images_comes_back(tmp_path):
    expected = Preprocessing(40, 32, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))
    path = tmp_path / "w.safetensors"
    save_weights(path, create_model("resnet8_cifar"), preprocessing=expected, class_names=list("abcdefghij"))
    back = import_weights(path)
    assert back.preprocessing == expected
    assert back.class_names == tuple("abcdefghij")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["bn1.running_var"].fill(-1.0), "'bn1.running_var' is a variance, and holds -1.0"),
        (lambda s: s.update({"fc.bias": np.zeros(4, "int64")}), "tensor 'fc.bias' has dtype int64"),
        (lambda s: s.update({"module.conv1.weight": s["conv1.weight"]}), "surplus: module.conv1.weight"),
        (lambda s: s.pop("fc.bias"), "missing: fc.bias"),
        (
            lambda s: s.update({"layer1.0.conv2.weight": np.zeros((64, 0, 3, 3))}),
            "wrong shape: layer1.0.conv2",
        ),
    ],
)
def test_numbers_that_are_no_weights_are_named(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        load_model(_foreign(tmp_path, change))


@pytest.mark.parametrize("first", ["features.0.weight", "conv_stem.weight", "layer0.conv1.weight"])
def test_a_layout_s_first_name_alone_is_no_network(first, tmp_path):
    names = [first, "features.1.running_mean", "blocks.0.0.conv_dw.weight", "last_linear.weight"]
    path = tmp_path / "w.safetensors"
    save_tensors(path, {name: np.zeros((4, 3, 3, 3), "float32") for name in names})
    with pytest.raises(InputError, match=str(path)):
        load_model(path)


def test_two_names_of_the_file_for_one_of_ours_are_refused(tmp_path):
    model = create_model("resnet20_cifar", shortcut="pad")
    state = {n.replace("fc.", "linear."): a for n, a in model.state_dict().items()}
    path = tmp_path / "w.safetensors"
    save_tensors(path, {**state, "fc.weight": state["linear.weight"]})
    with pytest.raises(InputError, match="are the same one, wanted either"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("inception_resnet_v2", {"scales": (0.5, 0.5, 0.5)}),
        ("resnet50", {"stride_in": "3x3", "pool": "padded", "groups": 2}),
        ("vgg16_bn", {"image_size": 32, "hidden": 16}),
        ("mobilenet", {"activation": "relu6", "widths": (32, 64, 128, 256, 512)}),
    ],
)
def test_no_twin_s_names_for_what_it_does_not_compute(name, settings, tmp_path):
    with pytest.raises(InputError, match="have it as published alone"):
        save_foreign(tmp_path / "w.safetensors", create_model(name, num_classes=2, **settings))
