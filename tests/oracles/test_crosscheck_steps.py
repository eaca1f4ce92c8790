"""Training beside the reference: every convention of optimisers and running statistics, planted, is named."""

from __future__ import annotations

import json
import re
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from senumpy import InputError
from senumpy.bench.torch_peer import TorchResNet
from senumpy.crosscheck.model import check_steps
from senumpy.models import model_config

SGD = torch.optim.SGD
ARGUMENTS = {"input_size": 16, "batch_size": 4, "steps": 4}


def _net():
    torch.manual_seed(1)
    return TorchResNet(model_config("se_resnet8_cifar"), 3, 5)


def _groups(parameters):
    """Return groups like ours: norms and biases don't decay."""
    parameters = list(parameters)
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 1e-4},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


class Own(torch.optim.Optimizer):
    """An optimiser written by hand; `kind` says what is particular about it."""

    def __init__(self, parameters, kind):
        super().__init__(_groups(parameters), {"lr": 0.1})
        self.kind = kind

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            lr, decay = group["lr"], group["weight_decay"]
            for p in group["params"]:
                v = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                if self.kind == "decoupled":
                    v.mul_(0.9).add_(p.grad)
                    p.sub_(lr * decay * p + lr * v)
                elif self.kind == "lr inside":
                    v.mul_(0.9).add_(lr * (p.grad + decay * p))
                    p.sub_(v)
                else:
                    v.mul_(0.9).add_(0.1 * (p.grad + decay * p))
                    p.sub_(lr * v)


OPTIMISERS = {
    "all decayed": (lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4), "on batch norm and biases"),
    "no decay": (lambda p: SGD(p, lr=0.1, momentum=0.9), "there is no weight decay"),
    "nesterov": (lambda p: SGD(_groups(p), lr=0.1, momentum=0.9, nesterov=True), "Nesterov's momentum is"),
    "dampening": (lambda p: SGD(_groups(p), lr=0.1, momentum=0.9, dampening=0.9), "dampening"),
    "a mean": (lambda p: Own(p, "mean"), r"v = m v \+ \(1 - m\) g"),
    "lr inside": (lambda p: Own(p, "lr inside"), "learning rate is inside the momentum"),
    "decoupled": (lambda p: Own(p, "decoupled"), "decoupled"),
    "momentum": (lambda p: SGD(_groups(p), lr=0.1, momentum=0.5), "momentum is 0.5 instead of 0.9"),
    "learning rate": (lambda p: SGD(_groups(p), lr=0.01, momentum=0.9), "learning rate is 0.1 times"),
    "two at once": (
        lambda p: SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True),
        "Nesterov.*acts on batch norm and biases",
    ),
}  # fmt: skip


@pytest.mark.parametrize("settings", [
    {}, {"nesterov": True}, {"decay_all": True}, {"momentum": 0.0}, {"weight_decay": 0.0},
    {"dtype": "float32"},
])  # fmt: skip
def test_equal_trainings_are_equal(settings):
    report = check_steps(_net, "se_resnet8_cifar", **ARGUMENTS, **settings)
    assert report.passed, report.text()
    assert len(report.rows) == 4
    assert json.loads(json.dumps(report.to_dict()))["passed"] is True


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_convention_of_the_optimiser_is_named(name):
    optimizer, words = OPTIMISERS[name]
    report = check_steps(_net, "se_resnet8_cifar", optimizer=optimizer, **ARGUMENTS)
    assert not report.passed
    assert report.part in ("momentum", "parameters")
    assert re.search(words, report.explanation), report.text()
    assert len(report.mistakes) == (2 if name == "two at once" else 1)
    assert max(len(line) for line in report.text(80).splitlines()) <= 80


class Hidden(Own):
    """The learning rate inside, and a velocity that nobody can read."""

    @torch.no_grad()
    def step(self):
        self.velocities = getattr(self, "velocities", {})
        for group in self.param_groups:
            for p in group["params"]:
                v = self.velocities.setdefault(p, torch.zeros_like(p))
                v.mul_(0.9).add_(group["lr"] * (p.grad + group["weight_decay"] * p))
                p.sub_(v)


