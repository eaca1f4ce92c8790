"""Each kernel of a convolution beside its twin in NumPy, for several windows, paddings and launch sizes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from tests.cuda.sources import MACROS, Build
from tests.cuda.twins.compare import DTYPES, DTYPES_AND_WIDTHS, Result, columns, compare, lines, tiles


class Case(NamedTuple):
    """A convolution: kernel, stride, dilation; padding before; input and output sizes, in a batch."""

    window: tuple[int, ...]  # KH, KW, SH, SW, DH, DW
    pad: tuple[int, int]
    size: tuple[int, int]
    images: int = 2

    @property
    def out(self) -> tuple[int, int]:
        kernel, stride, dilation = self.window[:2], self.window[2:4], self.window[4:]
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, k, s, d in zip(self.size, self.pad, kernel, stride, dilation, strict=True)
        )


CASES = [
    Case((1, 1, 2, 2, 1, 1), (0, 0), (5, 6)),
    Case((3, 3, 1, 1, 1, 1), (1, 1), (4, 7)),
    Case((3, 3, 2, 2, 1, 1), (1, 0), (7, 9), images=3),
    Case((2, 3, 1, 2, 2, 1), (1, 2), (6, 5)),  # nothing is the same for rows and columns
    Case((7, 7, 2, 2, 1, 1), (3, 3), (8, 5), images=1),  # a window that is larger than the image
]
convolutions = pytest.mark.parametrize("case", CASES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
# Channels and outputs of a group, and groups; the last ones fill no block of 32.
GROUPS = [(4, 4, 2), (1, 1, 33), (3, 2, 3), (1, 2, 1)]


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).reshape(-1)


def compiled(file: str, dtype: str, width: int, *values: int) -> Build:
    return Build(file, dtype, width, tuple(zip(MACROS[file], values, strict=True)))


# -- patches -----------------------------------------------------------------------------------------------


@convolutions
@pytest.mark.parametrize(("dtype", "width"), DTYPES_AND_WIDTHS)
@pytest.mark.parametrize(("group_vecs", "groups"), [(1, 1), (2, 3), (11, 3)])
@pytest.mark.parametrize("name", ["patches", "narrow_patches", "from_patches"])
def test_patches(engine, cupy, case, dtype, width, group_vecs, groups, name):
    build = compiled("patches", dtype, width, *case.window)
    vecs, taps = group_vecs * groups, case.window[0] * case.window[1]
    windows, pixels = (case.images * h * w for h, w in (case.out, case.size))
    row = vecs * taps + (0 if name == "patches" else 2)  # longer by zeros, or by what isn't looked at
    columns_size, image_size = windows * row * width, pixels * vecs * width
    threads, given, result = windows, image_size, columns_size
    if name == "from_patches":
        threads, given, result = pixels, columns_size, image_size
    across = row if name == "narrow_patches" else vecs
    compare(
        engine, cupy, build, name, tiles(threads, across), normal(given), *case.size, vecs, group_vecs,
        row, *case.out, *case.pad, threads, Result(result), terms=taps,
    )  # fmt: skip


# -- grouped -----------------------------------------------------------------------------------------------


class Grouped(NamedTuple):
    """A grouped convolution's arrays and what its kernels ask for."""

    build: Build
    sizes: tuple[Any, ...]
    x: np.ndarray
    dy: np.ndarray
    weights: np.ndarray


def _grouped(case: Case, dtype: str, inner: int, outer: int, groups: int) -> Grouped:
    channels, outputs = inner * groups, outer * groups
    return Grouped(
        compiled("grouped", dtype, 1, *case.window, inner, outer),
        (*case.size, channels, outputs, *case.out, *case.pad),
        normal(case.images, *case.size, channels),
        normal(case.images, *case.out, outputs),
        normal(outputs, *case.window[:2], inner),
    )


