"""BN-Inception and Inception-ResNet-v2 in PyTorch; see `torch_networks.py`."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from senumpy.bench.torch_blocks import Unit, se_or_not


class Module(nn.Module):
    """A module of BN-Inception."""

    def __init__(
        self, se: bool, i: int, one: int, three: Any, double: Any, pool: str, projection: int, stride: int = 1
    ):
        super().__init__()
        b: dict[str, nn.Module] = {"conv1x1": Unit(i, one, 1)} if one else {}
        b["conv3x3"] = nn.Sequential(
            Unit(i, three[0], 1), Unit(three[0], three[1], 3, padding=1, stride=stride)
        )
        b["double3x3"] = nn.Sequential(
            Unit(i, double[0], 1),
            Unit(double[0], double[1], 3, padding=1),
            Unit(double[1], double[2], 3, padding=1, stride=stride),
        )
        if stride == 2:
            b["pool"] = nn.MaxPool2d(3, 2, ceil_mode=True)
        else:
            kind = nn.AvgPool2d if pool == "avg" else nn.MaxPool2d
            b["pool"] = nn.Sequential(kind(3, 1, padding=1), Unit(i, projection, 1))
        self.branches = nn.ModuleDict(b)
        self.out = one + three[1] + double[2] + (projection or i)
        self.se = se_or_not(self.out, se)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        return self.se(torch.cat([branch(x) for branch in self.branches.values()], 1))


class BNInception(nn.Module):
    """BN-Inception."""

    def __init__(self, classes: int, se: bool):
        super().__init__()
        self.conv1, self.conv2_reduce = Unit(3, 64, 7, stride=2, padding=3), Unit(64, 64, 1)
        self.conv2 = Unit(64, 192, 3, padding=1)
        channels = 192
        modules: tuple[Any, ...] = (
            ("3a", 64, (64, 64), (64, 96, 96), "avg", 32),
            ("3b", 64, (64, 96), (64, 96, 96), "avg", 64),
            ("3c", 0, (128, 160), (64, 96, 96), "max", 0, 2),
            ("4a", 224, (64, 96), (96, 128, 128), "avg", 128),
            ("4b", 192, (96, 128), (96, 128, 128), "avg", 128),
            ("4c", 160, (128, 160), (128, 160, 160), "avg", 128),
            ("4d", 96, (128, 192), (160, 192, 192), "avg", 128),
            ("4e", 0, (128, 192), (192, 256, 256), "max", 0, 2),
            ("5a", 352, (192, 320), (160, 224, 224), "avg", 128),
            ("5b", 352, (192, 320), (192, 224, 224), "max", 128),
        )
        for name, *sizes in modules:
            module = Module(se, channels, *sizes)
            setattr(self, f"inception_{name}", module)
            channels = module.out
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        x = F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.conv2(self.conv2_reduce(x)), 3, 2, ceil_mode=True)
        for name in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
            x = getattr(self, f"inception_{name}")(x)
        return self.fc(x.mean((2, 3)))


class Chain(nn.Sequential):
    """Convolutions with batch norm and ReLU, given as (channels, kernel); the last has the stride."""

    def __init__(self, i: int, *steps: Any, stride: int = 1, pads: bool = True):
        units = []
        for k, (o, kernel) in enumerate(steps, start=1):
            last = k == len(steps) and stride > 1
            sizes = kernel if isinstance(kernel, tuple) else (kernel, kernel)
            padding = (0, 0) if last or not pads else tuple(size // 2 for size in sizes)
            units.append(Unit(i, o, kernel, stride=stride if last else 1, padding=padding))
            i = o
        super().__init__(*units)


class InceptionUnit(nn.Module):
    """A residual unit of Inception-ResNet."""

    def __init__(self, channels: int, chains: Any, scale: float, relu: bool, se: bool):
        super().__init__()
        self.branches = nn.ModuleList(Chain(channels, *steps) for steps in chains)
        self.conv2d = nn.Conv2d(sum(steps[-1][0] for steps in chains), channels, 1)
        self.se, self.scale, self.relu = se_or_not(channels, se), scale, relu

    def forward(self, x: Any) -> Any:
        """Return the result."""
        y = x + self.scale * self.se(self.conv2d(torch.cat([b(x) for b in self.branches], 1)))
        return F.relu(y) if self.relu else y


class Parallel(nn.Module):
    """Branches side by side."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        return torch.cat([branch(x) for branch in self.branches], 1)


class InceptionResNet(nn.Module):
    """Inception-ResNet-v2."""

    def __init__(self, classes: int, se: bool):
        super().__init__()
        kinds: tuple[Any, ...] = (
            (320, (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))),
            (1088, (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))),
            (2080, (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))),
        )

        def units(kind: int, count: int, scale: float, relu: bool = True) -> list[nn.Module]:
            channels, chains = kinds[kind]
            return [InceptionUnit(channels, chains, scale, relu, se) for _ in range(count)]

        self.features = nn.Sequential(
            Chain(3, (32, 3), stride=2), Chain(32, (32, 3), pads=False), Chain(32, (64, 3)),
            nn.MaxPool2d(3, 2),
            Chain(64, (80, 1)), Chain(80, (192, 3), pads=False), nn.MaxPool2d(3, 2),
            Parallel(
                Chain(192, (96, 1)), Chain(192, (48, 1), (64, 5)), Chain(192, (64, 1), (96, 3), (96, 3)),
                nn.Sequential(nn.AvgPool2d(3, 1, 1, count_include_pad=False), Chain(192, (64, 1))),
            ),
            *units(0, 10, 0.17),
            Parallel(
                Chain(320, (384, 3), stride=2), Chain(320, (256, 1), (256, 3), (384, 3), stride=2),
                nn.MaxPool2d(3, 2),
            ),
            *units(1, 20, 0.10),
            Parallel(
                Chain(1088, (256, 1), (384, 3), stride=2), Chain(1088, (256, 1), (288, 3), stride=2),
                Chain(1088, (256, 1), (288, 3), (320, 3), stride=2), nn.MaxPool2d(3, 2),
            ),
            *units(2, 9, 0.20), *units(2, 1, 1.0, relu=False), Chain(2080, (1536, 1)),
        )  # fmt: skip
        self.classif = nn.Linear(1536, classes)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        return self.classif(self.features(x).mean((2, 3)))
