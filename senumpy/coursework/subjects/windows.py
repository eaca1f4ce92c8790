"""How many windows fit: whole numbers, so nothing is rounded and no tolerance is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from senumpy.coursework.subjects.subject import (
    AnswerError,
    Case,
    Function,
    Functions,
    Results,
    Subject,
    SubjectMistake,
)
from senumpy.ops.windows import Pair, Window, output_size
from senumpy.verify.slots import text_of


def _case(size: Pair, window: Window, ceil_mode: bool = False) -> Case:
    text = f"output_size({size}, {window}{', ceil_mode=True' if ceil_mode else ''})"
    return Case(text, {"size": size, "window": tuple(window), "ceil_mode": ceil_mode})


def _runs(functions: Functions, case: Case) -> Results:
    ceil_mode = {"ceil_mode": True} if case.data["ceil_mode"] else {}
    try:
        got = functions["output_size"](case.data["size"], Window(*case.data["window"]), **ceil_mode)
    except ValueError:
        return {"windows": np.zeros(2, np.int64), "refusals": np.array(1)}
    if not isinstance(got, tuple | list) or len(got) != 2 or not all(hasattr(n, "__index__") for n in got):
        raise AnswerError(f"output_size: got {_shown(got)}, wanted two ints (vertical, horizontal)")
    return {"windows": np.array([int(n) for n in got]), "refusals": np.array(0)}


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, tuple | list | int | float) else text_of(value)


def _fixed() -> list[Case]:
    return [
        _case((5, 5), Window((3, 3), (1, 1), (0, 0), (1, 1))),
        _case((7, 6), Window((3, 2), (2, 3), (1, 0), (1, 1))),
        _case((9, 11), Window((3, 3), (1, 1), (1, 2), (2, 3))),
        _case((224, 224), Window((7, 7), (2, 2), (3, 3), (1, 1))),
        _case((6, 8), Window((3, 3), (2, 2), (0, 0), (1, 1)), ceil_mode=True),
        # A third window would start at 4, which is beyond the image and its leading padding: 3 + 1.
        _case((3, 3), Window((2, 2), (2, 2), (1, 1), (1, 1)), ceil_mode=True),
        # Strides of three: the rest of a division tells 2 pad - span from 2 pad + span.
        _case((3, 4), Window((4, 2), (3, 3), (1, 0), (1, 1)), ceil_mode=True),
        _case((2, 3), Window((4, 4), (3, 3), (2, 1), (1, 1)), ceil_mode=True),
        _case((3, 4), Window((3, 4), (5, 5), (0, 0), (1, 1))),
        _case((4, 9), Window((7, 3), (1, 1), (1, 1), (1, 1))),
    ]


def _draw(rng: np.random.Generator) -> list[Case]:
    # Sizes are such that wrong spans fit, too: an answer that refuses by its own span gives the same numbers.
    def pair(low: int, high: int) -> Pair:
        """Return two numbers that differ."""
        first, second = rng.choice(np.arange(low, high + 1), 2, replace=False)
        return int(first), int(second)

    def ints(low: int, high: int) -> Pair:
        first, second = rng.integers(low, high + 1, 2)
        return int(first), int(second)

    cases = [
        _case(pair(16, 30), Window(pair(2, 5), pair(1, 4), pair(0, 3), pair(1, 2))),
        _case(pair(16, 30), Window(pair(2, 5), (3, 3), ints(0, 2), (2, 2))),
        _case(pair(16, 30), Window(pair(2, 5), (1, 1), ints(0, 3), pair(2, 3))),
        _case(pair(16, 30), Window(ints(1, 5), ints(1, 4), ints(0, 3), ints(1, 2))),
        _case(pair(16, 30), Window(pair(2, 5), ints(2, 4), ints(0, 1), (1, 1)), ceil_mode=True),
    ]
    # A rest with and without a partial window: kernel = stride, so the number of windows is size / stride.
    stride, count = int(rng.integers(3, 6)), int(rng.integers(2, 6))
    size = stride * count
    window = Window((stride, stride), (stride, stride), (0, 0), (1, 1))
    cases.append(_case((size + 1, size), window, ceil_mode=True))
    cases.append(_case((size + 1, size), window))
    # The partial window would start in the trailing padding, and is not kept.
    padding = stride // 2
    window = Window((stride, stride), (stride, stride), (padding, padding), (1, 1))
    cases.append(_case((size + stride - padding - 1 + padding % 2, size - padding), window, ceil_mode=True))
    # Larger than the padded image, on one axis, by one.
    span = int(rng.integers(6, 9))
    cases.append(_case((span - 3, span), Window((span, 3), (1, 1), (1, 1), (1, 1))))
    return cases


def _counts(count: Callable[..., int], refuse: bool = True) -> Function:
    """Return an `output_size` by a rule for one axis: (size, kernel, stride, padding, dilation, ceil)."""

    def wrong(size: Pair, window: Window, *, ceil_mode: bool = False) -> Pair:
        if refuse:
            output_size(size, window)  # raises as it should
        found = [count(n, *(setting[axis] for setting in window), ceil_mode) for axis, n in enumerate(size)]
        return found[0], found[1]

    return wrong


def _wrong(name: str, explanation: str, function: Function) -> SubjectMistake:
    return SubjectMistake(name, explanation, {"output_size": function})


def _right(n: int, k: int, s: int, p: int, d: int, ceil: bool) -> int:
    rest = n + 2 * p - d * (k - 1) - 1
    count = rest // s + 1
    return count + (ceil and rest % s > 0 and count * s < n + p)


def _steps(n: int, k: int, s: int, p: int, d: int, ceil: bool) -> int:
    rest = n + 2 * p - d * (k - 1) - 1
    return rest // s + (ceil and rest % s > 0 and rest // s * s < n + p)


def _always_up(n: int, k: int, s: int, p: int, d: int, ceil: bool) -> int:
    return -(-(n + 2 * p - d * (k - 1) - 1) // s) + 1


def _swapped(size: Pair, window: Window, *, ceil_mode: bool = False) -> Pair:
    height, width = output_size(size, window, ceil_mode=ceil_mode)
    return width, height


def _one_axis(size: Pair, window: Window, *, ceil_mode: bool = False) -> Pair:
    output_size(size, window)
    settings = ((vertical, vertical) for vertical, _ in window)
    return output_size(size, Window(*settings), ceil_mode=ceil_mode)


OUTPUT_SIZE = Subject(
    name="output_size",
    reference={"output_size": output_size},
    fixed=_fixed,
    draw=_draw,
    runs=_runs,
    bound=lambda case, want: dict.fromkeys(want, 0.0),
    words={"refusals": ("no ValueError", "a ValueError")},
    mistakes=(
        _wrong(
            "rounded-up",
            "The quotient is rounded up: a window that only partly fits counts without ceil_mode, too.",
            _counts(_always_up),
        ),
        _wrong(
            "dilation-forgotten",
            "The window is taken as `kernel` long: with dilation it spans dilation (kernel - 1) + 1 entries.",
            _counts(lambda n, k, s, p, d, ceil: _right(n, k, s, p, 1, ceil)),
        ),
        _wrong(
            "dilation-times-kernel",
            "The window is taken as dilation * kernel long: it spans dilation (kernel - 1) + 1 entries.",
            _counts(lambda n, k, s, p, d, ceil: _right(n, d * k, s, p, 1, ceil)),
        ),
        _wrong(
            "one-too-few",
            "The quotient counts the steps between windows; there is one window more than steps.",
            _counts(_steps),
        ),
        _wrong(
            "padding-once",
            "The padding is counted once: it lies at both ends.",
            _counts(lambda n, k, s, p, d, ceil: _right(n - p, k, s, p, d, ceil)),
        ),
        _wrong(
            "padding-forgotten",
            "The padding is not counted.",
            _counts(lambda n, k, s, p, d, ceil: _right(n, k, s, 0, d, ceil)),
        ),
        _wrong(
            "stride-forgotten",
            "The number of steps is not divided by the stride.",
            _counts(lambda n, k, s, p, d, ceil: _right(n, k, 1, p, d, ceil)),
        ),
        _wrong(
            "same-padding",
            "This is size / stride, rounded up, as with TensorFlow's padding 'same'.",
            _counts(lambda n, k, s, p, d, ceil: -(-n // s)),
        ),
        _wrong(
            "ceil-mode-ignored",
            "ceil_mode is not used: the last, partial window is left out.",
            _counts(lambda n, k, s, p, d, ceil: _right(n, k, s, p, d, False)),
        ),
        _wrong(
            "window-in-the-padding",
            "With ceil_mode a window is kept that would start beyond the image and its leading padding.",
            _counts(lambda *a: _always_up(*a) if a[-1] else _right(*a)),
        ),
        _wrong("axes-swapped", "The result is (horizontal, vertical).", _swapped),
        _wrong("one-axis", "The window's vertical settings are used for both axes.", _one_axis),
        _wrong(
            "no-refusal",
            "A window larger than the padded image gives a number: a ValueError is wanted.",
            _counts(_right, refuse=False),
        ),
    ),
)
