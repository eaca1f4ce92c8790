"""Twins of the kernels of convolutions: `patches`, `grouped`, `winograd`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.cuda.twins.compare import Launch, twin


def _taps(size: tuple[int, int], out: tuple[int, int], window: Any, pad: Any) -> Iterator[tuple[int, ...]]:
    """Yield (p, q, i, j, row, col): tap (p, q) of the output pixel (i, j) sees (row, col), if it's inside."""
    for p, q, i, j in np.ndindex(window["KH"], window["KW"], *out):
        row = i * window["SH"] + p * window["DH"] - pad[0]
        col = j * window["SW"] + q * window["DW"] - pad[1]
        if 0 <= row < size[0] and 0 <= col < size[1]:
            yield p, q, i, j, row, col


def _seen(launch: Launch, x: np.ndarray, out: tuple[int, int], pad: tuple[int, int]) -> np.ndarray:
    """Return what each window sees of x (n, h, w, c): (n, i, j, p, q, c)."""
    window = launch.window
    seen = np.zeros((len(x), *out, window["KH"], window["KW"], x.shape[3]))
    for p, q, i, j, row, col in _taps(x.shape[1:3], out, window, pad):
        seen[:, i, j, p, q] = x[:, row, col]
    return seen


def _collected(launch: Launch, seen: np.ndarray, size: tuple[int, int], pad: tuple[int, int]) -> np.ndarray:
    """Return the sums of what windows saw of each pixel, (n, h, w, c)."""
    x = np.zeros((len(seen), *size, seen.shape[5]))
    for p, q, i, j, row, col in _taps(size, seen.shape[1:3], launch.window, pad):
        x[:, row, col] += seen[:, i, j, p, q]
    return x


# -- patches: columns are (group, tap, channel of the group) ------------------------------------------------