def test_where_the_learning_rate_is_shows_when_it_changes():
    report = check_steps(_net, "se_resnet8_cifar", optimizer=lambda p: Hidden(p, "lr inside"), **ARGUMENTS)
    assert (report.step, report.part) == (3, "parameters")
    assert "learning rate is inside the momentum" in report.explanation


def test_the_first_step_that_parts_is_found():
    dampened = check_steps(_net, "se_resnet8_cifar", optimizer=OPTIMISERS["dampening"][0], **ARGUMENTS)
    assert dampened.step == 2  # PyTorch's dampening leaves the first step out


class Biased(nn.BatchNorm2d):
    def forward(self, x):
        with torch.no_grad():
            self.running_mean.mul_(0.9).add_(0.1 * x.mean((0, 2, 3)))
            self.running_var.mul_(0.9).add_(0.1 * x.var((0, 2, 3), correction=0))
        return F.batch_norm(x, None, None, self.weight, self.bias, True)


class Still(nn.BatchNorm2d):
    def forward(self, x):
        return F.batch_norm(x, None, None, self.weight, self.bias, True)


@pytest.mark.parametrize(
    ("change", "mistake"),
    [
        (lambda norm: setattr(norm, "__class__", Biased), "biased-variance"),
        (lambda norm: setattr(norm, "__class__", Still), "not updated"),
        (lambda norm: setattr(norm, "momentum", 0.9), "momentum-reversed"),
        (lambda norm: setattr(norm, "momentum", 1.0), "replaced"),
        (lambda norm: setattr(norm, "momentum", 0.01), "momentum 0.01"),
    ],
)
def test_a_convention_of_running_statistics_is_named(change, mistake):
    net = _net()
    change(net.layer2[0].bn2)
    report = check_steps(net, "se_resnet8_cifar", **ARGUMENTS)
    assert (report.step, report.part) == (1, "buffers")
    assert report.name.startswith("layer2.0.bn2.running_")
    assert report.mistakes == (mistake,)


def test_a_cumulative_average_is_found_at_the_second_step():
    # momentum None: the first batch replaces, the second has half the weight, ...
    net = _net()
    net.bn1.momentum = None
    report = check_steps(net, "se_resnet8_cifar", **ARGUMENTS)
    assert (report.step, report.part) == (1, "buffers")
    assert report.name.startswith("bn1.")


@pytest.mark.parametrize(
    ("loss", "mistake"),
    [
        (lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum"), "loss summed"),
        (lambda logits, labels: F.cross_entropy(logits, labels) / len(labels), "loss averaged twice"),
        (lambda logits, labels: 3 * F.cross_entropy(logits, labels), "loss scaled"),
    ],
)
def test_a_scale_of_the_loss_is_named(loss, mistake):
    report = check_steps(_net, "se_resnet8_cifar", loss=loss, **ARGUMENTS)
    assert (report.step, report.mistakes) == (1, (mistake,))


def test_another_loss_is_not_given_a_name():
    report = check_steps(
        _net, "se_resnet8_cifar", loss=lambda a, b: F.cross_entropy(a, b, label_smoothing=0.1), **ARGUMENTS
    )
    assert report.step == 1
    assert not report.mistakes


def test_a_frozen_layer_is_named():
    net = _net()
    conv = net.layer1[0].conv1
    conv.forward = types.MethodType(lambda self, x: F.conv2d(x, self.weight.detach(), padding=1), conv)
    report = check_steps(lambda: net, "se_resnet8_cifar", **ARGUMENTS)
    assert (report.part, report.name, report.mistakes) == (
        "gradients",
        "layer1.0.conv1.weight",
        ("no gradient",),
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"steps": 0}, "steps: got 0"),
        ({"optimizer": lambda p: 3}, "got a int, wanted a torch.optim.Optimizer"),
        ({"optimizer": lambda p: SGD(p, lr=-1)}, "making it raised ValueError"),
        ({"loss": lambda a, b: a.no_such()}, "step 1 raised AttributeError"),
        ({"momentum": 1.5}, "momentum: got 1.5"),
    ],
)
def test_what_cant_be_trained_says_why(arguments, words):
    with pytest.raises(InputError, match=words):
        check_steps(_net, "se_resnet8_cifar", **{**ARGUMENTS, **arguments})
