"""Right numbers in another order of axes or another shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.verify.diagnosis_fits import Fit
from senumpy.verify.diagnosis_numbers import Trial, wrong_names
from senumpy.verify.mistakes import Mistake

Array = NDArray[Any]

_ORDERS = {
    "nhwc": ((0, 2, 3, 1), "its axes are in NHWC order (TensorFlow's) where NCHW is wanted"),
    "hwio": ((2, 3, 1, 0), "its axes are in HWIO order (TensorFlow's kernels) where OIHW is wanted"),
    "transposed": ((1, 0), "it is the transpose of what is right, (in, out) as Keras has it"),
}


def shape_mistakes(op: str, trials: Sequence[Trial]) -> list[Fit]:
    """Return one fit if all wrong results are right but for their shape, or are of another hidden width."""
    wrong = sorted(wrong_names(trials))
    found = [_of_result(op, name, trials) for name in wrong]
    if all(mistake is not None for mistake in found):
        distinct = {m.name: m for m in found if m is not None}
        return [Fit(tuple(distinct.values()), frozenset(wrong))]
    width = _hidden_width(op, trials)
    return [] if width is None else [Fit((width,), frozenset(wrong))]


def _of_result(op: str, name: str, trials: Sequence[Trial]) -> Mistake | None:
    of = [trial for trial in trials if name in trial.wrong]
    for label, (order, words) in _ORDERS.items():
        if all(_reordered(trial, name, order) for trial in of):
            return Mistake(op, f"{label}-{name}", f"{name} has the right numbers, but {words}.")
    if all(_reshaped(trial, name) for trial in of):
        got, want = of[0].got[name].shape, of[0].want[name].shape
        words = f"{name} has the right numbers in the shape {got} where {want} is wanted."
        return Mistake(op, f"shape-of-{name}", words)
    return None


def _reordered(trial: Trial, name: str, order: tuple[int, ...]) -> bool:
    got, want = trial.got[name], trial.want[name]
    if want.ndim != len(order) or got.shape != tuple(want.shape[axis] for axis in order):
        return False
    return _equal(trial, name, got, want.transpose(order))


def _reshaped(trial: Trial, name: str) -> bool:
    got, want = trial.got[name], trial.want[name]
    same = [n for n in got.shape if n > 1] == [n for n in want.shape if n > 1]
    return got.shape != want.shape and same and _equal(trial, name, got.reshape(want.shape), want)


def _equal(trial: Trial, name: str, got: Array, want: Array) -> bool:
    return bool(np.abs(got - want).max(initial=0) <= trial.expectation.bound(name))


def _hidden_width(op: str, trials: Sequence[Trial]) -> Mistake | None:
    """Return what to say where SE's first weights have another number of hidden units."""
    for trial in trials:
        got, want = trial.got.get("dw1"), trial.want.get("dw1")
        if got is None or want is None or got.ndim != 2 or got.shape[0] == want.shape[0]:
            continue
        if got.shape[1] == want.shape[1]:
            words = (
                f"SE has {got.shape[0]} hidden units where its weights have {want.shape[0]}: C / r may be "
                "rounded down or to a multiple of 8 (MobileNet's make_divisible), or kept at least 8 or 32."
            )
            return Mistake(op, "hidden-width", words)
    return None
