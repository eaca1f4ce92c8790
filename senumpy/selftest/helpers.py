"""What layers and the optimiser need of an engine beside operations: arrays, sums, updates, inference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from senumpy.engines import Engine
from senumpy.ops.arrays import Array
from senumpy.selftest.calls import to_host
from senumpy.selftest.outcome import Check, Outcome, holds, largest, within


def helper_checks(engine: Engine, oracle: Engine, seed: int) -> Iterator[Check]:
    """Yield checks of the array helpers and of what layers call in inference."""
    parts: dict[str, Callable[[Engine, Engine, np.random.Generator], Iterator[Outcome]]] = {
        "asarray": _asarray,
        "PyTorch's tensors": _tensors,
        "zeros": _zeros,
        "normal": _normal,
        "shifted": _shifted,
        "times": _times,
        "add_gradients": _add_gradients,
        "move_running": _move_running,
        "sgd_update": _sgd_update,
        "sgd_update_all": _sgd_update_all,
        "prepare_images": _prepare_images,
        "feed": _feed,
        "feed under load": _feed_under_load,
        "conv_bn_inference": _conv_bn_inference,
        "residual_end_inference": _residual_end_inference,
        "squeeze_excite_inference": _squeeze_excite_inference,
        "gates into a convolution": _gated_convolution,
    }
    for name, part in parts.items():
        yield Check(name, "", seed, partial(part, engine, oracle, np.random.default_rng([seed, 17])))


def _asarray(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    """Yield whether arrays come back as they were, of every dtype, from every memory order."""
    for dtype in ("float32", "float64", "int64", "uint8"):
        array = (100 * rng.uniform(size=(3, 4, 5))).astype(dtype)
        for given in (array, array.transpose(2, 0, 1), array[::2, ::-1]):
            back = to_host(engine, engine.asarray(given))
            same = back.dtype == given.dtype and np.array_equal(back, given)
            yield holds(f"{dtype} there and back", same, f"found {back.dtype}, {back.shape}")
    turned = to_host(engine, engine.asarray(np.arange(3.0), dtype="float32"))
    yield holds("another dtype", turned.dtype == np.float32, f"found {turned.dtype}, wanted float32")
    own = engine.asarray(np.arange(3.0))
    same = np.array_equal(to_host(engine, engine.asarray(own)), np.arange(3.0))
    yield holds("its own arrays", same, "asarray changes an array of its engine")


def _tensors(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    """Yield whether tensors share their memory with this engine's arrays, where PyTorch is installed."""
    try:
        import torch
    except ImportError:
        return
    on_gpu = engine.device_memory() is not None
    on_processor = isinstance(engine.asarray(np.zeros(1)), np.ndarray)
    if not on_processor and not (on_gpu and torch.cuda.is_available()):
        return
    tensor = torch.zeros(2, 3, 4, 5, device="cuda" if on_gpu else "cpu")
    array = engine.asarray(tensor)
    array[1, 2, 3, 4] = 7.0
    yield holds("taken without a copy", float(tensor[1, 2, 3, 4]) == 7.0, "the tensor doesn't see a change")
    back = torch.as_tensor(array, device=tensor.device)
    back[0, 0, 0, 0] = 5.0
    same = to_host(engine, array)[0, 0, 0, 0] == 5.0
    yield holds("given without a copy", same, "the array doesn't see a change of its tensor")


