"""What the PyTorch networks of the bench share."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812


def se_or_not(channels: int, with_se: bool) -> nn.Module:
    """Return SE, or what does nothing."""
    return SE(channels) if with_se else nn.Identity()


class SE(nn.Module):
    """Squeeze-and-Excitation."""

    def __init__(self, channels: int, reduction: int = 16):
        super().__init__()
        hidden = max(1, channels // reduction)
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)

    def forward(self, u: Any) -> Any:
        """Return the result."""
        s = torch.sigmoid(self.fc2(F.relu(self.fc1(u.mean((2, 3))))))
        return u * s[:, :, None, None]


def conv(i: int, o: int, k: int, **settings: Any) -> nn.Conv2d:
    """Return a convolution without bias."""
    return nn.Conv2d(i, o, k, bias=False, **settings)


class Unit(nn.Module):
    """conv, bn, relu."""

    def __init__(self, i: int, o: int, k: int, **settings: Any):
        super().__init__()
        self.conv, self.bn = conv(i, o, k, **settings), nn.BatchNorm2d(o)

    def forward(self, x: Any) -> Any:
        """Return the result."""
        return F.relu(self.bn(self.conv(x)))
