"""Every way of convolving, on shapes that take it: Winograd, patches in chunks, small groups; the choice."""

from __future__ import annotations

import numpy as np
import pytest

import senumpy
from senumpy import ops

SHAPES = {  # x, w, settings
    "3x3": ((3, 18, 9, 11), (20, 18, 3, 3), {"padding": 1}),
    "3x3, padding 2": ((2, 17, 6, 5), (16, 17, 3, 3), {"padding": 2}),
    "3x3, no padding": ((2, 16, 7, 8), (33, 16, 3, 3), {}),
    "1x1": ((3, 20, 5, 7), (36, 20, 1, 1), {}),
    "1x1, stride 2": ((3, 20, 5, 7), (36, 20, 1, 1), {"stride": 2}),
    "3x3, stride 2": ((3, 12, 9, 10), (8, 12, 3, 3), {"padding": 1, "stride": 2}),
    "7x7, stride 2": ((2, 3, 23, 21), (16, 3, 7, 7), {"padding": 3, "stride": 2}),
    "depthwise": ((2, 40, 9, 13), (40, 1, 3, 3), {"padding": 1, "groups": 40}),
    "depthwise, stride 2": ((2, 36, 9, 13), (72, 1, 3, 3), {"padding": 1, "stride": 2, "groups": 36}),
    "groups of 4": ((2, 32, 8, 9), (32, 4, 3, 3), {"padding": 1, "groups": 8}),
    "groups of 16": ((2, 64, 5, 6), (32, 16, 3, 3), {"padding": 1, "groups": 4}),
    "groups of 20": ((2, 40, 7, 6), (60, 20, 3, 3), {"padding": 1, "groups": 2}),
    "uneven": (
        (2, 6, 9, 8), (4, 3, 2, 3), {"padding": (1, 2), "stride": (2, 1), "dilation": (1, 2), "groups": 2},
    ),
}  # fmt: skip


def convolved(engine, x, w, settings, dtype):
    """Return result and gradients in NumPy for a random signed upstream gradient."""
    y, cache = engine.conv2d_forward(
        engine.asarray(x.astype(dtype)), engine.asarray(w.astype(dtype)), **settings
    )
    dy = np.random.default_rng(1).normal(size=y.shape)
    gradients = engine.conv2d_backward(engine.asarray(dy.astype(dtype)), cache)
    return [engine.to_numpy(a) for a in (y, gradients.dx, gradients.dw)]


@pytest.fixture(params=SHAPES)
def shape(request):
    return SHAPES[request.param]


def arguments(shape):
    rng = np.random.default_rng(0)
    x_shape, w_shape, settings = shape
    return rng.normal(size=x_shape), rng.normal(size=w_shape), settings


@pytest.fixture
def small_workspace(engine, monkeypatch):
    monkeypatch.setattr(engine.runtime, "workspace", 1)  # one image at a time


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("chunks", [False, True])
def test_every_way(engine, shape, dtype, chunks, request):
    if chunks:
        request.getfixturevalue("small_workspace")
    x, w, settings = arguments(shape)
    want = convolved(senumpy.engine("numpy"), x, w, settings, "float64")
    for exact in (True, False):
        engine.runtime.exact, before = exact, engine.runtime.exact
        try:
            got = convolved(engine, x, w, settings, dtype)
        finally:
            engine.runtime.exact = before
        # Winograd's transforms amplify rounding: an error of 5e-5 on unit-variance data (ops: 1e-5).
        tolerance = 1e-13 if dtype == "float64" else 1e-5 if exact else 1e-4
        for a, b in zip(got, want, strict=True):
            assert np.max(np.abs(a - b)) <= tolerance * np.max(np.abs(b))


@pytest.mark.parametrize(
    ("name", "dtype", "options", "ways"),
    [
        ("1x1", "float32", {}, ("pointwise",)),
        ("3x3", "float32", {}, ("winograd", "patches")),
        ("3x3", "float64", {}, ("patches",)),
        ("3x3", "float32", {"exact": True}, ("patches",)),
        ("3x3", "float32", {"precision": "tf32"}, ("patches",)),
        ("7x7, stride 2", "float32", {}, ("patches",)),
        ("depthwise", "float32", {}, ("grouped",)),
        ("groups of 16", "float32", {}, ("grouped", "patches")),
        ("groups of 20", "float32", {}, ("patches",)),
    ],
)
def test_which_ways_there_are(cupy, name, dtype, options, ways):
    engine = senumpy.engine("cupy", **options)
    x, w, settings = arguments(SHAPES[name])
    _, cache = engine.conv2d_forward(
        engine.asarray(x.astype(dtype)), engine.asarray(w.astype(dtype)), **settings
    )
    assert cache.conv.ways == ways