def _zeros(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    for dtype in ("float32", "float64"):
        made = engine.zeros((3, 5), dtype)
        found = to_host(engine, made)
        alike = found.dtype == dtype and found.shape == (3, 5) and not found.any()
        yield holds(dtype, alike, f"found {found.dtype} {found.shape}, wanted zeros of {dtype} (3, 5)")
        made[...] = 1.0
        fresh = to_host(engine, engine.zeros((3, 5), dtype))
        yield holds("new ones", not fresh.any(), "the next zeros are not zero")


def _normal(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    """Yield whether weights are drawn as everywhere: one seed makes one network on any engine."""
    for dtype in ("float32", "float64"):
        got, want = (
            to_host(e, e.normal((4, 3, 3), 0.3, np.random.default_rng(5), dtype)) for e in (engine, oracle)
        )
        same = got.dtype == want.dtype and np.array_equal(got, want)
        yield holds(dtype, same, f"other draws than numpy's, or another dtype ({got.dtype})")


def _shifted(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    x = rng.normal(size=(2, 3, 6, 5))
    for by in (1, -1, 2, -3):
        got, want = (to_host(e, e.shifted(e.asarray(x.copy()), by)) for e in (engine, oracle))
        yield holds(f"by {by}", np.array_equal(got, want), "found other values")


def _times(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    x = rng.normal(size=(2, 3, 6, 5))
    for dtype in ("float32", "float64"):
        given = engine.asarray(x.astype(dtype))
        got = to_host(engine, engine.times(given, 0.3))
        yield within(dtype, got, 0.3 * x, 1e-14 if dtype == "float64" else 1e-6)
        yield holds("dtype", got.dtype == dtype, f"found {got.dtype}, wanted {dtype}")
        unchanged = np.array_equal(to_host(engine, given), x.astype(dtype))
        yield holds("argument", unchanged, "the argument was changed")


def _add_gradients(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    a, b = rng.normal(size=(2, 2, 3, 6, 5)).astype(np.float32)
    part = engine.asarray(b.copy())
    got = to_host(engine, engine.add_gradients(engine.asarray(a.copy()), part))
    yield holds("sum", np.array_equal(got, a + b), "found other sums")
    yield holds("part", np.array_equal(to_host(engine, part), b), "the part was changed")


def _move_running(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    """Yield whether batch norm's running statistics move as they should."""
    for dtype, limit in (("float32", 1e-6), ("float64", 1e-15)):
        arrays = [rng.normal(size=300).astype(dtype) for _ in range(4)]
        found = []
        for e in (engine, oracle):
            running_mean, running_var, mean, var = (e.asarray(array.copy()) for array in arrays)
            e.move_running(running_mean, running_var, mean, var, count=9, momentum=0.1)
            found.append([to_host(e, running) for running in (running_mean, running_var)])
        for name, got, want in zip(("mean", "variance"), *found, strict=True):
            yield within(f"{dtype}, {name}", got, want, limit * (1.0 + largest(want)))


def _sgd_update(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    """Hold three updates of each kind to those of NumPy."""
    all_settings: list[dict[str, Any]] = [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ]
    for settings in all_settings:
        for dtype, limit in (("float64", 1e-13), ("float32", 1e-5)):
            start = rng.normal(size=(2, 5, 3, 3, 7)).astype(dtype)
            found = []
            for each in (engine, oracle):
                value, gradient = (each.asarray(array.copy()) for array in start)
                velocity = each.zeros(value.shape, dtype)
                for _ in range(3):
                    each.sgd_update(value, gradient, velocity, lr=0.1, **settings)
                found.append([to_host(each, array) for array in (value, velocity, gradient)])
            for what, got, want in zip(("value", "velocity"), *(f[:2] for f in found), strict=True):
                yield within(f"{what}, {dtype}, {settings or 'plain'}", got, want, limit)
            yield holds("gradient", np.array_equal(found[0][2], start[1]), "the gradient was changed")


def _sgd_update_all(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    """Hold an update of several parameters to updates of one after the other."""
    shapes, decays = [(8, 5, 3, 3), (8,), (3, 70)], [0.1, 0.0, 0.1]
    start = [[rng.normal(size=shape).astype(np.float32) for shape in shapes] for _ in range(3)]
    settings: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "nesterov": True}
    values, gradients, velocities = ([engine.asarray(a.copy()) for a in kind] for kind in start)
    engine.sgd_update_all(values, gradients, velocities, decays, **settings)
    for k, decay in enumerate(decays):
        value, gradient, velocity = (engine.asarray(kind[k].copy()) for kind in start)
        engine.sgd_update(value, gradient, velocity, weight_decay=decay, **settings)
        for what, got, want in (("value", values[k], value), ("velocity", velocities[k], velocity)):
            yield within(what, to_host(engine, got), to_host(engine, want), 1e-6)


def _images(rng: np.random.Generator, count: int) -> tuple[Array, Array, Array]:
    """Return images (N, H, W, C), the corners of their crops, and which are mirrored."""
    images = rng.integers(0, 256, (count, 9, 7, 3), dtype=np.uint8)
    return images, rng.integers(-4, 5, (count, 2)), rng.random(count) < 0.5


_SCALE = np.array([0.017, 0.018, 0.019], np.float32)
_SHIFT = np.array([-2.1, -2.0, -1.8], np.float32)


def _prepare_images(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    """Yield whether images are cropped, mirrored and normalised to the bits of NumPy."""
    images, offsets, flips = _images(rng, 5)
    before = images.copy()
    for crop, flip in ((None, None), (offsets, None), (offsets, flips)):
        got, want = (
            to_host(e, e.prepare_images(images, crop, flip, _SCALE, _SHIFT)) for e in (engine, oracle)
        )
        same = got.dtype == np.float32 and np.array_equal(got, want)
        what = f"cropped: {crop is not None}, mirrored: {flip is not None}"
        yield holds(what, same, f"other values than numpy's ({got.dtype}, {got.shape})")
    yield holds("images", np.array_equal(images, before), "the images were changed")


def _feed(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    """Yield whether batches come in their order, prepared, each with its labels."""
    batches = [(*_images(rng, count), np.arange(count)) for count in (4, 4, 3)]
    fed = engine.feed((batch for batch in batches), _SCALE, _SHIFT)
    # All are looked at after the last has come: an engine may fetch one while another is at work.
    found = list(fed)
    yield holds("batches", len(found) == len(batches), f"found {len(found)}, wanted {len(batches)}")
    for (x, labels), (images, crop, flip, wanted) in zip(found, batches, strict=True):
        want = oracle.to_numpy(oracle.prepare_images(images, crop, flip, _SCALE, _SHIFT))
        yield holds("images", np.array_equal(to_host(engine, x), want), "found other images")
        yield holds("labels", np.array_equal(labels, wanted), f"found {labels}, wanted {wanted}")


def _feed_under_load(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    """Yield whether images stay whole while a device is busy and the next ones are on their way to it.

    Were one batch written over another before its time, small ones on an idle device would hardly show it.
    """
    if engine.device_memory() is None:
        return  # nothing is on its way anywhere
    shape = (16, 224, 224, 3)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(3)]
    labels = np.arange(len(images[0]))
    order = [k % len(images) for k in range(12)]
    wanted = [oracle.prepare_images(image, None, None, _SCALE, _SHIFT) for image in images]
    busy = engine.asarray(rng.normal(size=(2048, 2048)).astype(np.float32))
    found = []
    for x, _ in engine.feed(((images[k], None, None, labels) for k in order), _SCALE, _SHIFT):
        engine.linear_forward(busy, busy)
        found.append(x)
    same = [np.array_equal(to_host(engine, x), wanted[k]) for x, k in zip(found, order, strict=True)]
    yield holds("images", all(same), f"batches {[k for k, held in enumerate(same) if not held]} are others")


# -- inference ---------------------------------------------------------------------------------------------


def _held(engine: Engine, oracle: Engine, name: str, *args: Array | None, **options: Any) -> Outcome:
    """Return whether a helper gives the oracle's result in float64."""
    found = []
    for each in (engine, oracle):
        placed = [None if array is None else each.asarray(array.copy()) for array in args]
        found.append(to_host(each, getattr(each, name)(*placed, **options)))
    got, want = found
    return within(str(options or "plain"), got, want, 1e-12 * (1 + largest(want)))


def _block(rng: np.random.Generator, outputs: int) -> tuple[list[Array], list[Array]]:
    """Return batch norm's four arrays and SE's for so many channels."""
    o, hidden = outputs, 3
    norm = [rng.normal(size=o), rng.normal(size=o), rng.normal(size=o), rng.uniform(0.5, 2, o)]
    shapes = [(hidden, o), (hidden,), (o, hidden), (o,)]
    return norm, [rng.normal(size=shape) for shape in shapes]


_SETTINGS: list[dict[str, Any]] = [{}, {"stride": 2, "padding": 1, "groups": 5, "eps": 0.1}]


def _weights(rng: np.random.Generator, options: dict[str, Any]) -> tuple[Array, Array]:
    x = rng.normal(size=(2, 20, 9, 8))
    return x, rng.normal(size=(20, 20 // options.get("groups", 1), 3, 3))


def _conv_bn_inference(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    norm, _ = _block(rng, 20)
    for options in _SETTINGS:
        yield _held(engine, oracle, "conv_bn_inference", *_weights(rng, options), *norm, **options)


def _residual_end_inference(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    norm, se = _block(rng, 20)
    shortcut = rng.normal(size=(2, 20, 9, 8))
    for block in (se, [None] * 4):
        x, w = _weights(rng, {})
        yield _held(
            engine, oracle, "residual_end_inference", x, w, *norm, *block, shortcut, padding=1, gate="tanh"
        )


def _squeeze_excite_inference(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    u = rng.normal(size=(3, 20, 9, 8))
    for name in ("squeeze_excite_inference", "squeeze_excite_gates"):
        for options in ({}, {"squeeze": "max", "gate": "relu"}):
            yield _held(engine, oracle, name, u, *_block(rng, 20)[1], **options)


def _gated_convolution(engine: Engine, oracle: Engine, rng: np.random.Generator) -> Iterator[Outcome]:
    norm, _ = _block(rng, 20)
    for options in (*_SETTINGS, {"groups": 20, "padding": 1}):
        x, w = _weights(rng, options)
        gates = rng.uniform(size=x.shape[:2])
        yield _held(engine, oracle, "gated_conv_bn_relu_inference", x, gates, w, *norm, **options)
