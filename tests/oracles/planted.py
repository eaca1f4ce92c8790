"""A PyTorch SE-ResNet with sixteen blocks, and mistakes to plant in one of them."""

from __future__ import annotations

import types
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from senumpy.bench.torch_peer import TorchResNet
from senumpy.models import model_config

# Narrow, and for small images: both have sixteen blocks, of three convolutions or of two.
SETTINGS = {
    "se_resnet50": {"widths": (8, 12, 16, 24), "stem": "cifar", "stride_in": "3x3"},
    "se_resnet34": {"widths": (16, 16, 32, 32), "stem": "cifar"},
}
SIZE = 16
BLOCKS = [f"layer{k}.{b}" for k, count in enumerate((3, 4, 6, 3), start=1) for b in range(count)]


def network(name="se_resnet50", classes=5):
    torch.manual_seed(3)
    return TorchResNet(replace(model_config(name), **SETTINGS[name]), 3, classes)


def block(net, name):
    return net.get_submodule(name)


def branch(unit, x, skip=0):
    y = x
    for k in range(1, unit.depth + 1):
        y = getattr(unit, f"bn{k}")(getattr(unit, f"conv{k}")(y))
        if k < unit.depth and k != skip:
            y = torch.relu(y)
    return y


def _forward(unit, function):
    unit.forward = types.MethodType(function, unit)


def se_never_called(unit):
    _forward(unit, lambda self, x: torch.relu(branch(self, x) + self.downsample(x)))


def se_after_sum(unit):
    _forward(unit, lambda self, x: torch.relu(self.se(branch(self, x) + self.downsample(x))))


def relu_before_se(unit):
    _forward(unit, lambda self, x: torch.relu(self.se(torch.relu(branch(self, x))) + self.downsample(x)))


def missing_relu(unit):
    _forward(unit, lambda self, x: torch.relu(self.se(branch(self, x, skip=1)) + self.downsample(x)))


def no_last_relu(unit):
    _forward(unit, lambda self, x: self.se(branch(self, x)) + self.downsample(x))


class RootNorm(nn.BatchNorm2d):
    def forward(self, x):
        mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), correction=0, keepdim=True)
        xhat = (x - mean) / (var.sqrt() + self.eps)
        with torch.no_grad():
            F.batch_norm(x, self.running_mean, self.running_var, training=True, momentum=self.momentum)
        return self.weight[:, None, None] * xhat + self.bias[:, None, None]


def eps_outside_root(unit):
    unit.bn1.__class__ = RootNorm


def momentum_reversed(unit):
    unit.bn1.momentum = 0.9


def gate_path_detached(unit):
    def forward(self, u):
        s = torch.sigmoid(self.fc2(torch.relu(self.fc1(u.detach().mean((2, 3))))))
        return u * s[:, :, None, None]

    _forward(unit.se, forward)


def gate_of_maximum(unit):
    def forward(self, u):
        s = torch.sigmoid(self.fc2(torch.relu(self.fc1(u.amax((2, 3))))))
        return u * s[:, :, None, None]

    _forward(unit.se, forward)


def uneven_padding(unit):
    unit.conv2.forward = types.MethodType(
        lambda self, x: F.conv2d(F.pad(x, (0, 2, 0, 2)), self.weight, None, self.stride, 0), unit.conv2
    )


def shortcut_detached(unit):
    _forward(unit, lambda self, x: torch.relu(self.se(branch(self, x)) + self.downsample(x).detach()))


class Blind(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, dy):
        return dy


def relu_without_mask(unit):
    def forward(self, x):
        y = Blind.apply(self.bn1(self.conv1(x)))
        for k in range(2, self.depth + 1):
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            if k < self.depth:
                y = torch.relu(y)
        return torch.relu(self.se(y) + self.downsample(x))

    _forward(unit, forward)


# The mistake, whether it is in the paths that every block is tried with, and a word that the finding has.
PLANTED = {
    "SE is never called": (se_never_called, True, "SE is never called"),
    "SE after the sum": (se_after_sum, True, "SE acts on the sum"),
    "ReLU before SE": (relu_before_se, False, "ReLU between the last batch norm and SE"),
    "ReLU missing": (missing_relu, True, "The ReLU after {block}.bn1 is missing"),
    "last ReLU missing": (no_last_relu, False, "The ReLU after {block}.bn"),
    "eps outside the root": (eps_outside_root, True, "eps-outside-root"),
    "momentum reversed": (momentum_reversed, True, "weight of the old value"),
    "gate path detached": (gate_path_detached, True, "dropped gate path"),
    "gates of the maximum": (gate_of_maximum, True, "squeezes by the maximum"),
    "uneven padding": (uneven_padding, True, "SAME"),
    "shortcut detached": (shortcut_detached, False, "No gradient goes back through the shortcut"),
    "ReLU without mask": (relu_without_mask, False, "passes the ReLU after {block}.bn1 where it was off"),
}
