"""The same networks and operations in PyTorch, written as its users write them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from senumpy.bench.ours import random_arrays
from senumpy.bench.torch_networks import torch_network
from senumpy.bench.workloads import ModelWork, OpWork, Work
from senumpy.layers import SEConfig
from senumpy.models import ResNetConfig, model_config

FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
functional = nn.functional


class TorchSE(nn.Module):
    """Squeeze-and-Excitation."""

    def __init__(self, channels: int, config: SEConfig):
        super().__init__()
        hidden = config.hidden(channels)
        self.fc1 = nn.Linear(channels, hidden, bias=config.bias)
        self.fc2 = nn.Linear(hidden, channels, bias=config.bias)
        self.pool = torch.mean if config.squeeze == "avg" else torch.amax
        self.gate = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}[config.gate]

    def forward(self, u: Any) -> Any:
        """Recalibrate u."""
        s = self.gate(self.fc2(torch.relu(self.fc1(self.pool(u, dim=(2, 3))))))
        return u * s[:, :, None, None]


class TorchUnit(nn.Module):
    """A residual unit."""

    def __init__(self, channels: int, width: int, stride: int, config: ResNetConfig, se: SEConfig | None):
        super().__init__()
        bottleneck = config.unit == "bottleneck"
        out = width * (4 if bottleneck else 1)
        if bottleneck:
            first, second = (stride, 1) if config.stride_in == "1x1" else (1, stride)
            inner = width * config.group_width // 64 * config.groups
            reduced, g = inner // config.first_1x1, config.groups
            shapes = [(channels, reduced, 1, first, 1), (reduced, inner, 3, second, g), (inner, out, 1, 1, 1)]
        else:
            shapes = [(channels, width, 3, stride, 1), (width, width, 3, 1, 1)]
        for k, (i, o, kernel, s, groups) in enumerate(shapes, start=1):
            conv = nn.Conv2d(i, o, kernel, s, kernel // 2, groups=groups, bias=False)
            setattr(self, f"conv{k}", conv)
            setattr(self, f"bn{k}", nn.BatchNorm2d(o))
        self.depth = len(shapes)
        self.se = TorchSE(out, se) if se else nn.Identity()
        self.downsample = nn.Identity()
        if stride != 1 or channels != out:
            kernel = 3 if config.shortcut == "projection3x3" and stride > 1 else 1
            projection = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(out))

    def forward(self, x: Any) -> Any:
        """Return the unit's result; ReLUs work in place, as in torchvision."""
        y = x
        for k in range(1, self.depth + 1):
            y = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(y))
            if k < self.depth:
                y = torch.relu_(y)
        return torch.relu_(self.se(y) + self.downsample(x))


class TorchResNet(nn.Module):
    """The twin of `senumpy.models.ResNet`, with the same names of parameters."""

    def __init__(self, config: ResNetConfig, in_channels: int, num_classes: int):
        super().__init__()
        width = config.stem_width or config.widths[0]
        kernel, stride, padding = (7, 2, 3) if config.stem == "imagenet" else (3, 1, 1)
        self.conv1: nn.Module = nn.Conv2d(in_channels, width, kernel, stride, padding, bias=False)
        if config.stem == "deep":
            self.conv1 = _deep_stem(in_channels, width)
        self.bn1 = nn.BatchNorm2d(width)
        self.pool: nn.Module = nn.Identity()
        if config.stem != "cifar":
            ceil = config.pool == "ceil"
            self.pool = nn.MaxPool2d(3, 2, padding=0 if ceil else 1, ceil_mode=ceil)
        channels = width
        self.stages = len(config.blocks)
        for k, (width, blocks) in enumerate(zip(config.widths, config.blocks, strict=True), start=1):
            units = []
            for b in range(blocks):
                se = config.se if config.se and config.se.in_stage(k + 1) else None
                units.append(TorchUnit(channels, width, 2 if k > 1 and b == 0 else 1, config, se))
                channels = width * (4 if config.unit == "bottleneck" else 1)
            setattr(self, f"layer{k}", nn.Sequential(*units))
        self.dropout = nn.Dropout(config.dropout)
        self.fc = nn.Linear(channels, num_classes)

    def forward(self, x: Any) -> Any:
        """Return the logits."""
        x = self.pool(torch.relu_(self.bn1(self.conv1(x))))
        for k in range(1, self.stages + 1):
            x = getattr(self, f"layer{k}")(x)
        return self.fc(self.dropout(x.mean(dim=(2, 3))))


