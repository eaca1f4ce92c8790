"""Networks of the paper that neither timm nor torchvision has, in PyTorch, with this project's names.

Written from the papers and for comparison alone: autograd, no sharing with `senumpy`.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


class SE(nn.Module):
    def __init__(self, channels, reduction=16):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, u):
        s = torch.sigmoid(self.fc2(F.relu(self.fc1(u.mean((2, 3))))))
        return u * s[:, :, None, None]


def conv(i, o, k, **settings):
    return nn.Conv2d(i, o, k, bias=False, **settings)


class Unit(nn.Module):
    """conv, bn, relu."""

    def __init__(self, i, o, k, **settings):
        super().__init__()
        self.conv, self.bn = conv(i, o, k, **settings), nn.BatchNorm2d(o)

    def forward(self, x):
        return F.relu(self.bn(self.conv(x)))


class Module(nn.Module):
    """A module of SE-BN-Inception."""

    def __init__(self, i, one, three, double, pool, projection, stride=1):
        super().__init__()
        b = {"conv1x1": Unit(i, one, 1)} if one else {}
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
        self.se = SE(self.out)

    def forward(self, x):
        return self.se(torch.cat([branch(x) for branch in self.branches.values()], 1))


class SEBNInception(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.conv2_reduce = Unit(3, 64, 7, stride=2, padding=3), Unit(64, 64, 1)
        self.conv2 = Unit(64, 192, 3, padding=1)
        channels = 192
        for name, *sizes in (
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
        ):
            module = Module(channels, *sizes)
            setattr(self, f"inception_{name}", module)
            channels = module.out
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = F.max_pool2d(self.conv1(x), 3, 2, ceil_mode=True)
        x = F.max_pool2d(self.conv2(self.conv2_reduce(x)), 3, 2, ceil_mode=True)
        for name in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
            x = getattr(self, f"inception_{name}")(x)
        return self.fc(x.mean((2, 3)))


class SeparableBlock(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv_dw, self.bn1 = conv(i, i, 3, stride=stride, padding=1, groups=i), nn.BatchNorm2d(i)
        self.conv_pw, self.bn2 = conv(i, o, 1), nn.BatchNorm2d(o)
        self.se = SE(o)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv_dw(x)))
        return self.se(F.relu(self.bn2(self.conv_pw(x))))


class SEMobileNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv_stem, self.bn1 = conv(3, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32)
        channels, stages = 32, []
        for width, strides in (
            (64, [1]), (128, [2, 1]), (256, [2, 1]), (512, [2, 1, 1, 1, 1, 1]), (1024, [2, 1]),
        ):  # fmt: skip
            blocks = []
            for stride in strides:
                blocks.append(SeparableBlock(channels, width, stride))
                channels = width
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.blocks(F.relu(self.bn1(self.conv_stem(x))))
        return self.classifier(x.mean((2, 3)))


class ShuffleUnit(nn.Module):
    def __init__(self, i, o, stride, first_groups=3):
        super().__init__()
        middle, branch = o // 4, o - i if stride == 2 else o
        self.conv1, self.bn1 = conv(i, middle, 1, groups=first_groups), nn.BatchNorm2d(middle)
        self.conv2 = conv(middle, middle, 3, stride=stride, padding=1, groups=middle)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3, self.bn3 = conv(middle, branch, 1, groups=3), nn.BatchNorm2d(branch)
        self.se = SE(branch)
        self.stride = stride

    def forward(self, x):
        b = F.relu(self.bn1(self.conv1(x)))
        n, c, h, w = b.shape
        b = b.reshape(n, 3, c // 3, h, w).transpose(1, 2).reshape(n, c, h, w)
        b = self.se(self.bn3(self.conv3(self.bn2(self.conv2(b)))))
        if self.stride == 2:
            return F.relu(torch.cat([F.avg_pool2d(x, 3, 2, padding=1), b], 1))
        return F.relu(x + b)


class SEShuffleNet(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 24, 3, stride=2, padding=1), nn.BatchNorm2d(24)
        channels = 24
        for stage, (width, units) in enumerate(((240, 4), (480, 8), (960, 4)), start=2):
            made = []
            for k in range(units):
                first = 1 if stage == 2 and k == 0 else 3
                made.append(ShuffleUnit(channels, width, 2 if k == 0 else 1, first))
                channels = width
            setattr(self, f"stage{stage}", nn.Sequential(*made))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, padding=1)
        return self.fc(self.stage4(self.stage3(self.stage2(x))).mean((2, 3)))


class PreActivation(nn.Module):
    def __init__(self, i, o, stride, shapes):
        super().__init__()
        for k, (a, b, kernel, s) in enumerate(shapes, start=1):
            setattr(self, f"bn{k}", nn.BatchNorm2d(a))
            setattr(self, f"conv{k}", conv(a, b, kernel, stride=s, padding=kernel // 2))
        self.depth = len(shapes)
        self.se = SE(o)
        self.downsample = conv(i, o, 1, stride=stride) if i != o or stride != 1 else None

    def forward(self, x):
        c = x
        for k in range(1, self.depth + 1):
            c = F.relu(getattr(self, f"bn{k}")(c))
            if k == 1:
                shortcut = self.downsample(c) if self.downsample is not None else x
            c = getattr(self, f"conv{k}")(c)
        return shortcut + self.se(c)


class PreActNet(nn.Module):
    def __init__(self, classes, blocks, widths, *, bottleneck):
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
                units.append(PreActivation(channels, out, stride, shapes))
                channels = out
            setattr(self, f"layer{stage}", nn.Sequential(*units))
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.conv1(x))))
        return self.fc(F.relu(self.norm(x)).mean((2, 3)))


class Shifted(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.conv1, self.conv2 = conv(i, o // 2, 1), conv(i, o // 2, 1)
        self.bn, self.stride = nn.BatchNorm2d(o), stride

    def forward(self, x):
        x = F.relu(x)
        s = self.stride
        moved = F.pad(x, (1, -1, 1, -1))
        return self.bn(torch.cat([self.conv1(x[:, :, ::s, ::s]), self.conv2(moved[:, :, ::s, ::s])], 1))


class ShakeUnit(nn.Module):
    """The mixtures are those of a model of this project: `alphas` gives alpha and beta for each call."""

    def __init__(self, i, o, stride, basic, alphas):
        super().__init__()

        def branch():
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
        self.se = SE(o)
        self.downsample = None if i == o and stride == 1 else Shifted(i, o, stride)
        self.alphas = alphas

    def forward(self, x):
        a, b = self.branch1(x), self.branch2(x)
        if self.training:
            alpha, beta = (torch.tensor(v)[:, None, None, None] for v in next(self.alphas))
            back = beta * a + (1 - beta) * b
            mixed = (alpha * a + (1 - alpha) * b).detach() + back - back.detach()
        else:
            mixed = (a + b) / 2
        return self.se(mixed) + (x if self.downsample is None else self.downsample(x))


class ShakeNet(nn.Module):
    def __init__(self, classes, blocks, widths, *, basic, alphas):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 16, 3, padding=1), nn.BatchNorm2d(16)
        channels = 16
        for stage, width in enumerate(widths, start=1):
            units = []
            for k in range(blocks):
                stride = 2 if stage > 1 and k == 0 else 1
                units.append(ShakeUnit(channels, width, stride, basic, alphas))
                channels = width
            setattr(self, f"layer{stage}", nn.Sequential(*units))
        self.fc = nn.Linear(channels, classes)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(self.bn1(self.conv1(x)))))
        return self.fc(F.relu(x).mean((2, 3)))
