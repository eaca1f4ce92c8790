"""What goes wrong with Winograd's transforms and tiles."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.coursework.subjects.subject import Array, Function, SubjectMistake
from senumpy.ops.winograd import A_T, B_T, G, input_transform, kernel_transform, output_transform
from senumpy.ops.winograd import winograd_conv2d as right

_G, _B, _A = (np.array(rows, np.float64) for rows in (G, B_T, A_T))
_DIVISORS = np.array([4.0, -6.0, -6.0, 24.0, 24.0, 1.0])[:, None]
_SWAPPED = [0, 2, 1, 4, 3, 5]  # the points 0, -1, 1, -2, 2, infinity


def _both(matrix: Array) -> Function:
    return lambda x: matrix @ x @ matrix.T


def _without_last(matrix: Array) -> Array:
    changed = matrix.copy()
    changed[:, -1] = 0.0
    return changed


def _transform(name: str, explanation: str, **functions: Function) -> SubjectMistake:
    return SubjectMistake(name, explanation, {f"{which}_transform": f for which, f in functions.items()})


TRANSFORM_MISTAKES = (
    _transform(
        "not-transposed-on-the-right",
        "B^T stands on both sides of the tile: on the right it is B.",
        input=lambda d: _B @ d @ _B,
    ),
    _transform(
        "wrong-matrix-transposed",
        "The tile is transformed as B d B^T: it is B^T d B.",
        input=_both(_B.T),
    ),
    _transform(
        "kernel-transposed", "The kernel is transposed: rows and columns are swapped.",
        kernel=lambda w: _G @ np.swapaxes(w, -1, -2) @ _G.T,
    ),
    _transform(
        "tile-transposed", "The tile is transposed: rows and columns are swapped.",
        input=lambda d: _B @ np.swapaxes(d, -1, -2) @ _B.T,
    ),
    _transform(
        "result-transposed", "The result is transposed: rows and columns are swapped.",
        output=lambda m: np.swapaxes(output_transform(m), -1, -2),
    ),
    _transform(
        "kernel-flipped",
        "The kernel is flipped: this is a convolution, frameworks correlate.",
        kernel=lambda w: kernel_transform(w[..., ::-1, ::-1]),
    ),
    _transform(
        "no-divisors",
        "The rows of G are not divided by f_p = N_p(p).",
        kernel=_both(_G * _DIVISORS),
    ),
    _transform(
        "divided-twice",
        "The rows are divided by f_p = N_p(p) in G and in B^T, too.",
        input=_both(_B / _DIVISORS),
    ),
    _transform(
        "divisors-without-sign",
        "The divisors f_p are taken without their signs: at the points 1 and -1 they are negative.",
        kernel=_both(_G * _DIVISORS / np.abs(_DIVISORS)),
    ),
    _transform(
        "points-in-another-order",
        "The points come in another order in G than in B^T and A^T.",
        kernel=_both(_G[_SWAPPED]),
    ),
    _transform(
        "points-in-another-order-in-b",
        "The points come in another order in B^T than in G and A^T.",
        input=_both(_B[_SWAPPED]),
    ),
    _transform(
        "points-in-another-order-in-a",
        "The points come in another order in A^T than in G and B^T.",
        output=_both(_A[:, _SWAPPED]),
    ),
    _transform(
        "infinity-forgotten",
        "The point at infinity is missing from A^T: its last column is (0, 0, 0, 1).",
        output=_both(_without_last(_A)),
    ),
    _transform(
        "rows-only",
        "The tile is transformed along one axis only: B^T d, without B on the right.",
        input=lambda d: _B @ d,
    ),
)  # fmt: skip


# -- the convolution ---------------------------------------------------------------------------------------


def _by_tiles(
    *, step: int = 4, partial: bool = True, cropped: bool = True, one_padding: bool = False,
    channels: str = "sum", swapped: bool = False, side: bool = False, misplaced: bool = False,
) -> dict[str, Function]:  # fmt: skip
    """Return the convolution tile by tile, with one thing wrong.

    `step` pixels lie between tiles; without `partial` tiles at the end are left out; `channels` says how
    they are summed; `swapped` exchanges the grid's axes; `side` puts results of tiles side by side in the
    wrong order; `misplaced` puts the image one pixel too far.
    """

    def wrong(x: Array, w: Array, *, padding: Any = 1) -> Array:
        if one_padding:
            padding = 1
        pad_h, pad_w = padding if isinstance(padding, tuple) else (padding, padding)
        (n, c, h, width), o = x.shape, w.shape[0]
        out = h + 2 * pad_h - 2, width + 2 * pad_w - 2
        grid = [-(-m // 4) for m in out]
        padded = np.zeros((n, c, *(step * max(grid) * 2 + m + 12 for m in (h + pad_h, width + pad_w))))
        at = (pad_h + misplaced, pad_w + misplaced)
        padded[:, :, at[0] : at[0] + h, at[1] : at[1] + width] = x
        u = kernel_transform(w)
        y = np.zeros((n, o, 4 * grid[0], 4 * grid[1]))
        for i, j in np.ndindex(*grid):
            if not partial and (4 * i + 4 > out[0] or 4 * j + 4 > out[1]):
                continue
            row, column = (j, i) if swapped else (i, j)
            v = input_transform(padded[:, :, step * row : step * row + 6, step * column : step * column + 6])
            tile = output_transform(_products(u, v, channels))
            y[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = np.swapaxes(tile, 2, 3) if side else tile
        return y[:, :, : out[0], : out[1]] if cropped else y

    return {"winograd_conv2d": wrong}


def _products(u: Array, v: Array, channels: str) -> Array:
    """Return (N, O, 6, 6) from kernels (O, C, 6, 6) and tiles (N, C, 6, 6)."""
    if channels == "first":
        u, v = u[:, :1], v[:, :1]
    if channels == "before":
        return np.asarray(u.sum(1)[None] * v.sum(1)[:, None])
    if channels == "matrix":
        return np.asarray((u[None] @ v[:, None]).sum(2))
    total = np.einsum("ocij,ncij->noij", u, v)
    return total / u.shape[1] if channels == "mean" else total


def _direct(x: Array, w: Array, *, padding: Any = 1) -> Array:
    return ops.conv2d_forward(x, w, padding=padding)[0]


def _flipped(x: Array, w: Array, *, padding: Any = 1) -> Array:
    return right(x, w[..., ::-1, ::-1], padding=padding)


def _pair_swapped(x: Array, w: Array, *, padding: Any = 1) -> Array:
    return right(x, w, padding=padding[::-1] if isinstance(padding, tuple) else padding)


CONVOLUTION_MISTAKES = (
    SubjectMistake(
        "tiles-side-by-side",
        "Tiles are cut every 6 pixels: they overlap by 2, so one begins every 4 pixels.",
        _by_tiles(step=6),
    ),
    SubjectMistake(
        "tiles-every-two",
        "Tiles are cut every 2 pixels, as for F(2x2, 3x3): a tile gives 4x4 results.",
        _by_tiles(step=2),
    ),
    SubjectMistake(
        "tiles-every-five",
        "Tiles are cut every 5 pixels and overlap by 1: they overlap by 2.",
        _by_tiles(step=5),
    ),
    SubjectMistake(
        "last-tiles-left-out",
        "Only whole tiles are computed: rows and columns that are left over stay zero.",
        _by_tiles(partial=False),
    ),
    SubjectMistake(
        "not-cut-off",
        "What the last tiles give beyond the edge is not cut off.",
        _by_tiles(cropped=False),
    ),
    SubjectMistake(
        "padding-ignored", "The argument padding is not used: it is always 1.", _by_tiles(one_padding=True)
    ),
    SubjectMistake(
        "padding-swapped",
        "The padding pair is taken as (horizontal, vertical).",
        {"winograd_conv2d": _pair_swapped},
    ),
    SubjectMistake(
        "image-misplaced",
        "The image is put one row and one column too far into the zeros.",
        _by_tiles(misplaced=True),
    ),
    SubjectMistake("first-channel-only", "Only the first channel is used.", _by_tiles(channels="first")),
    SubjectMistake(
        "channels-summed-first",
        "Channels are summed before the product: the sum of products is wanted.",
        _by_tiles(channels="before"),
    ),
    SubjectMistake(
        "channels-averaged", "The channels' products are averaged, not summed.", _by_tiles(channels="mean")
    ),
    SubjectMistake(
        "matrix-product",
        "Transformed kernel and tile are multiplied as matrices: they are multiplied entry by entry.",
        _by_tiles(channels="matrix"),
    ),
    SubjectMistake(
        "grid-transposed", "Rows and columns of the grid of tiles are swapped.", _by_tiles(swapped=True)
    ),
    SubjectMistake("tiles-transposed", "Each tile of results is put down transposed.", _by_tiles(side=True)),
    SubjectMistake(
        "flipped-kernel",
        "The kernel is flipped: this is a convolution, frameworks correlate.",
        {"winograd_conv2d": _flipped},
    ),
    SubjectMistake(
        "direct-sums",
        "These are direct sums, and right; but the exercise is Winograd's algorithm, by tiles.",
        {"winograd_conv2d": _direct},
    ),
)