def _deep_stem(in_channels: int, width: int) -> nn.Sequential:
    half = width // 2
    return nn.Sequential(
        nn.Conv2d(in_channels, half, 3, 2, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True),
        nn.Conv2d(half, half, 3, 1, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True),
        nn.Conv2d(half, width, 3, 1, 1, bias=False),
    )  # fmt: skip


def prepare(work: Work, threads: int) -> Callable[[], Any]:
    """Return a function that does the work once, in the memory format that is the faster one."""
    torch.set_num_threads(threads)
    make = model_run if isinstance(work, ModelWork) else _op
    best: tuple[float, Any] | None = None
    for memory_format in FORMATS.values():
        run = make(work, memory_format)  # type: ignore[arg-type]
        run()
        seconds = min(_seconds(run) for _ in range(2))
        if best is None or seconds < best[0]:
            best = seconds, memory_format
    return make(work, best[1])  # type: ignore[index, arg-type]


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def model_run(work: ModelWork, memory_format: Any, device: Any = "cpu") -> Callable[[], Any]:
    """Return a function that does a network's work once, on a device of PyTorch."""
    torch.manual_seed(0)
    model = torch_network(work.model, work.classes)
    if model is None:
        model = TorchResNet(model_config(work.model), work.channels, work.classes)
    model = model.to(device, memory_format=memory_format)
    x = torch.randn(work.batch, work.channels, work.size, work.size).contiguous(memory_format=memory_format)
    x = x.to(device)  # keeps the memory format
    if not work.train:
        model.eval()

        def infer() -> Any:
            with torch.inference_mode():
                return model(x)

        return infer
    labels = torch.randint(work.classes, (work.batch,)).to(device)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def step() -> None:
        sgd.zero_grad(set_to_none=True)
        functional.cross_entropy(model(x), labels).backward()
        sgd.step()

    return step


def _op(work: OpWork, memory_format: Any) -> Callable[[], Any]:
    tensors = [
        None if array is None else _leaf(torch.from_numpy(array), memory_format)
        for array in random_arrays(work)
    ]
    forward = _FORWARDS[work.op]
    settings = dict(work.settings)
    wanted = [tensor for tensor in tensors if tensor is not None]
    y = forward(tensors, settings)
    dy = torch.randn(y.shape)
    if dy.ndim == 4:
        dy = dy.contiguous(memory_format=memory_format)
    return lambda: torch.autograd.grad(forward(tensors, settings), wanted, dy)


def _leaf(tensor: Any, memory_format: Any) -> Any:
    if tensor.ndim == 4:
        tensor = tensor.contiguous(memory_format=memory_format)
    return tensor.requires_grad_()


def _squeeze_excite(u: Any, w1: Any, b1: Any, w2: Any, b2: Any) -> Any:
    hidden = torch.relu(functional.linear(u.mean(dim=(2, 3)), w1, b1))
    return u * torch.sigmoid(functional.linear(hidden, w2, b2))[:, :, None, None]


def _batch_norm(x: Any, gamma: Any, beta: Any) -> Any:
    return functional.batch_norm(x, None, None, gamma, beta, training=True)


def _residual_tail(c: Any, gamma: Any, beta: Any, *rest: Any) -> Any:
    *se, shortcut = rest
    return torch.relu_(_squeeze_excite(_batch_norm(c, gamma, beta), *se) + shortcut)


_FORWARDS: dict[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    "conv2d": lambda a, s: functional.conv2d(*a, **s),
    "batchnorm2d": lambda a, s: _batch_norm(*a),
    "relu": lambda a, s: torch.relu(*a),
    "max_pool2d": lambda a, s: functional.max_pool2d(*a, s["kernel"], s["stride"], s["padding"]),
    "global_avg_pool": lambda a, s: a[0].mean(dim=(2, 3)),
    "squeeze_excite": lambda a, s: _squeeze_excite(*a),
    "residual_tail": lambda a, s: _residual_tail(*a),
    "linear": lambda a, s: functional.linear(*a),
}
