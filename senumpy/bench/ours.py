"""Our own runs of a workload."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from senumpy.bench.workloads import ModelWork, OpWork, Work
from senumpy.engines import Engine, engine
from senumpy.models import create_model
from senumpy.training import SGD

Run = Callable[[], Any]


def prepare(name: str, work: Work, threads: int) -> Run:
    """Return a function that does the work once on the engine of this name.

    "numba-exact" is the engine without Winograd, "numba-steps" does a residual tail operation by operation.
    """
    kind, _, form = name.partition("-")
    options: dict[str, Any] = {"threads": threads, "exact": form == "exact"} if kind == "numba" else {}
    made = engine(kind, **options)
    if isinstance(work, ModelWork):
        return model_run(made, work)
    return _tail_in_steps(made, work) if form == "steps" else _op(made, work)


def model_run(made: Engine, work: ModelWork) -> Run:
    """Return a function that does a network's work once on an engine."""
    rng = np.random.default_rng(0)
    x: Any = rng.standard_normal((work.batch, work.channels, work.size, work.size), dtype=np.float32)
    x = channels_last(x)  # the engine's own order; PyTorch gets its own, too
    x = made.asarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)  # a copy to a device is in C order
    if work.train:
        labels = rng.integers(work.classes, size=work.batch)
        step = training_step(made, work.model, work.classes, work.channels)
        return lambda: step(x, labels)
    model = create_model(work.model, num_classes=work.classes, in_channels=work.channels, engine=made)
    inference = contextlib.ExitStack()
    inference.enter_context(model.inference())  # weights are prepared once, in the first call

    def infer(_keeps_the_mode: Any = inference) -> Any:
        return model.forward(x)

    return infer


def training_step(made: Engine, name: str, classes: int, channels: int = 3) -> Callable[[Any, Any], None]:
    """Return a training step of a new network as a function of images and labels."""
    model = create_model(name, num_classes=classes, in_channels=channels, engine=made)
    sgd = SGD(model, momentum=0.9, weight_decay=1e-4)
    model.release_caches()

    def step(x: Any, labels: Any) -> None:
        _, cache = made.softmax_cross_entropy_forward(model.forward(x), labels)
        model.backward(made.softmax_cross_entropy_backward(1.0, cache).dlogits, need_dx=False)
        sgd.step(0.01)

    return step


def _op(made: Engine, work: OpWork) -> Run:
    arrays = [None if a is None else channels_last(a) for a in random_arrays(work)]
    forward, backward = (getattr(made, f"{work.op}_{way}") for way in ("forward", "backward"))
    settings = dict(work.settings)
    y, _ = forward(*arrays, **settings)
    dy = channels_last(np.random.default_rng(1).standard_normal(y.shape, dtype=np.float32))

    def run() -> Any:
        _, cache = forward(*arrays, **settings)
        return backward(dy, cache)

    return run


def _tail_in_steps(made: Engine, work: OpWork) -> Run:
    """Return the residual tail as its operations, each with its own passes over the activation."""
    arrays: list[Any] = [None if a is None else channels_last(a) for a in random_arrays(work)]
    c, gamma, beta, *se, shortcut = arrays
    dy = channels_last(np.random.default_rng(1).standard_normal(work.shapes[0], dtype=np.float32))

    def run() -> Any:
        v, norm_cache = made.batchnorm2d_forward(c, gamma, beta)
        scaled, se_cache = made.squeeze_excite_forward(v, *se)
        total, add_cache = made.residual_add_forward(scaled, shortcut)
        _, relu_cache = made.relu_forward(total)
        branch, dshortcut = made.residual_add_backward(made.relu_backward(dy, relu_cache).dx, add_cache)
        dv, *se_gradients = made.squeeze_excite_backward(branch, se_cache)
        return (*made.batchnorm2d_backward(dv, norm_cache), *se_gradients, dshortcut)

    return run


def random_arrays(work: OpWork) -> list[np.ndarray[Any, Any] | None]:
    """Return the arguments: the same for every library."""
    rng = np.random.default_rng(0)
    return [None if shape is None else rng.standard_normal(shape, dtype=np.float32) for shape in work.shapes]


def channels_last(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return an activation in channels-last memory, other arrays as they are."""
    if array.ndim != 4 or array.shape[2] < 7:  # kernels
        return array
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
