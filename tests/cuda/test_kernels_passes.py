"""Each kernel that goes over an activation, beside its twin in NumPy, for several launch geometries."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cuda.sources import Build
from tests.cuda.twins.compare import (
    DTYPES,
    DTYPES_AND_WIDTHS,
    GEOMETRIES,
    Changed,
    Result,
    columns,
    compare,
    lines,
)
from tests.cuda.twins.passes import BY_AFFINE, BY_RESULT, NO_RELU

passes = pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
shared_columns = pytest.mark.parametrize("across", [8, 32])  # of a block: 32 or 8 threads for each
every_build = pytest.mark.parametrize(("dtype", "width"), DTYPES_AND_WIDTHS)


@pytest.fixture
def normal():
    """Return signed random numbers of a size."""
    return np.random.default_rng(3).standard_normal


@every_build
@pytest.mark.parametrize("vecs", [1, 256, 300])
@pytest.mark.parametrize("with_relu", [False, True])
@pytest.mark.parametrize("with_other", [False, True])
def test_activate(engine, cupy, normal, dtype, width, vecs, with_relu, with_other):
    size = vecs * width
    x, other = normal(size), normal(size) if with_other else None
    build = Build("elementwise", dtype, width)
    compare(engine, cupy, build, "activate", lines(vecs), x, other, vecs, with_relu, Result(size))


def test_relu_lets_nan_through(engine, cupy):
    x = np.array([-1.0, np.nan, 2.0, 0.0])
    compare(
        engine, cupy, Build("elementwise", "float32", 4), "activate", lines(1), x, None, 1, True, Result(4)
    )


@every_build
@pytest.mark.parametrize("in_place", [False, True])
def test_activate_back(engine, cupy, normal, dtype, width, in_place):
    vecs = 300
    size = vecs * width
    dy, y = normal(size), np.maximum(normal(size), 0)
    dy = Changed(dy) if in_place else dy
    dx = dy if in_place else Result(size)
    compare(engine, cupy, Build("elementwise", dtype, width), "activate_back", lines(vecs), dy, y, vecs, dx)


@passes
@every_build
@pytest.mark.parametrize("present", ["xbstar", "Xbstar", "x", "t", "xs", "xbr", "Xbr", "Xa", "sa", "xta"])
def test_rescale(engine, cupy, normal, geometry, dtype, width, present):
    """`present`: x (X: y takes its place), (b)ias, s, shif(t), (a)ddend, (r)elu."""
    in_place, present = "X" in present, present.lower()
    channels = geometry.vecs * width
    size, of_images = geometry.images * geometry.rows * channels, geometry.images * channels
    sizes = {"x": size, "b": channels, "s": of_images, "t": of_images, "a": size}
    x, b, s, t, a = (normal(count) if letter in present else None for letter, count in sizes.items())
    x = Changed(x) if in_place else x
    y = x if in_place else Result(size)
    build = Build("elementwise", dtype, width)
    compare(
        engine, cupy, build, "rescale", geometry.launch, x, *geometry.sizes, b, s, t, a, "r" in present, y
    )


# -- statistics --------------------------------------------------------------------------------------------


@passes
@every_build
@pytest.mark.parametrize("offset", [0.0, 30.0])
def test_part_moments(engine, cupy, normal, geometry, dtype, width, offset):
    channels = geometry.vecs * width
    x = normal(geometry.images * geometry.rows * channels) + offset
    results = [Result(geometry.images * geometry.parts * channels) for _ in range(2)]
    build = Build("statistics", dtype, width)
    compare(
        engine, cupy, build, "part_moments", geometry.launch, x, *geometry.sizes, *results,
        terms=geometry.rows_a_part,
    )  # fmt: skip


@shared_columns
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("squeeze", [False, True])
@pytest.mark.parametrize(
    ("images", "rows", "rows_a_part", "channels"),
    [(1, 1, 8, 1), (3, 13, 5, 33), (41, 4, 4, 32), (2, 9, 8, 70)],
)
def test_batch_moments(engine, cupy, normal, across, dtype, squeeze, images, rows, rows_a_part, channels):
    parts = -(-rows // rows_a_part)
    size = images * parts * channels
    mean, square = normal(size), normal(size) ** 2
    sizes = images, parts, rows, rows_a_part, channels
    results = [Result(channels) for _ in range(4)]
    of_images = [Result(images * channels) if squeeze else None for _ in range(2)]
    compare(
        engine, cupy, Build("statistics", dtype, 1), "batch_moments", columns(channels, across), mean, square,
        *sizes, normal(channels), normal(channels), 1e-3, *results, *of_images, terms=images * parts,
    )  # fmt: skip


@passes
@every_build
@pytest.mark.parametrize("with_other", [False, True])
def test_part_sums(engine, cupy, normal, geometry, dtype, width, with_other):
    channels = geometry.vecs * width
    size = geometry.images * geometry.rows * channels
    x, y = normal(size), normal(size) if with_other else None
    sums = Result(geometry.images * geometry.parts * channels)
    compare(
        engine, cupy, Build("statistics", dtype, width), "part_sums", geometry.launch, x, y, *geometry.sizes,
        0.375, sums, terms=geometry.rows_a_part,
    )  # fmt: skip


@shared_columns
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("groups", "count", "channels"), [(1, 1, 1), (1, 20, 33), (3, 5, 32), (2, 70, 70)])
def test_column_sums(engine, cupy, normal, across, dtype, groups, count, channels):
    (blocks,), block = columns(channels, across)
    compare(
        engine, cupy, Build("statistics", dtype, 1), "column_sums", ((blocks, groups), block),
        normal(groups * count * channels), count, channels, Result(groups * channels), terms=count,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 300])
def test_move_running(engine, cupy, normal, dtype, channels):
    running = [Changed(normal(channels)) for _ in range(2)]
    compare(
        engine, cupy, Build("statistics", dtype, 1), "move_running", lines(channels), normal(channels),
        normal(channels), channels, 1.125, 0.125, *running,
    )  # fmt: skip


# -- batch norm --------------------------------------------------------------------------------------------


@passes
@every_build
@pytest.mark.parametrize("with_relu", [False, True])
@pytest.mark.parametrize("of_images", [False, True])
@pytest.mark.parametrize("present", [False, True])
def test_normalise(engine, cupy, normal, geometry, dtype, width, with_relu, of_images, present):
    channels = geometry.vecs * width
    size = geometry.images * geometry.rows * channels
    x, mean, shortcut = normal(size), *(normal(k) if present else None for k in (channels, size))
    scale, bias = (normal((geometry.images if of_images else 1) * channels) for _ in range(2))
    step = geometry.vecs if of_images else 0
    compare(
        engine, cupy, Build("normalise", dtype, width), "normalise", geometry.launch, x, *geometry.sizes,
        mean, scale, bias, step, shortcut, with_relu, Result(size), terms=4,
    )  # fmt: skip


@passes
@every_build
@pytest.mark.parametrize("gate", [NO_RELU, BY_AFFINE, BY_RESULT])
def test_gradient_sums(engine, cupy, normal, geometry, dtype, width, gate):
    channels = geometry.vecs * width
    size = geometry.images * geometry.rows * channels
    dy, x, y = (normal(size) for _ in range(3))
    results = [Result(geometry.images * geometry.parts * channels) for _ in range(2)]
    compare(
        engine, cupy, Build("normalise", dtype, width), "gradient_sums", geometry.launch, dy, x,
        y if gate == BY_RESULT else None, *geometry.sizes, gate, *(normal(channels) for _ in range(4)),
        *results, terms=4 * geometry.rows_a_part,
    )  # fmt: skip


@shared_columns
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("with_se", [False, True])
@pytest.mark.parametrize(("count", "channels"), [(1, 1), (7, 33), (70, 40)])
def test_parameter_gradients(engine, cupy, normal, across, dtype, with_se, count, channels):
    g0, g1 = (normal(count * channels) for _ in range(2))
    se = [normal(count * channels) if with_se else None for _ in range(3)]
    compare(
        engine, cupy, Build("normalise", dtype, 1), "parameter_gradients", columns(channels, across), g0, g1,
        *se, count, channels, 11.0 * count, *(Result(channels) for _ in range(4)), terms=2 * count,
    )  # fmt: skip


@passes
@every_build
@pytest.mark.parametrize("gate", [NO_RELU, BY_AFFINE, BY_RESULT])
@pytest.mark.parametrize("of_batch", [False, True])
@pytest.mark.parametrize("with_tail", [False, True])
def test_normalise_back(engine, cupy, normal, geometry, dtype, width, gate, of_batch, with_tail):
    """`with_tail`: SE's scale and squeeze come in, the shortcut's gradient comes out."""
    channels = geometry.vecs * width
    size, of_images = geometry.images * geometry.rows * channels, geometry.images * channels
    dy, x, y = (normal(size) for _ in range(3))
    vectors = [normal(channels) for _ in range(4)]
    shares = [normal(channels) if of_batch else None for _ in range(2)]
    se = [normal(of_images) if with_tail else None for _ in range(2)]
    compare(
        engine, cupy, Build("normalise", dtype, width), "normalise_back", geometry.launch, dy, x,
        y if gate == BY_RESULT else None, *geometry.sizes, gate, *vectors, *shares, *se, Result(size),
        Result(size) if with_tail else None, terms=8,
    )  # fmt: skip
