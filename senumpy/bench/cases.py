"""The cases of `senumpy bench`, and who is measured in each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from senumpy.bench.workloads import ModelWork, OpWork, Work, conv
from senumpy.errors import InputError

OURS = "senumpy"  # stands for the engine that is measured


@dataclass(frozen=True)
class Contender:
    """A library with its work; the first contender of a case is the one that others are compared with."""

    library: str  # OURS, an engine's name, "numba-exact", "numba-steps", "pytorch" or "onnxruntime"
    work: Work


@dataclass(frozen=True)
class Case:
    """Some contenders, measured in turns.

    `kind` is "train", "inference", "cost" (the same library with and without SE), "models" (the same for a
    family of networks), "ladder" (one operation by our engines, from loops to Winograd, from steps to one go)
    or "op".
    """

    name: str
    kind: str
    contenders: tuple[Contender, ...]


_WIDE = (16, 256, 56, 56)  # the widest activation of a SE-ResNet-50
_SE = ((16, 256), (16,), (256, 16), (256,))
# Statistics and result: 4 passes over an activation. Sums and gradients: 8.
_TAIL = OpWork("residual_tail", (_WIDE, (256,), (256,), *_SE, _WIDE), passes=12)


def _model(kind: str, model: str, batch: int, *others: str, size: int = 224, classes: int = 1000) -> Case:
    work = ModelWork(model, batch, kind == "train", size, 3, classes)
    contenders = tuple(Contender(library, work) for library in (OURS, *others))
    return Case(f"{kind} {model}, batch {batch}", kind, contenders)


def _cost(kind: str, batch: int) -> Case:
    """Return the case of SE's cost: ours and PyTorch's, each with SE and without."""
    works = [ModelWork(model, batch, kind == "train") for model in ("se_resnet50", "resnet50")]
    contenders = tuple(Contender(library, work) for library in (OURS, "pytorch") for work in works)
    return Case(f"cost of SE, {kind}, batch {batch}", "cost", contenders)


def _op(name: str, work: OpWork) -> Case:
    return Case(name, "op", tuple(Contender(library, work) for library in (OURS, "numpy", "pytorch")))


def _fusion() -> Case:
    """Return the case of the last rung: the residual tail in one go, and operation by operation."""
    libraries = ("numba", "numba-steps", "numpy")
    return Case("ladder: residual tail 256 56", "ladder", tuple(Contender(name, _TAIL) for name in libraries))


def _ladder() -> Case:
    """Return the case that goes from loops to Winograd; the loops get a smaller work, the rate counts."""
    work = conv(16, 64, 64, 56, 3)
    return Case(
        "ladder: conv 3x3 64-64 56",
        "ladder",
        (
            Contender("numba", work),  # Winograd, in blocks that fit the cache
            Contender("numba-exact", work),  # blocks of rows
            Contender("numpy", work),  # im2col of the whole batch
            Contender("naive", conv(1, 8, 8, 8, 3)),  # loops
        ),
    )


_POOL = (("kernel", 3), ("stride", 2), ("padding", 1))

CASES = (
    _model("train", "se_resnet50", 16, "pytorch", "numpy"),
    _model("train", "se_resnet50", 4, "pytorch"),
    _model("train", "se_resnet50", 32, "pytorch"),
    _model("train", "se_resnet20_cifar", 128, "pytorch", size=32, classes=10),
    _model("inference", "se_resnet50", 1, "pytorch", "onnxruntime"),
    _model("inference", "se_resnet50", 8, "pytorch", "onnxruntime"),
    _cost("train", 16),
    _cost("inference", 1),
    _ladder(),
    _fusion(),
    _op("conv 7x7/2 3-64 224", conv(16, 3, 64, 224, 7, stride=2)),
    _op("conv 1x1 64-256 56", conv(16, 64, 256, 56, 1)),
    _op("conv 1x1 1024-256 14", conv(16, 1024, 256, 14, 1)),
    _op("conv 3x3 64-64 56", conv(16, 64, 64, 56, 3)),
    _op("conv 3x3 128-128 28", conv(16, 128, 128, 28, 3)),
    _op("conv 3x3 256-256 14", conv(16, 256, 256, 14, 3)),
    _op("conv 3x3 512-512 7", conv(16, 512, 512, 7, 3)),
    _op("conv 3x3/2 128-128 56", conv(16, 128, 128, 56, 3, stride=2)),
    _op("conv 3x3 depthwise 128 56", conv(16, 128, 128, 56, 3, groups=128)),
    _op("conv 3x3/2 depthwise 256 28", conv(16, 256, 256, 28, 3, stride=2, groups=256)),
    _op("conv 3x3 depthwise 512 14", conv(16, 512, 512, 14, 3, groups=512)),
    _op("conv 3x3 g32 128-128 56", conv(16, 128, 128, 56, 3, groups=32)),
    _op("conv 3x3 g32 256-256 28", conv(16, 256, 256, 28, 3, groups=32)),
    _op("conv 3x3 g32 512-512 14", conv(16, 512, 512, 14, 3, groups=32)),
    # Statistics and result: 3 passes. Sums and gradient: 5, for both need dy and x.
    _op("batch norm 256 56", OpWork("batchnorm2d", (_WIDE, (256,), (256,)), passes=8)),
    _op("relu 256 56", OpWork("relu", (_WIDE,), passes=5)),
    _op("max pool 3x3/2 64 112", OpWork("max_pool2d", ((16, 64, 112, 112),), _POOL, passes=2.5)),
    _op("global avg pool 2048 7", OpWork("global_avg_pool", ((16, 2048, 7, 7),), passes=2)),
    _op("squeeze-excite 256 56", OpWork("squeeze_excite", (_WIDE, *_SE), passes=7)),
    _op("residual tail 256 56", _TAIL),
    _op("linear 2048-1000", OpWork("linear", ((64, 2048), (1000, 2048), (1000,)), (), 64 * 2048 * 1000)),
)
# With and without SE, one of each family; (name, batch, side of the images, classes).
_FAMILIES = (
    ("resnet50", 8, 224, 1000),
    ("resnext50_32x4d", 8, 224, 1000),
    ("vgg16_bn", 4, 224, 1000),
    ("bn_inception", 8, 224, 1000),
    ("inception_resnet_v2", 4, 299, 1000),
    ("mobilenet", 16, 224, 1000),
    ("shufflenet", 16, 224, 1000),
    ("resnet56_cifar", 128, 32, 10),
    ("preact_resnet164_cifar", 64, 32, 10),
    ("wrn16_8_cifar", 32, 32, 10),
    ("shake_shake26_2x96d_cifar", 16, 32, 10),
)


def _families() -> Iterator[Case]:
    """Yield a training step and an inference of each family, ours and PyTorch's, with SE and without."""
    for name, batch, size, classes in _FAMILIES:
        for kind in ("train", "inference"):
            works = [
                ModelWork(model, batch, kind == "train", size, 3, classes) for model in (f"se_{name}", name)
            ]
            contenders = tuple(Contender(library, work) for library in (OURS, "pytorch") for work in works)
            yield Case(f"{kind} {name}, batch {batch}", "models", contenders)


MODEL_CASES = tuple(_families())
KINDS = ("train", "inference", "cost", "ladder", "op")


def select_cases(wanted: Iterable[str], *, models: bool = False) -> list[Case]:
    """Return the cases of a kind, or with a text in their name; all where none is wanted.

    With `models` it is the families of networks that are chosen from.

    Raises
    ------
    InputError
        A text fits no case.
    """
    wanted = list(wanted)
    cases = MODEL_CASES if models else CASES

    def fits(case: Case, text: str) -> bool:
        return text == case.kind if text in KINDS and not models else text in case.name

    for text in wanted:
        if not any(fits(case, text) for case in cases):
            names = "; ".join(case.name for case in cases)
            raise InputError(
                f"no case has {text!r} in its name; wanted {', '.join(KINDS)}, or part of: {names}"
            )
    return [case for case in cases if not wanted or any(fits(case, text) for text in wanted)]
