"""Networks beside the reference: right ones are right in every layer, planted mistakes found and named."""

from __future__ import annotations

import json
import types

import pytest
import timm
import torch
from torch import nn

from senumpy import InputError
from senumpy.bench import torch_networks as networks
from senumpy.bench.torch_peer import TorchResNet
from senumpy.crosscheck.model import check_model
from senumpy.layers import SEConfig
from senumpy.models import model_config
from tests.oracles import planted


def _cifar(se=True):
    name = "se_resnet20_cifar" if se else "resnet20_cifar"
    return TorchResNet(model_config(name), 3, 10)


class SequentialSE(nn.Module):
    """SE as moskomule writes it: one sequence, without biases."""

    def __init__(self, channels):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        hidden = channels // 16
        self.fc = nn.Sequential(
            nn.Linear(channels, hidden, bias=False), nn.ReLU(inplace=True),
            nn.Linear(hidden, channels, bias=False), nn.Sigmoid(),
        )  # fmt: skip

    def forward(self, x):
        return x * self.fc(self.pool(x).flatten(1))[:, :, None, None]


def _moskomule():
    net = _cifar(se=False)
    for unit in net.modules():
        if hasattr(unit, "conv2"):
            unit.se = SequentialSE(unit.conv2.out_channels)
    net.dropout.p = 0.5  # nothing random is compared
    return net


