"""Winograd's transforms, and the convolution by tiles.

What is right is a convolution by direct sums, in extended precision. How far rounding may take Winograd's
algorithm: each transform is a sum of at most 6 products on each side, and at each of the 36 points there is a
sum over C channels, so, entry by entry (Barabasz et al. 2020, "Error analysis and improving the accuracy of
Winograd convolution", theorem 4, in the manner of Higham 2002, section 3),

    |error| <= (C + 4 * 6 + 8) u |A^T| [ sum_c (|G| |w| |G^T|) * (|B^T| |d| |B|) ] |A|

the 8 for rounded entries of G and for one product more. Direct sums, and other points of a similar size, stay
below that. Transforms that are scaled otherwise than Lavin and Gray's pass, too: what counts is the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy import ops
from senumpy.coursework.subjects.subject import (
    Array,
    Case,
    Functions,
    Results,
    Subject,
    U,
    numbers,
    shape_text,
)
from senumpy.coursework.subjects.winograd_mistakes import CONVOLUTION_MISTAKES, TRANSFORM_MISTAKES
from senumpy.ops.winograd import (
    A_T,
    B_T,
    G,
    input_transform,
    kernel_transform,
    output_transform,
    winograd_conv2d,
)

_ABSOLUTE = [np.abs(np.array(rows)) for rows in (G, B_T, A_T)]
HUGE = 2.0**100


def _absolute_sums(kernels: Array, tiles: Array) -> Array:
    """Return the bound above without its factor: kernels (O, C, 3, 3), tiles (T, C, 6, 6) -> (T, O, 4, 4)."""
    g, b, a = _ABSOLUTE
    u, v = g @ np.abs(kernels) @ g.T, b @ np.abs(tiles) @ b.T
    return a @ np.einsum("ocij,tcij->toij", u, v) @ a.T


def _factor(channels: int) -> float:
    return (channels + 4 * 6 + 8) * U


# -- the transforms ----------------------------------------------------------------------------------------

RESULT = "the convolution by all three"


def _transforms_case(w: Array, tiles: Array, m: Array) -> Case:
    text = f"w of {shape_text(w)}, tiles of {shape_text(tiles)}, m of {shape_text(m)}"
    return Case(text, {"w": w, "tiles": tiles, "m": m})


def _run_transforms(functions: Functions, case: Case) -> Results:
    w, tiles, m = (case.data[name].copy() for name in ("w", "tiles", "m"))
    u = numbers(functions["kernel_transform"](w), "kernel_transform")
    v = numbers(functions["input_transform"](tiles), "input_transform")
    results = {
        "kernel_transform": u,
        "input_transform": v,
        "output_transform": numbers(functions["output_transform"](m), "output_transform"),
    }
    if u.shape[2:] == (6, 6) and v.shape[2:] == (6, 6) and u.shape[1:2] == v.shape[1:2]:
        products = np.einsum("ocij,tcij->toij", u, v)
        results[RESULT] = numbers(functions["output_transform"](products), "output_transform")
    return results


def _want_transforms(case: Case) -> Results:
    results = _run_transforms(TRANSFORMS.reference, case)
    return {**results, RESULT: _direct(case.data["tiles"], case.data["w"], 0)}


def _bound_transforms(case: Case, want: Results) -> dict[str, Any]:
    g, b, a = _ABSOLUTE
    w, tiles, m = (np.abs(case.data[name]) for name in ("w", "tiles", "m"))
    twice = 2 * _factor(0)
    return {
        "kernel_transform": twice * (g @ w @ g.T),
        "input_transform": twice * (b @ tiles @ b.T),
        "output_transform": twice * (a @ m @ a.T),
        RESULT: 2 * _factor(w.shape[1]) * _absolute_sums(w, tiles),
    }


def _drawn_transforms(rng: np.random.Generator, outputs: int, channels: int, tiles: int) -> Case:
    return _transforms_case(
        rng.normal(size=(outputs, channels, 3, 3)),
        rng.normal(size=(tiles, channels, 6, 6)),
        rng.normal(size=(2, tiles, 6, 6)),
    )


def _draw_transforms(rng: np.random.Generator) -> list[Case]:
    return [_drawn_transforms(rng, *(int(n) for n in rng.permutation([2, 3, 4]))) for _ in range(2)]


def _fixed_transforms() -> list[Case]:
    return [_drawn_transforms(np.random.default_rng(18), 1, 1, 1)]


TRANSFORMS = Subject(
    name="winograd_transforms",
    reference={
        "kernel_transform": kernel_transform,
        "input_transform": input_transform,
        "output_transform": output_transform,
    },
    fixed=_fixed_transforms,
    draw=_draw_transforms,
    runs=_run_transforms,
    expected=_want_transforms,
    bound=_bound_transforms,
    enough=(RESULT,),
    mistakes=TRANSFORM_MISTAKES,
)


# -- the convolution ---------------------------------------------------------------------------------------


def _convolution_case(x: Array, w: Array, padding: Any, note: str = "") -> Case:
    padded = "padding left to its default" if padding is None else f"padding {padding}"
    text = f"x of {shape_text(x)}, w of {shape_text(w)}, {padded}{note}"
    return Case(text, {"x": x, "w": w, "padding": padding, "probe": bool(note)})


def _run_convolution(functions: Functions, case: Case) -> Results:
    x, w, padding = case.data["x"], case.data["w"], case.data["padding"]
    settings = {} if padding is None else {"padding": padding}
    y = numbers(functions["winograd_conv2d"](x.copy(), w.copy(), **settings), "winograd_conv2d")
    if not case.data["probe"]:
        return {"y": y}
    if y.shape != (1, 1, 8, 8):
        return {"algorithm": np.array(1)}  # other cases tell what is wrong
    # The tap that meets the huge pixel is 0. In direct sums it is gone; by tiles its terms come in and
    # cancel, and small ones beside them are lost.
    direct = (w[0, 0] * x[0, 0, 1:4, 1:4]).sum()
    return {"algorithm": np.array(int(not abs(y[0, 0, 2, 2] - direct) <= 1e-6))}


def _want_convolution(case: Case) -> Results:
    if case.data["probe"]:
        return {"algorithm": np.array(1)}
    padding = 1 if case.data["padding"] is None else case.data["padding"]
    return {"y": _direct(case.data["x"], case.data["w"], padding)}


def _direct(x: Array, w: Array, padding: Any) -> Array:
    return ops.conv2d_forward(x.astype(np.longdouble), w.astype(np.longdouble), padding=padding)[0]


def _bound_convolution(case: Case, want: Results) -> dict[str, Any]:
    """Return the bound for each result from the tile that it lies in."""
    if case.data["probe"]:
        return {"algorithm": 0.0}
    x, w = case.data["x"], case.data["w"]
    padding = 1 if case.data["padding"] is None else case.data["padding"]
    pad_h, pad_w = padding if isinstance(padding, tuple) else (padding, padding)
    n, o, height, width = want["y"].shape
    rows, columns = -(-height // 4), -(-width // 4)
    padded = np.zeros((n, x.shape[1], 4 * rows + 2, 4 * columns + 2))
    padded[:, :, pad_h : pad_h + x.shape[2], pad_w : pad_w + x.shape[3]] = x
    bound = np.zeros((n, o, 4 * rows, 4 * columns))
    for i, j in np.ndindex(rows, columns):
        tiles = padded[:, :, 4 * i : 4 * i + 6, 4 * j : 4 * j + 6]
        # The largest of the tile for all of it: other tiles, of 2x2 or 6x6, lie elsewhere.
        sums = _absolute_sums(w, tiles).max((2, 3), keepdims=True)
        bound[:, :, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4] = sums
    return {"y": 2 * _factor(x.shape[1]) * bound[:, :, :height, :width]}


def _fixed_convolution() -> list[Case]:
    rng = np.random.default_rng(19)
    return [
        _convolution_case(rng.normal(size=(1, 1, 4, 4)), rng.normal(size=(1, 1, 3, 3)), None),
        _convolution_case(rng.normal(size=(2, 3, 8, 5)), rng.normal(size=(4, 3, 3, 3)), 1),
        _probe(rng),
    ]


def _probe(rng: np.random.Generator) -> Case:
    x, w = rng.normal(size=(1, 1, 8, 8)), rng.normal(size=(1, 1, 3, 3))
    x[0, 0, 2, 2], w[0, 0, 1, 1] = HUGE, 0.0
    return _convolution_case(x, w, None, ", one pixel of 2^100, one tap of 0 (tells tiles from direct sums)")


def _draw_convolution(rng: np.random.Generator) -> list[Case]:
    def case(n: int, size: tuple[int, int], padding: Any) -> Case:
        channels, outputs = (int(k) for k in rng.choice([2, 3, 4, 5], 2, replace=False))
        x = rng.normal(size=(n, channels, *size))
        return _convolution_case(x, rng.normal(size=(outputs, channels, 3, 3)), padding)

    def odd() -> int:
        return int(rng.choice([5, 7, 9, 11]))

    return [
        case(2, (odd(), odd() + 1), None),
        case(1, (int(rng.integers(3, 14)), int(rng.integers(3, 14))), 0),
        case(2, (odd() + 3, odd()), (int(rng.integers(1, 4)), 0)),
        case(1, (8, 12), 1),
        case(3, (1, int(rng.integers(1, 4))), 1),
        _probe(rng),
    ]


CONVOLUTION = Subject(
    name="winograd_conv2d",
    reference={"winograd_conv2d": winograd_conv2d},
    fixed=_fixed_convolution,
    draw=_draw_convolution,
    runs=_run_convolution,
    expected=_want_convolution,
    bound=_bound_convolution,
    words={"algorithm": ("direct sums", "tiles")},
    mistakes=CONVOLUTION_MISTAKES,
)