@convolutions
@every_dtype
@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_grouped(engine, cupy, case, dtype, groups):
    found = _grouped(case, dtype, *groups)
    out_h, out_w = case.out
    threads, outputs = case.images * out_h * -(-out_w // 4), groups[1] * groups[2]
    compare(
        engine, cupy, found.build, "grouped", tiles(threads, outputs), found.x, found.weights, *found.sizes,
        case.images * out_h, Result(found.dy.size), terms=found.weights.size // outputs,
    )  # fmt: skip


@convolutions
@every_dtype
@pytest.mark.parametrize("groups", GROUPS, ids=str)
def test_grouped_back(engine, cupy, case, dtype, groups):
    found = _grouped(case, dtype, *groups)
    channels = groups[0] * groups[2]
    pixels = found.x.size // channels
    compare(
        engine, cupy, found.build, "grouped_back", tiles(pixels, channels), found.dy, found.weights,
        *found.sizes, pixels, Result(found.x.size), terms=found.weights.size // channels,
    )  # fmt: skip


@convolutions
@every_dtype
@pytest.mark.parametrize("groups", GROUPS, ids=str)
@pytest.mark.parametrize(("across", "lines_a_part"), [(8, 1), (8, 128), (32, 3), (32, 11), (128, 128)])
def test_grouped_weights(engine, cupy, case, dtype, groups, across, lines_a_part):
    found = _grouped(case, dtype, *groups)
    (blocks,), block = columns(groups[1] * groups[2], across)
    count = case.images * case.out[0]
    parts = -(-count // lines_a_part)
    compare(
        engine, cupy, found.build, "grouped_weights", ((blocks, case.window[0] * groups[0], parts), block),
        found.x, found.dy, *found.sizes, count, lines_a_part, Result(parts * found.weights.size),
        terms=lines_a_part * case.out[1],
    )  # fmt: skip


# -- Winograd ----------------------------------------------------------------------------------------------

# The transforms' constants reach 10 in a row, 100 in both directions: so much larger are the terms.
WINOGRAD_TERMS = 100
tilings = pytest.mark.parametrize(
    ("images", "out", "channels"),
    [(1, (4, 4), 1), (2, (5, 9), 3), (3, (13, 2), 33), (1, (7, 7), 70)],
    ids=str,
)


@tilings
@every_dtype
@pytest.mark.parametrize("pad", [(0, 0), (1, 1), (2, 0)], ids=str)
def test_winograd_image(engine, cupy, images, out, channels, dtype, pad):
    h, w = (max(1, n + 2 - 2 * p) for n, p in zip(out, pad, strict=True))
    tiles_h, tiles_w = (-(-n // 4) for n in out)
    count = images * tiles_h * tiles_w
    compare(
        engine, cupy, Build("winograd", dtype, 1), "winograd_image", tiles(count, channels),
        normal(images, h, w, channels), h, w, channels, tiles_h, tiles_w, *pad, count,
        Result(36 * count * channels), terms=WINOGRAD_TERMS,
    )  # fmt: skip


@tilings
@every_dtype
@pytest.mark.parametrize("name", ["winograd_result", "winograd_upstream"])
def test_winograd_results(engine, cupy, images, out, channels, dtype, name):
    tiles_h, tiles_w = (-(-n // 4) for n in out)
    count = images * tiles_h * tiles_w
    transformed, image = 36 * count * channels, images * out[0] * out[1] * channels
    given, result = (transformed, image) if name == "winograd_result" else (image, transformed)
    compare(
        engine, cupy, Build("winograd", dtype, 1), name, tiles(count, channels), normal(given), *out,
        channels, tiles_h, tiles_w, count, Result(result), terms=WINOGRAD_TERMS,
    )  # fmt: skip


@every_dtype
@pytest.mark.parametrize(("outputs", "channels"), [(1, 1), (5, 3), (17, 19)])
@pytest.mark.parametrize("turned", [False, True])
def test_winograd_kernels(engine, cupy, dtype, outputs, channels, turned):
    count = outputs * channels
    rows, across, *steps = (outputs, channels, 9 * channels, 9)
    if turned:
        rows, across, *steps = (channels, outputs, 9, 9 * channels)
    compare(
        engine, cupy, Build("winograd", dtype, 1), "winograd_kernels", lines(count), normal(count, 9), rows,
        across, *steps, turned, Result(36 * count), terms=9,
    )  # fmt: skip


@every_dtype
@pytest.mark.parametrize("kernels", [1, 7, 300])
def test_winograd_kernels_back(engine, cupy, dtype, kernels):
    compare(
        engine, cupy, Build("winograd", dtype, 1), "winograd_kernels_back", lines(kernels),
        normal(36, kernels), kernels, Result(9 * kernels), terms=36,
    )  # fmt: skip
