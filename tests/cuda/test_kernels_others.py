"""Each kernel of pools, the loss, the excitation, images and SGD, beside its twin in NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.sources import THREADS, Build
from tests.cuda.twins.compare import (
    DTYPES,
    DTYPES_AND_WIDTHS,
    Changed,
    Result,
    assert_close,
    compare,
    lines,
    tiles,
    twin_of,
)
from tests.cuda.twins.others import RELU, SIGMOID, TANH

every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_width = pytest.mark.parametrize(("dtype", "width"), DTYPES_AND_WIDTHS)


@pytest.fixture
def random():
    return np.random.default_rng(5)


# -- pools: kernel, stride, padding, input, output (with ceil_mode in the last) ----------------------------

POOLS = [
    ((2, 2), (2, 2), (0, 0), (5, 6), (2, 3)),
    ((3, 3), (2, 2), (1, 1), (7, 8), (4, 4)),
    ((2, 3), (1, 2), (1, 0), (4, 9), (5, 4)),
    ((3, 2), (3, 2), (1, 0), (6, 5), (3, 3)),
]
pools = pytest.mark.parametrize(("kernel", "stride", "pad", "size", "out"), POOLS)
batches = pytest.mark.parametrize(("images", "vecs"), [(1, 1), (2, 5), (3, 33)])


@pools
@batches
@every_width
@pytest.mark.parametrize("values", ["normal", "ties", "nan"])
def test_max_pool(engine, cupy, random, kernel, stride, pad, size, out, images, vecs, dtype, width, values):
    channels = vecs * width
    shape = images, *size, channels
    x = random.integers(-1, 2, shape).astype(float) if values == "ties" else random.standard_normal(shape)
    if values == "nan":
        x[random.random(shape) < 0.2] = np.nan
    pixels = images * out[0] * out[1]
    compare(
        engine, cupy, Build("pooling", dtype, width), "max_pool", tiles(pixels, vecs), x, *size, vecs,
        *out, *kernel, *stride, *pad, pixels, Result(pixels * channels), Result(pixels * channels, "uint8"),
    )  # fmt: skip


@pools
@batches
@every_width
def test_max_pool_back(engine, cupy, random, kernel, stride, pad, size, out, images, vecs, dtype, width):
    channels = vecs * width
    pixels, windows = (images * h * w for h, w in (size, out))
    winner = random.integers(0, kernel[0] * kernel[1], windows * channels).astype(np.uint8)
    dy = random.standard_normal(windows * channels)
    compare(
        engine, cupy, Build("pooling", dtype, width), "max_pool_back", tiles(pixels, vecs), dy, winner,
        *size, vecs, *out, *kernel, *stride, *pad, pixels, Result(pixels * channels), terms=9,
    )  # fmt: skip


@pools
@batches
@every_width
@pytest.mark.parametrize("name", ["avg_pool", "avg_pool_back"])
def test_avg_pool(engine, cupy, random, name, kernel, stride, pad, size, out, images, vecs, dtype, width):
    channels = vecs * width
    given, written = (size, out) if name == "avg_pool" else (out, size)
    source = random.standard_normal((images, *given, channels))
    counts = random.integers(1, 10, out).astype(float)
    pixels = images * written[0] * written[1]
    compare(
        engine, cupy, Build("pooling", dtype, width), name, tiles(pixels, vecs), source, counts, *size,
        vecs, *out, *kernel, *stride, *pad, pixels, Result(pixels * channels), terms=9,
    )  # fmt: skip


@every_width
@pytest.mark.parametrize(("images", "rows", "vecs"), [(1, 1, 1), (2, 9, 33), (20, 6, 70)])
@pytest.mark.parametrize("values", ["normal", "ties", "nan"])
def test_global_max(engine, cupy, random, dtype, width, images, rows, vecs, values):
    channels = vecs * width
    shape = images, rows, channels
    x = random.integers(-1, 2, shape).astype(float) if values == "ties" else random.standard_normal(shape)
    if values == "nan":
        x[random.random(shape) < 0.2] = np.nan
    size = images * channels
    compare(
        engine, cupy, Build("pooling", dtype, width), "global_max", tiles(images, vecs), x, rows, vecs,
        images, Result(size), Result(size, "int32"),
    )  # fmt: skip


@every_width
@pytest.mark.parametrize(("images", "h", "w", "vecs"), [(1, 1, 1, 1), (2, 3, 5, 33), (3, 4, 2, 70)])
def test_global_max_back(engine, cupy, random, dtype, width, images, h, w, vecs):
    channels = vecs * width
    dy = random.standard_normal(images * channels)
    winner = random.integers(0, h * w, images * channels).astype(np.int32)
    pixels = images * h * w
    compare(
        engine, cupy, Build("pooling", dtype, width), "global_max_back", tiles(pixels, vecs), dy, winner, h,
        w, vecs, pixels, Result(pixels * channels),
    )  # fmt: skip


# -- loss --------------------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("n", "classes"), [(1, 1), (3, 10), (5, 256), (2, 300)])
def test_cross_entropy(engine, cupy, random, dtype, smoothing, n, classes):
    logits, labels = random.normal(0, 3, (n, classes)), random.integers(0, classes, n)
    compare(
        engine, cupy, Build("loss", dtype, 1), "cross_entropy", ((n,), (THREADS,)), logits, labels, classes,
        smoothing, Result(n * classes), Result(n), terms=classes + 16,
    )  # fmt: skip


@every_dtype
def test_cross_entropy_of_a_class_ruled_out_and_of_large_logits(engine, cupy, dtype):
    logits = np.array([[-np.inf, 2.0, 1.0], [1000.0, 999.0, -1000.0]])
    with np.errstate(invalid="ignore"):
        compare(
            engine, cupy, Build("loss", dtype, 1), "cross_entropy", ((2,), (THREADS,)), logits,
            np.array([1, 1]), 3, 0.0, Result(6), Result(2), terms=16,
        )  # fmt: skip


@every_dtype
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(("n", "classes"), [(1, 1), (3, 10), (2, 300)])
def test_cross_entropy_back(engine, cupy, random, dtype, smoothing, n, classes):
    p, labels = random.random((n, classes)), random.integers(0, classes, n)
    compare(
        engine, cupy, Build("loss", dtype, 1), "cross_entropy_back", lines(n * classes), p, labels, classes,
        n * classes, smoothing, -0.7 / n, Result(n * classes), terms=2,
    )  # fmt: skip


# -- excitation --------------------------------------------------------------------------------------------

layers = pytest.mark.parametrize(("n", "channels"), [(1, 1), (3, 7), (4, 100)])
kinds = pytest.mark.parametrize("kind", [SIGMOID, TANH, RELU])


@every_dtype
@layers
@pytest.mark.parametrize("with_relu", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_add_bias(engine, cupy, random, dtype, n, channels, with_relu, with_bias):
    x = Changed(random.standard_normal((n, channels)))
    bias = random.standard_normal(channels) if with_bias else None
    count = n * channels
    compare(
        engine, cupy, Build("excite", dtype, 1), "add_bias", lines(count), x, bias, count, channels, with_relu
    )


@every_dtype
@layers
@kinds
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_norm", [False, True])
def test_gates(engine, cupy, random, dtype, n, channels, kind, with_bias, with_norm):
    logits = random.normal(0, 3, (n, channels))
    logits.flat[0] = -2000.0  # exp(2000) is infinite
    bias = random.standard_normal(channels) if with_bias else None
    norm = [random.standard_normal(channels) if with_norm else None for _ in range(2)]
    count = n * channels
    results = [Result(count) if with_norm else None for _ in range(2)]
    compare(
        engine, cupy, Build("excite", dtype, 1), "gates", lines(count), logits, bias, count, channels, kind,
        *norm, Result(count), *results, terms=4,
    )  # fmt: skip


@every_dtype
@layers
@kinds
@pytest.mark.parametrize("with_norm", [False, True])
def test_gates_back(engine, cupy, random, dtype, n, channels, kind, with_norm):
    g1, s = (random.standard_normal((n, channels)) for _ in range(2))
    s = np.maximum(s, 0) if kind == RELU else np.tanh(s)
    g0 = random.standard_normal((n, channels)) if with_norm else None
    gamma, beta = (random.standard_normal(channels) if with_norm else None for _ in range(2))
    count = n * channels
    compare(
        engine, cupy, Build("excite", dtype, 1), "gates_back", lines(count), g0, g1, gamma, beta, s, count,
        channels, kind, Result(count), terms=8,
    )  # fmt: skip


# -- images and weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("with_offsets", [False, True])
@pytest.mark.parametrize("with_flips", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (3, 5, 7, 3), (4, 8, 6, 3)], ids=str)
def test_prepare_images(engine, cupy, random, with_offsets, with_flips, shape):
    n, h, w, c = shape
    images = random.integers(0, 256, shape).astype(np.uint8)
    offsets = random.integers(-3, 4, (n, 2)).astype(np.int32) if with_offsets else None
    flips = random.integers(0, 2, n).astype(np.uint8) if with_flips else None
    scale, shift = random.random(c) / 64, random.standard_normal(c)
    compare(
        engine, cupy, Build("images", "float32", 1), "prepare_images", lines(images.size), images, offsets,
        flips, scale, shift, h, w, c, images.size, Result(images.size), terms=2,
    )  # fmt: skip


def test_images_are_rounded_after_the_product_and_after_the_sum(engine, cupy, random):
    images = np.arange(256, dtype=np.uint8)
    scale, shift = np.float32([0.0171]), np.float32([-2.117])
    x = cupy.empty(256, "float32")
    arrays = (cupy.asarray(a) for a in (scale, shift))
    engine.runtime.launch(
        Build("images", "float32", 1), "prepare_images", *lines(256), cupy.asarray(images), None, None,
        *arrays, 16, 16, 1, 256, x,
    )  # fmt: skip
    np.testing.assert_array_equal(cupy.asnumpy(x), images.astype(np.float32) * scale + shift)


@every_dtype
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("a_block", [7, 300])
def test_sgd(engine, cupy, random, dtype, nesterov, a_block):
    sizes, decays, lr, momentum = (1, 7, 30, 601), (0.0, 1e-2, 0.3, 0.1), 0.05, 0.9
    values, gradients, velocities = (
        [random.standard_normal(size).astype(dtype) for size in sizes] for _ in range(3)
    )
    on_device = [[cupy.asarray(a) for a in kind] for kind in (values, gradients, velocities)]
    addresses = [[a.data.ptr for a in kind] for kind in on_device]
    owners, firsts = zip(
        *((k, f) for k, size in enumerate(sizes) for f in range(0, size, a_block)), strict=True
    )
    arrays = {
        "tensors": np.array([*addresses, sizes], "int64"), "decays": np.array(decays),
        "owners": np.array(owners, "int32"), "firsts": np.array(firsts, "int64"),
    }  # fmt: skip
    tensors, *others = map(cupy.asarray, arrays.values())
    engine.runtime.launch(
        Build("sgd", dtype, 1), "sgd", (len(owners),), (THREADS,), tensors, len(sizes), *others, a_block, lr,
        momentum, nesterov,
    )  # fmt: skip
    exact = [[a.astype(np.float64) for a in kind] for kind in (values, gradients, velocities)]
    expected = twin_of("sgd")(None, *exact, decays, lr, momentum, nesterov)
    for found, wanted in zip((on_device[0], on_device[2]), expected, strict=True):
        for one, other in zip(found, wanted, strict=True):
            assert_close(cupy.asnumpy(one), other, 4)
    for before, after in zip(gradients, on_device[1], strict=True):
        np.testing.assert_array_equal(cupy.asnumpy(after), before)
