"""What is measured: operations at sizes of SE-ResNet-50 and CIFAR networks, and whole training steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.models import create_model

Pair = tuple[Callable[[], Any], Callable[[Any], Any]]


@dataclass(frozen=True)
class Case:
    """One row of the table.

    `prepare(engine)` returns forward and backward as two functions without further arguments. `images` is
    the batch size of a model, 0 for an operation; `multiply_adds` counts the forward of an operation.
    """

    name: str
    kind: str  # "op" or "model"
    prepare: Callable[[Engine], Pair] = field(repr=False)
    images: int = 0
    multiply_adds: int = 0


def _op_case(
    name: str, op: str, shapes: list[tuple[int, ...] | None], multiply_adds: int = 0, **settings: Any
) -> Case:
    """Return the case of an operation on normal random float32 arrays."""

    def prepare(engine: Engine) -> Pair:
        rng = np.random.default_rng(0)
        arrays = [
            None if shape is None else engine.asarray(rng.standard_normal(shape), "float32")
            for shape in shapes
        ]
        forward, backward = getattr(engine, f"{op}_forward"), getattr(engine, f"{op}_backward")
        y, _ = forward(*arrays, **settings)
        dy = engine.asarray(rng.standard_normal(y.shape), "float32")
        return lambda: forward(*arrays, **settings)[1], lambda cache: backward(dy, cache)

    return Case(name, "op", prepare, multiply_adds=multiply_adds)


def _conv(name: str, n: int, c: int, o: int, size: int, k: int, *, stride: int = 1, groups: int = 1) -> Case:
    weights = (o, c // groups, k, k)
    return _op_case(
        name,
        "conv2d",
        [(n, c, size, size), weights],
        n * (size // stride) ** 2 * int(np.prod(weights)),
        stride=stride,
        padding=k // 2,
        groups=groups,
    )


def _model_case(name: str, batch: int, size: int, channels: int = 3, classes: int = 10) -> Case:
    """Return the case of one training step without the update: forward and loss, then backward."""

    def prepare(engine: Engine) -> Pair:
        model = create_model(name, num_classes=classes, in_channels=channels, engine=engine)
        rng = np.random.default_rng(0)
        x = engine.asarray(rng.standard_normal((batch, channels, size, size)), "float32")
        labels = engine.asarray(rng.integers(classes, size=batch))

        def forward() -> Any:
            return engine.softmax_cross_entropy_forward(model.forward(x), labels)[1]

        def backward(cache: Any) -> Any:
            return model.backward(engine.softmax_cross_entropy_backward(1.0, cache).dlogits)

        return forward, backward

    return Case(f"{name} {channels}x{size}x{size}", "model", prepare, images=batch)


_WIDE = (8, 256, 56, 56)  # the widest activation of a SE-ResNet-50, batch 8
_SE = [(16, 256), (16,), (256, 16), (256,)]

CASES = (
    _conv("conv 7x7/2 3-64 224", 8, 3, 64, 224, 7, stride=2),
    _conv("conv 1x1 256-64 56", 8, 256, 64, 56, 1),
    _conv("conv 3x3 64-64 56", 8, 64, 64, 56, 3),
    _conv("conv 3x3/2 128-128 56", 8, 128, 128, 56, 3, stride=2),
    _conv("conv 3x3 512-512 7", 8, 512, 512, 7, 3),
    _conv("conv 3x3 g32 128-128 56", 8, 128, 128, 56, 3, groups=32),
    _conv("conv 3x3 depthwise 128 56", 8, 128, 128, 56, 3, groups=128),
    _op_case("batch norm 256 56", "batchnorm2d", [_WIDE, (256,), (256,)]),
    _op_case("relu 256 56", "relu", [_WIDE]),
    _op_case("max pool 3x3/2 64 112", "max_pool2d", [(8, 64, 112, 112)], kernel=3, stride=2, padding=1),
    _op_case("avg pool 3x3 256 56", "avg_pool2d", [_WIDE], kernel=3, stride=1, padding=1),
    _op_case("global avg pool 2048 7", "global_avg_pool", [(8, 2048, 7, 7)]),
    _op_case("squeeze-excite 256 56", "squeeze_excite", [_WIDE, *_SE]),
    _op_case("residual tail 256 56", "residual_tail", [_WIDE, (256,), (256,), *_SE, _WIDE]),
    _op_case("residual tail, no SE", "residual_tail", [_WIDE, (256,), (256,), None, None, None, None, _WIDE]),
    _op_case("linear 2048-1000", "linear", [(64, 2048), (1000, 2048), (1000,)], 64 * 2048 * 1000),
    _model_case("resnet8_cifar", 128, 28, 1),
    _model_case("se_resnet8_cifar", 128, 28, 1),
    _model_case("se_resnet20_cifar", 128, 32),
    _model_case("resnet50", 4, 224, classes=1000),
    _model_case("se_resnet50", 4, 224, classes=1000),
)
