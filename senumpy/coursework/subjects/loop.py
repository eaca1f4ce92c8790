"""One epoch of training, on a small model that writes down how it is used.

The bound is measured; sums run over the images of all batches and the features of each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from senumpy import ops
from senumpy.coursework.subjects.subject import (
    Array,
    Case,
    Function,
    Functions,
    Results,
    Subject,
    SubjectMistake,
    numbers,
)
from senumpy.engines import engine
from senumpy.layers import Layer
from senumpy.layers.base import Parameter
from senumpy.training.loop import train_epoch
from senumpy.verify.slots import text_of

FORWARD, BACKWARD, STEP = range(3)
MOMENTUM = 0.5
Batch = tuple[Array, Array]


class RecordingModel(Layer):
    """A linear classifier of float64 that notes each forward, backward and step."""

    def __init__(self, weight: Array, bias: Array) -> None:
        super().__init__(engine("numpy"))
        self.weight, self.bias = Parameter(weight.copy()), Parameter(bias.copy())
        self.dtype = np.dtype(np.float64)  # as networks say it
        self.calls: list[int] = []
        self.rates: list[float] = []
        self._seen: Any = None

    def forward(self, x: Array) -> Array:
        """Return logits (N, K) for images (N, C, H, W)."""
        self.calls.append(FORWARD)
        logits, self._seen = ops.linear_forward(
            np.reshape(x, (len(x), -1)), self.weight.value, self.bias.value
        )
        return logits

    def __call__(self, x: Array) -> Array:
        """Do the same, as other libraries write it."""
        return self.forward(x)

    def backward(self, dy: Array, *, need_dx: bool = True) -> Any:
        """Set both gradients from the last forward."""
        self.calls.append(BACKWARD)
        if self._seen is None:
            raise RuntimeError("model.backward was called before model.forward")
        dx, self.weight.grad, self.bias.grad = ops.linear_backward(dy, self._seen)
        return dx


class RecordingSGD:
    """SGD with momentum for that model; notes its learning rates."""

    def __init__(self, model: RecordingModel) -> None:
        self._model = model
        self._pairs = [(p, np.zeros_like(p.value)) for p in (model.weight, model.bias)]

    def step(self, lr: float) -> None:
        """Update the parameters that have gradients."""
        self._model.calls.append(STEP)
        self._model.rates.append(_number(lr, "sgd.step(lr)"))
        for parameter, velocity in self._pairs:
            if parameter.grad is not None:
                velocity *= MOMENTUM
                velocity += parameter.grad
                parameter.value -= self._model.rates[-1] * velocity


def _number(value: Any, what: str) -> float:
    array = numbers(value, what)
    if array.size != 1 or array.dtype.kind == "c":
        raise TypeError(f"{what}: got {text_of(value)}, wanted one number")
    return float(array.reshape(()))


def _case(batches: tuple[Batch, ...], weight: Array, bias: Array, lr: float) -> Case:
    sizes = ", ".join(str(len(labels)) for _, labels in batches)
    text = f"batches of {sizes} images, lr {lr:g}, a linear model with {len(bias)} classes"
    return Case(text, {"batches": batches, "weight": weight, "bias": bias, "lr": lr})


def _runs(functions: Functions, case: Case) -> Results:
    data = case.data
    model = RecordingModel(data["weight"], data["bias"])

    def batches() -> Iterator[Batch]:
        """Yield copies, once: what loaders give is a generator, too."""
        for x, labels in data["batches"]:
            yield x.copy(), labels.copy()

    loss = functions["train_epoch"](model, batches(), RecordingSGD(model), data["lr"])
    return {
        "the loss returned": np.array(_number(loss, "train_epoch")),
        "the weights after the epoch": model.weight.value,
        "the biases after the epoch": model.bias.value,
        "the calls": np.array(model.calls, np.int64),
        "the learning rates of the steps": np.array(model.rates, np.float64),
    }


def _drawn(rng: np.random.Generator, sizes: tuple[int, ...], classes: int, lr: float) -> Case:
    shape = (1, 2, 2)
    batches = tuple((rng.normal(size=(n, *shape)), rng.integers(0, classes, n)) for n in sizes)
    weight = rng.normal(size=(classes, 4)) * 0.5
    return _case(batches, weight, rng.normal(size=classes), lr)


def _fixed() -> list[Case]:
    rng = np.random.default_rng(15)
    return [_drawn(rng, (4,), 3, 0.1), _drawn(rng, (3, 3, 1), 3, 0.25)]


def _draw(rng: np.random.Generator) -> list[Case]:
    def sizes(count: int) -> tuple[int, ...]:
        """Return full batches, then a smaller one."""
        full = int(rng.integers(4, 7))
        return (*(full,) * count, int(rng.integers(1, full - 1)))

    rates = rng.choice([0.5, 0.3, 0.2, 0.05], 2, replace=False)
    return [
        _drawn(rng, sizes(2), int(rng.integers(2, 5)), float(rates[0])),
        _drawn(rng, sizes(3), int(rng.integers(3, 6)), float(rates[1])),
    ]


# -- mistakes: the same loop with one thing changed ---------------------------------------------------------


def _loop(
    *,
    order: str = "backward, step",
    rate: Callable[[float, int], float] = lambda lr, n: lr,
    upstream: Callable[[int], float] = lambda n: 1.0,
    mean: Callable[[list[float], list[int]], float] | None = None,
    again: bool = False,
    last_step: bool = False,
) -> dict[str, Function]:
    """Return a `train_epoch` with another order, rate, upstream gradient or mean."""

    def wrong(model: Any, batches: Any, sgd: Any, lr: float) -> float:
        losses, sizes = [], []
        for x, labels in batches:
            loss, cache = ops.softmax_cross_entropy_forward(model.forward(x), labels)
            dlogits = ops.softmax_cross_entropy_backward(upstream(len(labels)), cache).dlogits
            for call in order.split(", "):
                if call == "backward":
                    model.backward(dlogits)
                else:
                    sgd.step(rate(lr, len(labels)))
            if again:
                loss, _ = ops.softmax_cross_entropy_forward(model.forward(x), labels)
            losses.append(float(loss))
            sizes.append(len(labels))
        if last_step:
            sgd.step(lr)
        return mean(losses, sizes) if mean else _over_images(losses, sizes)

    return {"train_epoch": wrong}


def _over_images(losses: list[float], sizes: list[int]) -> float:
    return float(np.dot(losses, sizes) / sum(sizes))


def _only_last(model: Any, batches: Any, sgd: Any, lr: float) -> float:
    *_, last = batches
    return train_epoch(model, [last], sgd, lr)


TRAIN_EPOCH = Subject(
    name="train_epoch",
    reference={"train_epoch": train_epoch},
    fixed=_fixed,
    draw=_draw,
    runs=_runs,
    terms=64,
    words={"the calls": ("forward", "backward", "step")},
    mistakes=(
        SubjectMistake(
            "mean-over-batches",
            "The batches' mean losses are averaged: images of a smaller batch count more than others.",
            _loop(mean=lambda losses, sizes: float(np.mean(losses))),
        ),
        SubjectMistake(
            "summed-loss",
            "The sum of all images' losses is returned, not their mean.",
            _loop(mean=lambda losses, sizes: float(np.dot(losses, sizes))),
        ),
        SubjectMistake(
            "summed-means",
            "The batches' mean losses are summed, not averaged over images.",
            _loop(mean=lambda losses, sizes: float(np.sum(losses))),
        ),
        SubjectMistake(
            "means-over-images",
            "A batch's mean loss counts once in the sum, not once for each of its images.",
            _loop(mean=lambda losses, sizes: float(np.sum(losses) / sum(sizes))),
        ),
        SubjectMistake(
            "last-loss",
            "The loss of the last batch is returned.",
            _loop(mean=lambda losses, sizes: losses[-1]),
        ),
        SubjectMistake(
            "loss-after-the-step",
            "The loss is computed again, after the step: wanted is that of before it, from one forward.",
            _loop(again=True),
        ),
        SubjectMistake(
            "no-step",
            "sgd.step is never called: nothing is learned.",
            _loop(order="backward"),
        ),
        SubjectMistake(
            "no-backward",
            "model.backward is never called: there are no gradients.",
            _loop(order="step"),
        ),
        SubjectMistake(
            "step-before-backward",
            "sgd.step comes before model.backward: it uses the gradients of the batch before.",
            _loop(order="step, backward"),
        ),
        SubjectMistake(
            "one-step-an-epoch",
            "sgd.step is called once, at the end: only the last batch's gradients are used.",
            _loop(order="backward", last_step=True),
        ),
        SubjectMistake(
            "lr-ignored",
            "The argument lr is not used: the learning rate is always 0.1.",
            _loop(rate=lambda lr, n: 0.1),
        ),
        SubjectMistake(
            "lr-by-size",
            "The learning rate is divided by the size of the batch: the loss is a mean already.",
            _loop(rate=lambda lr, n: lr / n),
        ),
        SubjectMistake(
            "gradient-times-size",
            "The upstream gradient is the size of the batch: it is 1, as the loss is the batch's mean.",
            _loop(upstream=lambda n: float(n)),
        ),
        SubjectMistake(
            "gradient-by-size",
            "The gradient is divided by the size of the batch once more: the loss is a mean already.",
            _loop(upstream=lambda n: 1.0 / n),
        ),
        SubjectMistake(
            "last-batch-only",
            "Only the last batch is used: the loop's body is too short (indentation?).",
            {"train_epoch": _only_last},
        ),
    ),
)