@twin
def patches(launch, x, h, w, vecs, group_vecs, row_vecs, out_h, out_w, pad_h, pad_w, pixels):
    channels, inner = (count * launch.build.width for count in (vecs, group_vecs))
    seen = _seen(launch, x.reshape(-1, h, w, channels), (out_h, out_w), (pad_h, pad_w))
    taps = seen.shape[3] * seen.shape[4]
    rows = seen.reshape(pixels, taps, channels // inner, inner).transpose(0, 2, 1, 3).reshape(pixels, -1)
    return np.pad(rows, ((0, 0), (0, row_vecs * launch.build.width - rows.shape[1])))


@twin
def narrow_patches(*arguments):
    return patches(*arguments)


@twin
def from_patches(launch, columns, h, w, vecs, group_vecs, row_vecs, out_h, out_w, pad_h, pad_w, pixels):
    channels, inner = (count * launch.build.width for count in (vecs, group_vecs))
    window = launch.window
    rows = columns.reshape(-1, row_vecs * launch.build.width)
    seen = rows[:, : channels * window["KH"] * window["KW"]]
    by_group = seen.reshape(-1, channels // inner, window["KH"] * window["KW"], inner)
    seen = by_group.transpose(0, 2, 1, 3).reshape(-1, out_h, out_w, window["KH"], window["KW"], channels)
    return _collected(launch, seen, (h, w), (pad_h, pad_w))


# -- grouped: o = (group g, output u of it), c = (group g, channel k of it) ---------------------------------


def _kernels(launch: Launch, weights: np.ndarray) -> np.ndarray:
    window = launch.window
    return weights.reshape(-1, window["GO"], window["KH"], window["KW"], window["GC"])


def _by_group(a: np.ndarray, inner: int) -> np.ndarray:
    return a.reshape(*a.shape[:-1], -1, inner)


@twin
def grouped(launch, x, weights, h, w, channels, outputs, out_h, out_w, pad_h, pad_w, lines):
    seen = _seen(launch, x.reshape(-1, h, w, channels), (out_h, out_w), (pad_h, pad_w))
    return np.einsum("nijpqgk,gupqk->nijgu", _by_group(seen, launch.window["GC"]), _kernels(launch, weights))


@twin
def grouped_back(launch, dy, weights, h, w, channels, outputs, out_h, out_w, pad_h, pad_w, pixels):
    upstream = _by_group(dy.reshape(-1, out_h, out_w, outputs), launch.window["GO"])
    seen = np.einsum("nijgu,gupqk->nijpqgk", upstream, _kernels(launch, weights))
    return _collected(launch, seen.reshape(*seen.shape[:5], channels), (h, w), (pad_h, pad_w))


@twin
def grouped_weights(
    launch, x, dy, h, w, channels, outputs, out_h, out_w, pad_h, pad_w, lines, lines_a_part
):  # fmt: skip
    seen = _seen(launch, x.reshape(-1, h, w, channels), (out_h, out_w), (pad_h, pad_w))
    seen = _by_group(seen, launch.window["GC"]).reshape(
        lines, out_w, *seen.shape[3:5], -1, launch.window["GC"]
    )
    upstream = _by_group(dy.reshape(lines, out_w, outputs), launch.window["GO"])
    starts = range(0, lines, lines_a_part)
    assert len(starts) == launch.grid[2]
    parts = [slice(start, start + lines_a_part) for start in starts]
    return np.stack([np.einsum("ljpqgk,ljgu->pkqgu", seen[part], upstream[part]) for part in parts])


# -- Winograd's F(4x4, 3x3), with the matrices of Lavin & Gray (2015), section 4.3 --------------------------

BT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
G = np.array(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
AT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])


def _cut(x: np.ndarray, tiles_h: int, tiles_w: int, side: int, pad: tuple[int, int]) -> np.ndarray:
    """Return tiles of x (n, h, w, c), one every 4 pixels, with zeros around it: (n, a, b, i, j, c)."""
    n, h, w, c = x.shape
    wide = np.zeros((n, h + pad[0] + 4 * tiles_h + side, w + pad[1] + 4 * tiles_w + side, c))
    wide[:, pad[0] : pad[0] + h, pad[1] : pad[1] + w] = x
    cut = np.zeros((n, tiles_h, tiles_w, side, side, c))
    for a, b in np.ndindex(tiles_h, tiles_w):
        cut[:, a, b] = wide[:, 4 * a : 4 * a + side, 4 * b : 4 * b + side]
    return cut


@twin
def winograd_image(launch, x, h, w, channels, tiles_h, tiles_w, pad_h, pad_w, tiles):
    cut = _cut(x.reshape(-1, h, w, channels), tiles_h, tiles_w, 6, (pad_h, pad_w))
    return np.einsum("ui,vj,nabijc->uvnabc", BT, BT, cut)


@twin
def winograd_result(launch, m, h, w, channels, tiles_h, tiles_w, tiles):
    m = m.reshape(6, 6, -1, tiles_h, tiles_w, channels)
    y = np.einsum("iu,jv,uvnabc->naibjc", AT, AT, m)
    return y.reshape(len(y), 4 * tiles_h, 4 * tiles_w, channels)[:, :h, :w]


@twin
def winograd_upstream(launch, dy, h, w, channels, tiles_h, tiles_w, tiles):
    cut = _cut(dy.reshape(-1, h, w, channels), tiles_h, tiles_w, 4, (0, 0))
    return np.einsum("iu,jv,nabijc->uvnabc", AT, AT, cut)


@twin
def winograd_kernels(launch, weights, rows, columns, row_step, column_step, turned):
    starts = np.arange(rows)[:, None] * row_step + np.arange(columns) * column_step
    g = weights[starts[..., None] + np.arange(9)].reshape(rows, columns, 3, 3)
    return np.einsum("ui,vj,rcij->uvrc", G, G, g[..., ::-1, ::-1] if turned else g)


@twin
def winograd_kernels_back(launch, m, kernels):
    return np.einsum("ui,vj,uvk->kij", G, G, m.reshape(6, 6, kernels))
