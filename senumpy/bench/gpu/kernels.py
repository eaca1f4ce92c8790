"""The kernels that memory limits, each held against the bandwidth of a copy on the same device.

A kernel's bytes are those of the activations that it has to read and write at least; vectors and sums of
channels are left out. Most runs are calls of the functions that the engine's operations are made of. Where
a kernel is over before Python has prepared the next one, the launch alone is repeated (`_launches`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from senumpy.bench.gpu.rows import Goal, Result, Row
from senumpy.bench.gpu.session import OURS, Run, Session
from senumpy.models import create_model

_FLOAT = 4  # bytes
_PATTERN = 2**20  # random numbers, repeated: memory doesn't mind
_EPS = 1e-5
SHARE, AIM = 0.7, 0.85
PRECISION = "float32"  # there are hardly any products here


class Kernel(NamedTuple):
    """What is measured, what it has to move, and whether memory limits it."""

    title: str
    moved_bytes: int
    run: Run
    limited_by_memory: bool = True


def measure_copy(session: Session) -> None:
    """Measure the copy, once for all works."""
    if session.copy_gbytes is not None:
        return
    session.progress("copy bandwidth")
    found = session.attempt("copy", OURS, lambda: _copy_seconds(session))
    if found is None:
        return
    how, times = found
    size = session.settings.copied
    session.copy_gbytes = 2e-9 * size / statistics.median(times)
    result = _result(
        f"copy of {size / 2**20:,.0f} MiB by CuPy", 2 * size, times, session.copy_gbytes, note=how
    )
    session.add(Row("copy", result.name, PRECISION, [result]))


def measure_kernels(session: Session) -> None:
    """Measure one kernel after the other."""
    measure_copy(session)
    shapes = [(session.settings.batch, c, side, side) for c, side in session.settings.activations]
    groups: list[tuple[str, Callable[[], list[Kernel]]]] = [
        *((_named("passes over", shape), partial(_normalising, session, shape)) for shape in shapes),
        ("max pool", partial(_pooling, session)),
        ("prepare images", partial(_images, session)),
        ("SGD update", partial(_update, session)),
        ("loss", partial(_loss, session)),
    ]
    for title, group in groups:
        session.progress(title)
        session.clean()
        for kernel in session.attempt(title, OURS, group) or []:
            times = session.attempt(kernel.title, OURS, partial(session.by_events, kernel.run))
            if times is not None:
                session.add(_row(session, kernel, times))


def _row(session: Session, kernel: Kernel, times: list[float]) -> Row:
    result = _result(kernel.title, kernel.moved_bytes, times, session.copy_gbytes)
    goals = []
    if kernel.limited_by_memory and result.share is not None:
        goals.append(Goal("share of the copy bandwidth", result.share, SHARE, AIM))
    return Row("kernels", kernel.title, PRECISION, [result], goals)


def _result(
    name: str, moved: int, times: list[float], copy_gbytes: float | None, note: str | None = None
) -> Result:
    seconds = statistics.median(times)
    gbytes = 1e-9 * moved / seconds
    share = gbytes / copy_gbytes if copy_gbytes else None
    return Result(
        name, seconds, max(times) / min(times), gbytes=gbytes, share=share, moved_bytes=moved, note=note
    )


def _copy_seconds(session: Session) -> tuple[str, list[float]]:
    """Return the faster one of two ways to copy, and its times: a limit is what can be reached."""
    cupy = session.cupy
    source = cupy.zeros(session.settings.copied // _FLOAT, "float32")
    target = cupy.zeros(source.size, "float32")

    def assign() -> None:
        target[...] = source

    ways = {"assigned": session.by_events(assign), "copied": session.by_events(source.copy)}
    best = min(ways, key=lambda way: statistics.median(ways[way]))
    return best, ways[best]


def _normalising(session: Session, shape: tuple[int, int, int, int]) -> list[Kernel]:
    """Return batch norm's passes and the residual tail's, over one activation."""
    from senumpy.engines.cupy import norm

    made = session.engine(PRECISION)
    runtime, size = made.runtime, prod(shape) * _FLOAT
    c, hidden = shape[1], max(1, shape[1] // 16)
    x, dy, shortcut = (_filled(made, prod(shape), seed) for seed in range(3))
    gamma, beta, *rest = (
        _filled(made, prod(sizes), 3).reshape(sizes)
        for sizes in ((c,), (c,), (hidden, c), (hidden,), (c, hidden), (c,))
    )
    se: Any = tuple(rest)  # w1, b1, w2, b2

    def statistics_of(squeeze: bool) -> Any:
        return norm.of_batch(runtime, x, shape, gamma, beta, _EPS, squeeze=squeeze)

    plain, squeezed = statistics_of(False), statistics_of(True)
    found = norm.gradients(runtime, dy, plain, norm.BY_AFFINE)
    _, cache = norm.tail(runtime, squeezed, se, "sigmoid", shortcut)
    runs: list[tuple[str, int, Run]] = [
        ("statistics", 1, lambda: statistics_of(False)),
        ("normalise + ReLU", 2, lambda: norm.transform(runtime, plain, relu=True)),
        ("gradient sums", 2, lambda: norm.gradients(runtime, dy, plain, norm.BY_AFFINE)),
        ("normalise back", 3, lambda: norm.pass_back(runtime, dy, plain, found, norm.BY_AFFINE)),
        # x and the shortcut in, y out
        ("residual tail", 3, lambda: norm.tail(runtime, squeezed, se, "sigmoid", shortcut)),
        # sums of dy, x and y; then these three again, dx and the shortcut's gradient out
        ("residual tail back", 8, lambda: norm.tail_back(runtime, dy, cache)),
    ]
    return [Kernel(_named(name, shape), passes * size, run) for name, passes, run in runs]


def _pooling(session: Session) -> list[Kernel]:
    """Return the stem's pool, both ways; beside activations it moves a byte for each result."""
    made, (channels, side) = session.engine(PRECISION), session.settings.pooled
    shape = (session.settings.batch, channels, side, side)
    x = _image(made, shape)
    y, cache = made.max_pool2d_forward(x, kernel=3, stride=2, padding=1)
    dy = _image(made, y.shape)
    moved = _FLOAT * (prod(shape) + prod(y.shape)) + prod(y.shape)
    return [
        Kernel(
            _named("max pool", shape),
            moved,
            lambda: made.max_pool2d_forward(x, kernel=3, stride=2, padding=1),
        ),
        Kernel(_named("max pool back", shape), moved, lambda: made.max_pool2d_backward(dy, cache)),
    ]