@pytest.mark.parametrize("name", ["7x7, stride 2", "groups of 16", "groups of 20"])
def test_patches_that_stay_in_the_cache(cupy, name, monkeypatch):
    from senumpy.engines.cupy import choices

    engine = senumpy.engine("cupy")
    x, w, settings = arguments(SHAPES[name])
    whole = convolved(engine, x, w, settings, "float64")
    engine.runtime.choices.taken.clear()
    engine.runtime.device = engine.runtime.device._replace(cache=20_000)
    times = {"patches": 2.0, "grouped": 3.0, "cached": 1.0}
    monkeypatch.setattr(choices, "_milliseconds", lambda compute, way: times[way])
    cached = convolved(engine, x, w, settings, "float64")
    assert set(engine.runtime.choices.taken.values()) == {"cached"}
    for a, b in zip(whole, cached, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-11)


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_way_is_chosen_by_measurement_or_by_rule(cupy, monkeypatch, deterministic):
    from senumpy.engines.cupy import choices

    times = {"winograd": 3.0, "patches": 1.0}
    monkeypatch.setattr(choices, "_milliseconds", lambda compute, way: times[way])
    engine = senumpy.engine("cupy", deterministic=deterministic)
    convolved(engine, *arguments(SHAPES["3x3"]), "float32")
    assert set(engine.runtime.choices.taken.values()) == {"winograd" if deterministic else "patches"}
    assert engine.runtime.choices.price == (3 * 2.0 if deterministic else 0.0)  # forward, dx, dw
    convolved(engine, *arguments(SHAPES["3x3"]), "float32")  # measured once
    assert len(engine.runtime.choices.taken) == 3


def test_the_stem_s_rows_are_aligned(engine, cupy):
    """Tensor cores want rows that begin at multiples of 16 bytes: 148 numbers where a window sees 147."""
    cupy.cuda.cublas.calls.clear()
    x, w, settings = arguments(SHAPES["7x7, stride 2"])
    convolved(engine, x, w, settings, "float32")
    assert [148 in call for call in cupy.cuda.cublas.calls] == [True] * len(cupy.cuda.cublas.calls)
    assert not any(147 in call for call in cupy.cuda.cublas.calls)


def test_tf32_rounds_the_factors_and_leaves_cublas_as_it_was(cupy):
    engine = senumpy.engine("cupy", precision="tf32")
    x, w, settings = arguments(SHAPES["1x1"])
    cupy.cuda.cublas.calls.clear()
    got = convolved(engine, x, w, settings, "float32")
    assert {mode for *_, mode in cupy.cuda.cublas.calls} == {3}
    assert cupy.cuda.cublas.mode == 0
    want = convolved(senumpy.engine("numpy"), x, w, settings, "float64")
    for a, b in zip(got, want, strict=True):
        # Each factor is off by 2^-11 at most: so is the product twice, and a sum of many by less on the
        # whole.
        error = np.max(np.abs(a - b)) / np.max(np.abs(b))
        assert 1e-6 < error < 2.0**-10
    convolved(engine, x, w, settings, "float64")
    assert cupy.cuda.cublas.calls[-1][-1] == 0  # float64 stays float64


def test_products_at_offsets_and_added_up(engine, cupy):
    from senumpy.engines.cupy.products import Matrix, multiply

    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 3, 5))
    device = [cupy.asarray(np.concatenate([[9.0], array.reshape(-1)])) for array in (a, b, c)]
    left, right, out = (
        Matrix(array, step, size, first=1)
        for array, step, size in zip(device, (4, 4, 5), (12, 20, 15), strict=True)
    )
    multiply(engine.runtime, left, right._replace(turned=True), out, 3, 5, 4, batch=2, add=True)
    want = c + a @ b.transpose(0, 2, 1)
    np.testing.assert_allclose(cupy.asnumpy(device[2])[1:], want.reshape(-1), rtol=1e-14)
    assert cupy.asnumpy(device[2])[0] == 9.0


def test_a_batch_beyond_the_grid_is_refused(engine):
    x = engine.zeros((65536, 1, 2, 2), "float32")
    with pytest.raises(senumpy.InputError, match="65,536 images: wanted at most 65,535"):
        engine.global_avg_pool_forward(x)


def test_the_operations_give_what_the_kernels_give(engine, ops_on_device):
    x, w, settings = arguments(SHAPES["uneven"])
    assert ops_on_device.conv2d_forward is ops.conv2d_forward
    for a, b in zip(
        convolved(engine, x, w, settings, "float64"), convolved(ops_on_device, x, w, settings, "float64"),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(a, b, atol=1e-12)