RIGHT = {
    "timm seresnet18": (lambda: timm.create_model("seresnet18", num_classes=7), "se_resnet18", {}),
    "timm mobilenetv1": (
        lambda: timm.create_model("mobilenetv1_100", num_classes=7), "mobilenet",
        {"input_size": 32, "batch_size": 4},
    ),
    "cifar": (_cifar, "se_resnet20_cifar", {"input_size": 16}),
    "cifar in evaluation": (_cifar, "se_resnet20_cifar", {"input_size": 16, "training": False}),
    "cifar in float32": (_cifar, "se_resnet20_cifar", {"input_size": 32, "dtype": "float32"}),
    "moskomule's names, and dropout": (_moskomule, "se_resnet20_cifar", {"input_size": 16}),
    "without SE": (lambda: _cifar(False), "resnet20_cifar", {"input_size": 16}),
    "narrow bottlenecks": (
        planted.network, "se_resnet50", {"input_size": 16, "settings": planted.SETTINGS["se_resnet50"]},
    ),
    "mobilenet": (lambda: networks.MobileNet(5, True), "se_mobilenet", {"batch_size": 4}),
    "shufflenet": (lambda: networks.ShuffleNet(5, True), "se_shufflenet", {}),
    "pre-activation": (
        lambda: networks.PreActNet(5, 2, (16, 32, 64), bottleneck=True, se=True), "se_preact_resnet164_cifar",
        {"input_size": 16, "settings": {"blocks": (2, 2, 2)}},
    ),
    "inception": (lambda: networks.BNInception(5, True), "se_bn_inception", {}),
    "shake-shake": (
        lambda: networks.ShakeNet(5, 1, (16, 32, 64), basic=True, se=True), "se_shake_shake26_2x96d_cifar",
        {"input_size": 16, "training": False, "settings": {"blocks": (1, 1, 1), "widths": (16, 32, 64)}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_network_is_right_in_every_layer(name):
    make, like, arguments = RIGHT[name]
    report = check_model(make, like, **arguments)
    assert report.passed, report.text()
    assert all(row.right and row.forward is not None for row in report.rows)
    measured = [row for row in report.rows if row.backward is not None]
    assert len(measured) > 0.5 * len(report.rows)
    assert max(len(line) for line in report.text(80).splitlines()) <= 80
    assert json.loads(json.dumps(report.to_dict()))["passed"] is True


def _planted(mistake, block, like):
    net = planted.network(like)
    plant, _, words = planted.PLANTED[mistake]
    plant(planted.block(net, block))
    report = check_model(net, like, input_size=planted.SIZE, settings=planted.SETTINGS[like])
    found = report.finding
    assert found is not None, "not found"
    assert found.layer == block or found.layer.startswith(f"{block}."), found.text
    assert words.format(block=block) in found.text
    assert found.mistakes
    return report


@pytest.mark.parametrize("mistake", [name for name, (_, every, _) in planted.PLANTED.items() if every])
@pytest.mark.parametrize("block", planted.BLOCKS)
def test_a_mistake_in_one_of_sixteen_blocks_is_found_and_named(block, mistake):
    _planted(mistake, block, "se_resnet34")


@pytest.mark.parametrize("mistake", planted.PLANTED)
@pytest.mark.parametrize("block", ["layer2.0", "layer3.4"])
def test_in_bottlenecks_too(block, mistake):
    report = _planted(mistake, block, "se_resnet50")
    text = report.text(80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert json.loads(json.dumps(report.to_dict()))["findings"][0]["layer"] == report.finding.layer
    if report.finding.way == "forward":  # nothing behind the first that parts is compared
        assert not report.rows[-1].forward.right
        assert all(row.forward.right for row in report.rows[:-1])


def test_branches_that_a_fresh_network_multiplies_by_zero_are_seen_all_the_same():
    net = planted.network()
    for unit in net.modules():
        if hasattr(unit, "bn3"):
            nn.init.zeros_(unit.bn3.weight)  # as many initialise them
    planted.se_never_called(planted.block(net, "layer3.2"))
    report = check_model(net, "se_resnet50", input_size=16, settings=planted.SETTINGS["se_resnet50"])
    assert report.finding.mistakes == ("se never called",)
    assert any("made random in a copy" in note for note in report.notes)


def test_an_operation_alone_is_judged_in_units_of_rounding():
    report = _planted("gate path detached", "layer3.2", "se_resnet50")
    assert report.finding.judged in ("squeeze_excite", "SqueezeExcite")
    levels = {j.result: j.level for j in report.finding.judgements}
    assert levels["y"] in ("exact", "accurate")
    assert levels["du"] in ("lossy", "wrong")
    assert levels["dw1"] in ("exact", "accurate")


def test_a_stride_elsewhere_in_one_block_is_named():
    net = planted.network()
    unit = net.layer3[0]
    unit.conv1.stride, unit.conv2.stride = (2, 2), (1, 1)
    found = check_model(net, "se_resnet50", input_size=16, settings=planted.SETTINGS["se_resnet50"]).finding
    assert found.layer.startswith("layer3.0")
    assert "stride" in found.text


def test_where_strides_are_is_taken_from_the_network_unless_it_is_given():
    given = {name: value for name, value in planted.SETTINGS["se_resnet50"].items() if name != "stride_in"}
    net = planted.network()
    report = check_model(net, "se_resnet50", input_size=16, settings=given)
    assert report.passed
    assert report.settings["stride_in"] == "3x3"
    other = check_model(net, "se_resnet50", input_size=16, settings={**given, "stride_in": "1x1"})
    assert other.finding.layer.startswith("layer2.0")
    assert "stride" in other.finding.text


def test_another_max_pool_is_named():
    net = TorchResNet(model_config("se_resnet18"), 3, 5)
    net.pool = nn.AvgPool2d(3, 2, padding=1)
    found = check_model(net, "se_resnet18", batch_size=4).finding
    assert found.layer == "layer1.0.conv1"
    assert "average pool" in found.mistakes
    assert "between" in found.text


def test_the_models_own_numbers_stay():
    net = _cifar()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    check_model(net, "se_resnet20_cifar", input_size=16)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


def test_names_of_nobody_are_matched_by_order_and_shape():
    net = _cifar()

    class Renamed(nn.Module):
        def __init__(self):
            super().__init__()
            for name, child in net.named_children():
                setattr(self, f"part_{name}", child)

        def forward(self, x):
            x = torch.relu(self.part_bn1(self.part_conv1(x)))
            for k in (1, 2, 3):
                x = getattr(self, f"part_layer{k}")(x)
            return self.part_fc(x.mean((2, 3)))

    report = check_model(Renamed(), "se_resnet20_cifar", input_size=16)
    assert report.passed
    assert "order and shape" in report.notes[0]


def _without(net, *names):
    for name in names:
        parent, _, last = name.rpartition(".")
        setattr(net.get_submodule(parent), last, None)
    return net


def _raising():
    raise RuntimeError("no weights here")


class _Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = _cifar()

    def forward(self, x):
        return self.net(x), x


class _Random(_Tuple):
    def forward(self, x):
        return self.net(x + torch.randn_like(x))


def _broken():
    net = _cifar()
    net.layer2[1].conv2.forward = types.MethodType(lambda self, x: x @ x.new_zeros(3, 3), net.layer2[1].conv2)
    return net


@pytest.mark.parametrize(
    ("make", "like", "settings", "words"),
    [
        (_raising, "se_resnet20_cifar", {}, "making it raised RuntimeError: no weights here"),
        (lambda: 3, "se_resnet20_cifar", {}, "calling it gave a int, wanted a torch.nn.Module"),
        (_Tuple, "se_resnet20_cifar", {}, "returns a tuple of 2, wanted one tensor of logits"),
        (_Random, "se_resnet20_cifar", {}, "two runs on the same images differ"),
        (_broken, "se_resnet20_cifar", {}, "inside layer2.1.conv2 it raised RuntimeError"),
        (_cifar, "se_resnet20_cifar", {"num_classes": 7}, r"fc.weight has shape .10, 64., wanted .7, 64."),
        (_cifar, "resnet20_cifar", {}, "left over.*It seems to have SE layers: is se_resnet20_cifar meant"),
        (lambda: _cifar(False), "se_resnet20_cifar", {}, "No SE layers were recognised there: is resnet20"),
        (_cifar, "se_resnet20_cifar", {"se": SEConfig(reduction=2)}, "SE's hidden widths there are"),
        (_cifar, "se_resnet20_cifar", {"se": SEConfig(bias=False)}, "se.fc1.bias.*left over"),
        (_cifar, "se_resnet20_cifar", {"depth": 3}, "has no depth"),
        (_cifar, "se_resnet99", {}, "unknown model"),
        (lambda: networks.ShakeNet(5, 1, (96, 192, 384), basic=True, se=True), "se_shake_shake26_2x96d_cifar",
         {"blocks": (1, 1, 1)}, "two runs|random numbers in training"),
    ],
)  # fmt: skip
def test_what_cant_be_compared_says_why(make, like, settings, words):
    with pytest.raises(InputError, match=words) as caught:
        check_model(make, like, input_size=16, settings=settings)
    assert "\n" not in str(caught.value)


def test_sizes_are_checked():
    with pytest.raises(InputError, match="dtype: got 'float16'"):
        check_model(_cifar, "se_resnet20_cifar", dtype="float16")
    with pytest.raises(InputError, match="batch_size: got 0"):
        check_model(_cifar, "se_resnet20_cifar", batch_size=0)


def test_hidden_widths_of_se_are_taken_from_the_network():
    net = timm.create_model("seresnet18", num_classes=7)
    report = check_model(net, "se_resnet18", input_size=32, batch_size=8)
    assert report.passed
    assert report.settings["se"].rounding == "timm"


def test_gates_that_get_no_gradient_are_named():
    net = _cifar()
    unit = net.layer2[1].se

    def forward(self, u):
        s = torch.sigmoid(self.fc2(torch.relu(self.fc1(u.mean((2, 3))))))
        return u * s.detach()[:, :, None, None]

    unit.forward = types.MethodType(forward, unit)
    found = check_model(net, "se_resnet20_cifar", input_size=16).finding
    assert found.way == "backward"
    assert found.layer.startswith("layer2.1")
    assert "gates are detached" in found.text


def test_progress_is_told():
    told = []
    check_model(_cifar, "se_resnet20_cifar", input_size=16, progress=told.append)
    assert "running the reference" in told


class Backwards(nn.Module):
    """A basic block whose parts are registered last first."""

    def __init__(self, before):
        super().__init__()
        self.second_norm, self.second, self.first_norm, self.first = (
            before.bn2, before.conv2, before.bn1, before.conv1,
        )  # fmt: skip

    def forward(self, x):
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + x)


def test_modules_may_be_registered_in_another_order_than_they_run():
    def make():
        torch.manual_seed(1)
        net = TorchResNet(model_config("resnet8_cifar"), 3, 10)
        net.layer1[0] = Backwards(net.layer1[0])
        return net

    report = check_model(make, "resnet8_cifar", input_size=16)
    assert report.ok, str(report)
