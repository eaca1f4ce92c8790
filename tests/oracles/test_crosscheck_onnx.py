"""ONNX files held beside the reference, tensor by tensor; a change in one node is found at this node."""

from __future__ import annotations

import re
import types

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import helper, numpy_helper

from senumpy import InputError, create_model
from senumpy.crosscheck.model import check_onnx
from senumpy.crosscheck.model.prepare import stir
from senumpy.interop import save_onnx
from tests.oracles import planted

SETTINGS = planted.SETTINGS["se_resnet50"]
SHOWN = {name: value for name, value in SETTINGS.items() if name != "stride_in"}  # the file shows its strides


def _model(name="se_resnet50", **settings):
    model = create_model(name, num_classes=5, **settings)
    rng = np.random.default_rng(0)
    for parameter_name, parameter in model.named_parameters():
        if parameter.value.ndim == 1:
            shape = parameter.value.shape
            is_scale = parameter_name.endswith("weight")
            parameter.value[...] = rng.uniform(0.5, 1.5, shape) if is_scale else 0.2 * rng.normal(size=shape)
    return model


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    model = _model(**SETTINGS)
    path = tmp_path_factory.mktemp("onnx") / "own.onnx"
    save_onnx(path, model, (16, 16))
    return path, model


def _edited(path, folder, change):
    model = onnx.load(str(path))
    change(model.graph)
    onnx.save(model, str(folder / "edited.onnx"))
    return folder / "edited.onnx"


@pytest.mark.parametrize("name", ["se_mobilenet", "se_shufflenet", "se_bn_inception", "resnet18"])
def test_what_we_export_is_right(name, tmp_path):
    save_onnx(tmp_path / "model.onnx", _model(name), (64, 64))
    report = check_onnx(tmp_path / "model.onnx", name)
    assert report.passed, report.text()
    assert len(report.rows) > 40


def test_every_tensor_of_a_narrow_network_is_right(own):
    path, model = own
    report = check_onnx(path, "se_resnet50", input_size=16, settings=SHOWN)
    assert report.passed, report.text()
    assert report.settings["stride_in"] == "3x3"
    assert check_onnx(path, "se_resnet50", input_size=16, settings=SHOWN, weights=model.state_dict()).passed


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("folded", [True, False])
def test_what_pytorch_exports_is_right(folded, tmp_path):
    net = planted.network().eval()
    stir(net, (), 0)
    mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(
        net, (torch.randn(2, 3, 16, 16),), tmp_path / "model.onnx", dynamo=False, do_constant_folding=folded,
        training=mode,
    )  # fmt: skip
    report = check_onnx(tmp_path / "model.onnx", "se_resnet50", settings=SHOWN, input_size=16)
    assert report.passed, report.text()
    assert any("folded" in note for note in report.notes) == folded


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_se_of_1x1_convolutions_is_not_taken_for_folded_batch_norm(tmp_path):
    net = timm.create_model("seresnet18", num_classes=7).eval()
    stir(net, (), 0)
    torch.onnx.export(net, (torch.randn(2, 3, 64, 64),), tmp_path / "model.onnx", dynamo=False)
    report = check_onnx(tmp_path / "model.onnx", "se_resnet18")
    assert report.passed, report.text()
    assert "20 batch norms are folded into convolutions." in report.notes
    assert report.settings["se"].rounding == "timm"


def _shortcut_first(self, x):
    shortcut = self.downsample(x)
    return torch.relu(self.se(planted.branch(self, x)) + shortcut)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_weights_without_names_are_told_apart_by_what_takes_their_input(tmp_path):
    # A bottleneck's last convolution and its shortcut's have one shape; in this graph the latter comes first.
    net = planted.network().eval()
    stir(net, (), 0)
    for name in planted.BLOCKS:
        unit = planted.block(net, name)
        unit.forward = types.MethodType(_shortcut_first, unit)
    x = torch.randn(2, 3, 16, 16)
    torch.onnx.export(net, (x,), tmp_path / "model.onnx", dynamo=False)
    report = check_onnx(tmp_path / "model.onnx", "se_resnet50", settings=SHOWN, input_size=16)
    assert report.passed, report.text()
    assert "order and shape" in report.notes[0]


def _node(graph, weight):
    return next(node for node in graph.node if weight in node.input)


def _attribute(node, name):
    return next(a for a in node.attribute if a.name == name)


def _weight(block):
    def change(graph):
        tensor = next(i for i in graph.initializer if i.name == f"{block}.conv2.weight")
        array = numpy_helper.to_array(tensor).copy()
        array[0] += 0.3
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))

    return change


def _eps(block):
    def change(graph):
        _attribute(_node(graph, f"{block}.bn2.weight"), "epsilon").f = 1e-3

    return change


def _pads(block):
    def change(graph):
        _attribute(_node(graph, f"{block}.conv2.weight"), "pads").ints[:] = [0, 0, 2, 2]

    return change


def _gate(block):
    def change(graph):
        conv = _node(graph, f"{block}.se.fc2.weight")
        gate = next(node for node in graph.node if conv.output[0] in node.input)
        gate.op_type = "HardSigmoid"
        gate.attribute.extend([helper.make_attribute("alpha", 1 / 6), helper.make_attribute("beta", 0.5)])

    return change


def _relu(block):
    def change(graph):
        norm = _node(graph, f"{block}.bn1.weight")
        relu = next(node for node in graph.node if norm.output[0] in node.input)
        relu.op_type = "LeakyRelu"

    return change


@pytest.mark.parametrize("block", ["layer1.0", "layer2.1", "layer3.0", "layer4.2"])
@pytest.mark.parametrize(
    ("change", "layer", "words"),
    [
        (_weight, "{}.conv2", "another than the reference's"),
        (_eps, "{}.bn2", "eps is 0.001"),
        (_pads, "{}.conv2", "SAME"),
        (_gate, "{}", "gate is a hard sigmoid.*HardSigmoid"),
        (_relu, "{}", "No known mistake.*result of the relu in {}.*LeakyRelu"),
    ],
)
def test_a_change_in_one_node_is_found_at_this_node(own, tmp_path, block, change, layer, words):
    path, model = own
    report = check_onnx(
        _edited(path, tmp_path, change(block)), "se_resnet50", input_size=16, settings=SHOWN,
        weights=model.state_dict() if change is _weight else None,
    )  # fmt: skip
    assert report.finding.layer == layer.format(block), report.finding.text
    assert re.search(words.format(block), report.finding.text)


def test_what_cant_be_read_says_why(tmp_path, own):
    with pytest.raises(InputError, match="no such file"):
        check_onnx(tmp_path / "none.onnx", "resnet18")
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(InputError, match="no ONNX file"):
        check_onnx(tmp_path / "text.onnx", "resnet18")
    with pytest.raises(InputError, match="don't fit"):
        check_onnx(own[0], "resnet18", input_size=16)
