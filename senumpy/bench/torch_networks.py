"""The paper's networks beside ResNet in PyTorch, written from the papers, with this project's names.

They are measured beside ours (`senumpy bench --models`), and the tests hold ours against those that neither
timm nor torchvision has. Nothing is shared with `senumpy.models`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from senumpy.bench.torch_blocks import SE, conv, se_or_not
from senumpy.bench.torch_inception import BNInception, InceptionResNet


class SeparableBlock(nn.Module):
    """A block of MobileNet."""

    def __init__(self, i: int, o: int, stride: int, se: bool):
        super().__init__()
        self.conv_dw, self.bn1 = conv(i, i, 3, stride=stride, padding=1, groups=i), nn.BatchNorm2d(i)
        self.conv_pw, self.bn2 = conv(i, o, 1), nn.BatchNorm2d(o)
        self.se = se_or_not(o, se)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        x = F.relu(self.bn1(self.conv_dw(x)))
        return self.se(F.relu(self.bn2(self.conv_pw(x))))


class MobileNet(nn.Module):
    """MobileNet 1.0."""

    def __init__(self, classes: int, se: bool):
        super().__init__()
        self.conv_stem, self.bn1 = conv(3, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32)
        channels, stages = 32, []
        for width, strides in (
            (64, [1]), (128, [2, 1]), (256, [2, 1]), (512, [2, 1, 1, 1, 1, 1]), (1024, [2, 1]),
        ):  # fmt: skip
            blocks = []
            for stride in strides:
                blocks.append(SeparableBlock(channels, width, stride, se))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        x = self.blocks(F.relu(self.bn1(self.conv_stem(x))))
        return self.classifier(x.mean((2, 3)))


class ShuffleUnit(nn.Module):
    """A unit of ShuffleNet."""

    def __init__(self, i: int, o: int, stride: int, first_groups: int, se: bool):
        super().__init__()
        middle, branch = o // 4, o - i if stride == 2 else o
        self.conv1, self.bn1 = conv(i, middle, 1, groups=first_groups), nn.BatchNorm2d(middle)
        self.conv2 = conv(middle, middle, 3, stride=stride, padding=1, groups=middle)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3, self.bn3 = conv(middle, branch, 1, groups=3), nn.BatchNorm2d(branch)
        self.se = se_or_not(branch, se)
        self.stride = stride

    def forward(self, x: Any) -> Any:
        """Return the result."""
        b = F.relu(self.bn1(self.conv1(x)))
        n, c, h, w = b.shape
        b = b.reshape(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)
        b = self.se(self.bn3(self.conv3(self.bn2(self.conv2(b)))))
        if self.stride == 2:
            return F.relu(torch.cat([F.avg_pool2d(x, 3, 2, padding=1), b], 1))
        return F.relu(x + b)


class ShuffleNet(nn.Module):
    """ShuffleNet 1x with three groups."""

    def __init__(self, classes: int, se: bool):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24)
        channels = 24
        for stage, (width, units) in enumerate(((240, 4), (480, 8), (960, 4)), start=2):
            made = []
            for k in range(units):
                first = 1 if stage == 2 and k == 0 else 3
                made.append(ShuffleUnit(channels, width, 2 if k == 0 else 1, first, se))
                channels = width
            setattr(self, f"stage{stage}", nn.Sequential(*made))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        return self.fc(self.stage4(self.stage3(self.stage2(x))).mean((2, 3)))


class PreActivation(nn.Module):
    """A pre-activation unit."""

    def __init__(self, i: int, o: int, stride: int, shapes: Any, se: bool):
        super().__init__()
        for k, (a, b, kernel, s) in enumerate(shapes, start=1):
            setattr(self, f"bn{k}", nn.BatchNorm2d(a))
            setattr(self, f"conv{k}", conv(a, b, kernel, stride=s, padding=kernel // 2))
        self.depth = len(shapes)
        self.se = se_or_not(o, se)
        self.downsample = conv(i, o, 1, stride=stride) if i != o or stride != 1 else None

    def forward(self, x: Any) -> Any:
        """Return the result."""
        c = x
        for k in range(1, self.depth + 1):
            c = F.relu(getattr(self, f"bn{k}")(c))
            if k == 1:
                shortcut = self.downsample(c) if self.downsample is not None else x
            c = getattr(self, f"conv{k}")(c)
        return shortcut + self.se(c)


class PreActNet(nn.Module):
    """A pre-activation ResNet, or a wide one, for CIFAR."""

    def __init__(self, classes: int, blocks: int, widths: Any, *, bottleneck: bool, se: bool):
        super().__init__()
        self.conv1 = conv(3, 16, 3, padding=1)
        channels = 16
        for stage, width in enumerate(widths, start=1):
            units = []
            for k in range(blocks):
                stride = 2 if stage > 1 and k == 0 else 1
                out = 4 * width if bottleneck else width
                if bottleneck:
                    shapes = [(channels, width, 1, stride), (width, width, 3, 1), (width, out, 1, 1)]
                else:
                    shapes = [(channels, width, 3, stride), (width, width, 3, 1)]
                units.append(PreActivation(channels, out, stride, shapes, se))
                channels = out
            setattr(self, f"layer{stage}", nn.Sequential(*units))
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(F.relu(self.norm(x)).mean((2, 3)))


class Shifted(nn.Module):
    """The shortcut of Shake-Shake where the shape changes."""

    def __init__(self, i: int, o: int, stride: int):
        super().__init__()
        self.conv1, self.conv2 = conv(i, o // 2, 1), conv(i, o // 2, 1)
        self.bn, self.stride = nn.BatchNorm2d(o), stride

    def forward(self, x: Any) -> Any:
        """Return the result."""
        x = F.relu(x)
        s = self.stride
        moved = F.pad(x, (1, -1, 1, -1))
        return self.bn(torch.cat([self.conv1(x[:, :, ::s, ::s]), self.conv2(moved[:, :, ::s, ::s])], 1))


class ShakeUnit(nn.Module):
    """A unit of Shake-Shake; where `alphas` is given, it yields alpha and beta for each call."""

    def __init__(
        self, i: int, o: int, stride: int, basic: bool, alphas: Iterator[Any] | None, even: bool, se: bool
    ):
        super().__init__()

        def branch() -> nn.Sequential:
            if basic:
                return nn.Sequential(
                    nn.ReLU(), conv(i, o, 3, stride=stride, padding=1), nn.BatchNorm2d(o),
                    nn.ReLU(), conv(o, o, 3, padding=1), nn.BatchNorm2d(o),
                )  # fmt: skip
            return nn.Sequential(
                conv(i, o, 1), nn.BatchNorm2d(o), nn.ReLU(),
                conv(o, o, 3, stride=stride, padding=1, groups=4), nn.BatchNorm2d(o), nn.ReLU(),
                conv(o, o, 1), nn.BatchNorm2d(o),
            )  # fmt: skip

        self.branch1, self.branch2 = branch(), branch()
        self.se = se_or_not(o, se)
        self.downsample = None if i == o and stride == 1 else Shifted(i, o, stride)
        self.alphas, self.even = alphas, even

    def forward(self, x: Any) -> Any:
        """Return the result."""
        a, b = self.branch1(x), self.branch2(x)
        if self.training:
            alpha, beta = (v.reshape(-1, 1, 1, 1) for v in self._mixtures(a))
            back = beta * a + (1 - beta) * b
            mixed = (alpha * a + (1 - alpha) * b).detach() + back - back.detach()
        else:
            mixed = (a + b) / 2
        return self.se(mixed) + (x if self.downsample is None else self.downsample(x))

    def _mixtures(self, a: Any) -> Any:
        if self.alphas is not None:
            return [torch.as_tensor(v, dtype=a.dtype) for v in next(self.alphas)]
        alpha = torch.rand(len(a))
        return alpha, torch.full_like(alpha, 0.5) if self.even else torch.rand(len(a))


class ShakeNet(nn.Module):
    """A Shake-Shake network for CIFAR."""

    def __init__(
        self, classes: int, blocks: int, widths: Any, *, basic: bool, se: bool,
        alphas: Iterator[Any] | None = None, even: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.conv1, self.bn1 = conv(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        channels = 16
        for stage, width in enumerate(widths, start=1):
            units = []
            for k in range(blocks):
                stride = 2 if stage > 1 and k == 0 else 1
                units.append(ShakeUnit(channels, width, stride, basic, alphas, even, se))
                channels = width
            setattr(self, f"layer{stage}", nn.Sequential(*units))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)))))
        return self.fc(F.relu(x).mean((2, 3)))


class VGG16(nn.Module):
    """VGG-16 with batch norm."""

    def __init__(self, classes: int, se: bool, size: int = 224):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, convs in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
            for _ in range(convs):
                layers += [conv(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
                layers += [SE(width)] if se else []
                channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(512 * (size // 32) ** 2, 4096), nn.ReLU(), nn.Dropout(),
            nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, classes),
        )  # fmt: skip

    def forward(self, x: Any) -> Any:
        """Return the result."""
        return self.classifier(self.features(x).flatten(1))


def torch_network(name: str, classes: int) -> nn.Module | None:
    """Return the PyTorch twin of a network of the registry, None where it is a ResNet after the sum."""
    se, plain = name.startswith("se_"), name.removeprefix("se_")
    makers: dict[str, Callable[[], nn.Module]] = {
        "vgg16_bn": lambda: VGG16(classes, se),
        "bn_inception": lambda: BNInception(classes, se),
        "inception_resnet_v2": lambda: InceptionResNet(classes, se),
        "mobilenet": lambda: MobileNet(classes, se),
        "shufflenet": lambda: ShuffleNet(classes, se),
        "preact_resnet110_cifar": lambda: PreActNet(classes, 18, (16, 32, 64), bottleneck=False, se=se),
        "preact_resnet164_cifar": lambda: PreActNet(classes, 18, (16, 32, 64), bottleneck=True, se=se),
        "wrn16_8_cifar": lambda: PreActNet(classes, 2, (128, 256, 512), bottleneck=False, se=se),
        "shake_shake26_2x96d_cifar": lambda: ShakeNet(classes, 4, (96, 192, 384), basic=True, se=se),
        "shake_even29_2x4x64d_cifar": lambda: ShakeNet(
            classes, 3, (256, 512, 1024), basic=False, se=se, even=True
        ),
    }
    return makers[plain]() if plain in makers else None