def _images(session: Session) -> list[Kernel]:
    """Return the preparation of images: a byte in, a float out."""
    made, n, side = session.engine(PRECISION), session.settings.batch, session.settings.size
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    offsets, flips = rng.integers(-4, 5, (n, 2)), rng.random(n) < 0.5
    factors = np.full(3, 0.018, np.float32), np.full(3, -2.0, np.float32)
    run = _launches(made, lambda: made.prepare_images(images, offsets, flips, *factors))
    return [Kernel(_named("prepare images", (n, 3, side, side)), images.size * (1 + _FLOAT), run)]


def _update(session: Session) -> list[Kernel]:
    """Return SGD's update of all parameters: three arrays in, two out."""
    made = session.engine(PRECISION)
    model = create_model(session.settings.model, num_classes=session.settings.classes)
    shapes = [parameter.value.shape for _, parameter in model.named_parameters()]
    values, gradients, velocities = (
        [_filled(made, prod(shape), seed).reshape(shape) for shape in shapes] for seed in range(3)
    )
    decays = [1e-4] * len(shapes)

    def update() -> None:
        made.sgd_update_all(values, gradients, velocities, decays, lr=0.01, momentum=0.9)

    moved = 5 * _FLOAT * sum(map(prod, shapes))
    title = f"SGD update, {session.settings.model}"
    return [
        Kernel(title, moved, _launches(made, update)),
        Kernel(f"{title}, whole call", moved, update, limited_by_memory=False),
    ]


def _loss(session: Session) -> list[Kernel]:
    """Return the loss both ways; it is too small for memory to limit it."""
    made, n, k = session.engine(PRECISION), session.settings.batch, session.settings.classes
    logits = _filled(made, n * k, 0).reshape((n, k))
    labels = np.random.default_rng(0).integers(k, size=n)
    _, cache = made.softmax_cross_entropy_forward(logits, labels)
    moved = 2 * _FLOAT * n * k
    runs = {
        "softmax cross-entropy": lambda: made.softmax_cross_entropy_forward(logits, labels),
        "softmax cross-entropy back": lambda: made.softmax_cross_entropy_backward(1.0, cache),
    }
    return [
        Kernel(f"{name} {n}x{k}", moved, _launches(made, run), limited_by_memory=False)
        for name, run in runs.items()
    ]


def _launches(made: Any, call: Run) -> Run:
    """Return what repeats the launches of a call's kernels and nothing else: no uploads, no checks."""
    runtime = made.runtime
    launch = runtime.launch
    launches: list[tuple[Any, ...]] = []

    def noted(*arguments: Any) -> None:
        launches.append(arguments)
        launch(*arguments)

    runtime.launch = noted
    try:
        result = call()
    finally:
        del runtime.launch  # the method is there again

    def run(_keeps: Any = (call, result)) -> None:
        for arguments in launches:
            launch(*arguments)

    return run


def _image(made: Any, shape: Any) -> Any:
    n, c, h, w = shape
    return _filled(made, prod(shape), 0).reshape((n, h, w, c)).transpose(0, 3, 1, 2)


def _filled(made: Any, count: int, seed: int) -> Any:
    """Return so many normal random numbers on the device, flat."""
    array = made.zeros((count,), "float32")
    pattern = np.random.default_rng(seed).standard_normal(min(count, _PATTERN), dtype=np.float32)
    drawn = made.asarray(pattern)
    for first, last in _parts(count):
        array[first:last] = drawn[: last - first]
    return array


def _parts(count: int) -> Iterator[tuple[int, int]]:
    for first in range(0, count, _PATTERN):
        yield first, min(count, first + _PATTERN)


def _named(name: str, shape: tuple[int, ...]) -> str:
    n, c, h, _ = shape
    return f"{name} {n}x{c}x{h}x{h}"
