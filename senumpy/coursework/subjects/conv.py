"""The convolution in loops, held to calls of the operation `conv2d`; the bound is the checker's."""

from __future__ import annotations

from typing import Any

import numpy as np

from senumpy.coursework.subjects.subject import (
    Array,
    Case,
    Function,
    Functions,
    Results,
    Subject,
    SubjectMistake,
    numbers,
    shape_text,
)
from senumpy.engines.naive.conv import conv2d_loops, pair
from senumpy.verify.calls import OpCall, call_of
from senumpy.verify.cases import Draw, op_spec
from senumpy.verify.mistakes import MISTAKES
from senumpy.verify.rounding import expect

FEW = ("3x3", "2x3, stride (2, 1), padding (1, 0)", "groups 2")  # that are always the same


def _case(call: OpCall) -> Case:
    x, w, b = call.args
    options = "".join(f", {name} {value}" for name, value in call.options.items())
    bias = "" if b is not None else ", no bias"
    return Case(f"x of {shape_text(x)}, w of {shape_text(w)}{bias}{options}", {"call": call})


def _calls(rng: np.random.Generator) -> list[OpCall]:
    cases = op_spec("conv2d").draw(Draw(rng))
    return [call_of("conv2d", case, number) for number, case in enumerate(cases)]


def _fixed() -> list[Case]:
    return [_case(call) for call in _calls(np.random.default_rng(4)) if call.note in FEW]


def _runs(functions: Functions, case: Case) -> Results:
    call: OpCall = case.data["call"]
    y = functions["conv2d_loops"](*call.arguments(np.float64), **call.keywords())
    return {"y": numbers(y, "conv2d_loops")}


def _bound(case: Case, want: Results) -> dict[str, Any]:
    return {"y": expect(case.data["call"], np.float64).bound("y")}


# -- mistakes: the checker's own, and those that loops make -------------------------------------------------


def _of_bank() -> list[SubjectMistake]:
    """Return the checker's mistakes in the forward of conv2d, without their caches."""
    found = []
    for entry in MISTAKES:
        if entry.op == "conv2d" and entry.forward is not None:

            def wrong(*args: Any, forward: Function = entry.forward, **options: Any) -> Array:
                return forward(*args, **options)[0]

            found.append(SubjectMistake(entry.name, entry.explanation, {"conv2d_loops": wrong}))
    return found


def _looped(
    *, wraps: bool = False, last: bool = False, own_channel: bool = False, unpadded: bool = False,
    dilated_padding: bool = False, bias_each: bool = False,
) -> dict[str, Function]:  # fmt: skip
    """Return the loops over windows, with one thing wrong."""

    def wrong(
        x: Array,
        w: Array,
        b: Any = None,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Array:
        s, pad, d = pair(stride), pair(padding), pair(dilation)
        (n, _, *size), (outputs, channels, *taps) = x.shape, w.shape
        out = [
            (m + 2 * p - e * (k - 1) - 1) // t + 1
            for m, p, e, k, t in zip(size, pad, d, taps, s, strict=True)
        ]
        y = np.zeros((n, outputs, *out))
        for o, i, j, p, q in np.ndindex(outputs, *out, *taps):
            row, column = i * s[0] + p * d[0], j * s[1] + q * d[1]
            if dilated_padding:
                row, column = row - pad[0] * d[0], column - pad[1] * d[1]
            elif not unpadded:
                row, column = row - pad[0], column - pad[1]
            if row >= size[0] or column >= size[1] or (not wraps and (row < 0 or column < 0)):
                continue
            first = 0 if own_channel else o // (outputs // groups) * channels
            seen = x[:, first : first + channels, row, column] @ w[o, :, p, q]
            if bias_each and b is not None:
                seen = seen + b[o]
            y[:, o, i, j] = seen if last else y[:, o, i, j] + seen
        return y if b is None or bias_each else y + b[:, None, None]

    return {"conv2d_loops": wrong}


def _averaged(x: Array, w: Array, b: Any = None, **options: Any) -> Array:
    y = conv2d_loops(x, w, None, **options) / w[0].size
    return y if b is None else y + b[:, None, None]


CONV2D_LOOPS = Subject(
    name="conv2d_loops",
    reference={"conv2d_loops": conv2d_loops},
    fixed=_fixed,
    draw=lambda rng: [_case(call) for call in _calls(rng)],
    runs=_runs,
    bound=_bound,
    mistakes=(
        *_of_bank(),
        SubjectMistake(
            "index-wraps",
            "Rows and columns below 0 are read: Python takes x[-1] as the last entry; there it is zero.",
            _looped(wraps=True),
        ),
        SubjectMistake(
            "assigned",
            "The sum over the window is assigned (=), not added up (+=): the last product remains.",
            _looped(last=True),
        ),
        SubjectMistake(
            "group-forgotten",
            "Every group reads the first group's channels: channel c of group g is g C/G + c.",
            _looped(own_channel=True),
        ),
        SubjectMistake(
            "padding-not-subtracted",
            "The padding makes the result larger, but is not subtracted from the row and the column.",
            _looped(unpadded=True),
        ),
        SubjectMistake(
            "padding-dilated",
            "The padding is multiplied by the dilation: it counts entries of the image.",
            _looped(dilated_padding=True),
        ),
        SubjectMistake(
            "bias-each-time",
            "The bias is added with every tap of the window: it belongs to each result once.",
            _looped(bias_each=True),
        ),
        SubjectMistake(
            "averaged",
            "The sum is divided by the number of entries of a window: a convolution is no average.",
            {"conv2d_loops": _averaged},
        ),
    ),
)
