"""Are a candidate's gradients the derivatives of a wrong forward? Automatic differentiation makes them so.

No gradient of the wrong forward is known, so directions are asked: <dx, v> = <dy, J v> for random v, with J v
by the complex step where the forward is analytic, else by central differences (see `numerical`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.verify.diagnosis_numbers import Function, Trial
from senumpy.verify.numerical import complex_step

Array = NDArray[Any]
DIRECTIONS = 3
_STEP = 1e-6  # of central differences, relative to the size of the argument
_ACCURACY = 1e-4  # of central differences, relative
_AGREE = 1e-3  # relative agreement of both methods, if the complex step applies


def matches_own_derivative(trials: Sequence[Trial], forward: Function) -> dict[str, bool]:
    """Return, by gradient, whether it is the derivative of `forward` on every trial that has it."""
    found: dict[str, bool] = {}
    for trial in trials:
        gradients = {name for name in trial.got if name.startswith("d")}
        for name, matched in _on_trial(trial, forward, gradients):
            found[name] = found.get(name, True) and matched
    return found


def _on_trial(trial: Trial, forward: Function, names: set[str]) -> Iterator[tuple[str, bool]]:
    rng = np.random.default_rng([trial.call.seed, 7])
    args = trial.arguments()
    with np.errstate(all="ignore"):
        for name, x, place in _leaves(trial, args):
            if name not in names:
                continue
            got = trial.got[name]
            try:
                f = _function(trial, forward, args, place)
                dy = trial.call.upstream(f(x).shape, np.float64).ravel()
                matched = got.shape == x.shape and all(
                    _along(trial, name, got, f, x, dy, rng.standard_normal(x.shape))
                    for _ in range(DIRECTIONS)
                )
            except Exception:  # the wrong forward can't run on this call
                matched = False
            yield name, matched


def _along(
    trial: Trial, name: str, got: Array, f: Callable[[Array], Array], x: Array, dy: Array, v: Array
) -> bool:
    """Return whether the gradient and the derivative agree along v."""
    h = _STEP * max(float(np.abs(x).max()), 1.0)
    central = float(dy @ ((f(x + h * v) - f(x - h * v)).ravel() / (2 * h)))
    size = float(np.abs(dy).sum()) * float(np.abs(v).max()) * 1e-3 + abs(central)
    asked = float((got * v).sum())
    tolerance = trial.tolerance(name, got) * float(np.abs(v).sum())
    try:
        stepped = float(dy @ complex_step(f, x, v))
    except Exception:  # not written for complex numbers
        stepped = np.nan
    # At a kink the complex step takes the forward's side, and a difference neither: it is asked first.
    if abs(asked - stepped) <= tolerance:
        return True
    analytic = abs(stepped - central) <= _AGREE * size
    return bool(not analytic and abs(asked - central) <= tolerance + _ACCURACY * size)


def _function(
    trial: Trial, forward: Function, args: tuple[Any, ...], place: tuple[int, ...]
) -> Callable[[Array], Array]:
    """Return the result as a function of one argument."""

    def f(x: Array) -> Array:
        changed = _replaced(args, place, x)
        if np.iscomplexobj(x):  # operations want arguments of one dtype
            changed = _complex(changed)
        return np.asarray(forward(*changed, **trial.call.keywords())[0])

    return f


def _leaves(trial: Trial, args: tuple[Any, ...]) -> Iterator[tuple[str, Array, tuple[int, ...]]]:
    for position, argument in enumerate(trial.call.spec.arguments):
        value = args[position]
        if isinstance(value, tuple):
            for i, part in enumerate(value):
                yield f"d{argument}[{i}]", part, (position, i)
        elif value is not None:
            yield f"d{argument}", value, (position,)


def _replaced(args: tuple[Any, ...], place: tuple[int, ...], x: Array) -> tuple[Any, ...]:
    first, *rest = place
    inner = _replaced(args[first], tuple(rest), x) if rest else x
    return (*args[:first], inner, *args[first + 1 :])


def _complex(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_complex(item) for item in value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return value.astype(np.complex128)
    return value
