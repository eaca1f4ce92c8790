"""Steps of SGD, several in a row with different learning rates, so that what is kept in between shows.

The bound is measured; a number of value is a sum of some 4 terms a step.
"""

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
    shape_text,
)
from senumpy.ops.sgd import sgd_update

STEPS = 3
_SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "nesterov": True},
    {"weight_decay": 0.1},
    {"momentum": 0.8, "weight_decay": 0.05},
    {"momentum": 0.7, "nesterov": True, "weight_decay": 0.2},
)


def _case(
    value: Array, velocity: Array, gradients: Array, rates: tuple[float, ...], settings: dict[str, Any]
) -> Case:
    named = ", ".join(f"{name} {setting}" for name, setting in settings.items()) or "no momentum, no decay"
    start = "zero" if not velocity.any() else "not zero"
    text = (
        f"{len(rates)} step{'s' * (len(rates) > 1)}, lr {', '.join(f'{rate:g}' for rate in rates)}; {named}; "
        f"{shape_text(value)} numbers, velocity {start} at first"
    )
    data = {"value": value, "velocity": velocity, "gradients": gradients, "rates": rates}
    return Case(text, {**data, "settings": settings})


def _runs(functions: Functions, case: Case) -> Results:
    data = case.data
    value, velocity = data["value"].copy(), data["velocity"].copy()
    after: dict[str, list[Array]] = {"value": [], "velocity": [], "gradient afterwards": []}
    for gradient, lr in zip(data["gradients"].copy(), data["rates"], strict=True):
        functions["sgd_update"](value, gradient, velocity, lr=lr, **data["settings"])
        for name, array in zip(after, (value, velocity, gradient), strict=True):
            after[name].append(array.copy())
    return {name: np.stack(arrays) for name, arrays in after.items()}


def _fixed() -> list[Case]:
    value, gradients = np.array([1.0, -2.0]), np.array([[0.5, 1.0], [-1.0, 0.25], [0.5, 0.5]])
    zero = np.zeros(2)
    return [
        _case(value, zero, gradients[:1], (0.1,), {}),
        _case(value, zero, gradients, (0.1, 0.1, 0.01), {"momentum": 0.9}),
    ]


def _draw(rng: np.random.Generator) -> list[Case]:
    cases = []
    for settings in _SETTINGS:
        shape = tuple(int(n) for n in rng.integers(2, 5, rng.integers(1, 4)))
        rates = tuple(float(rate) for rate in rng.choice([0.5, 0.2, 0.1, 0.05, 0.02], STEPS, replace=False))
        velocity = rng.normal(size=shape) if rng.random() < 0.5 else np.zeros(shape)
        cases.append(
            _case(rng.normal(size=shape), velocity, rng.normal(size=(STEPS, *shape)), rates, settings)
        )
    return cases


def _wrong(name: str, explanation: str, function: Function) -> SubjectMistake:
    return SubjectMistake(name, explanation, {"sgd_update": function})


def _step(x: Array, grad: Array, v: Array, lr: float, m: float, nesterov: bool, d: float) -> None:
    sgd_update(x, grad, v, lr=lr, momentum=m, nesterov=nesterov, weight_decay=d)


def _velocity_not_kept(
    x: Array, grad: Array, v: Array, *, lr: float, momentum: float = 0.0, nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:  # fmt: skip
    _step(x, grad, v.copy(), lr, momentum, nesterov, weight_decay)


def _not_in_place(x: Array, grad: Array, v: Array, **settings: Any) -> None:
    sgd_update(x.copy(), grad, v, **settings)


def _rate_inside(
    x: Array, grad: Array, v: Array, *, lr: float, momentum: float = 0.0, nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:  # fmt: skip
    _step(x, lr * (grad + weight_decay * x), v, 1.0, momentum, nesterov, 0.0)


def _nesterov_ignored(x: Array, grad: Array, v: Array, *, nesterov: bool = False, **settings: Any) -> None:
    sgd_update(x, grad, v, **settings)


def _velocity_twice(
    x: Array, grad: Array, v: Array, *, lr: float, momentum: float = 0.0, nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:  # fmt: skip
    g = grad + weight_decay * x
    v[...] = momentum * v + g
    x -= lr * (v + momentum * v if nesterov else v)


def _decay_apart(
    x: Array, grad: Array, v: Array, *, lr: float, momentum: float = 0.0, nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:  # fmt: skip
    decay = lr * weight_decay * x
    _step(x, grad, v, lr, momentum, nesterov, 0.0)
    x -= decay


def _decay_ignored(x: Array, grad: Array, v: Array, *, weight_decay: float = 0.0, **settings: Any) -> None:
    sgd_update(x, grad, v, **settings)


def _decay_subtracted(x: Array, grad: Array, v: Array, *, weight_decay: float = 0.0, **settings: Any) -> None:
    sgd_update(x, grad, v, weight_decay=-weight_decay, **settings)


def _damped(
    x: Array, grad: Array, v: Array, *, lr: float, momentum: float = 0.0, nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:  # fmt: skip
    g = grad + weight_decay * x
    v[...] = momentum * v + (1.0 - momentum) * g
    x -= lr * (g + momentum * v if nesterov else v)


def _uphill(x: Array, grad: Array, v: Array, *, lr: float, **settings: Any) -> None:
    sgd_update(x, grad, v, lr=-lr, **settings)


def _momentum_ignored(x: Array, grad: Array, v: Array, *, momentum: float = 0.0, **settings: Any) -> None:
    sgd_update(x, grad, v, momentum=0.0, **settings)


def _gradient_changed(x: Array, grad: Array, v: Array, *, weight_decay: float = 0.0, **settings: Any) -> None:
    grad += weight_decay * x
    sgd_update(x, grad, v, **settings)


def _old_velocity(
    x: Array, grad: Array, v: Array, *, lr: float, momentum: float = 0.0, nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:  # fmt: skip
    old, kept = x - lr * v, v
    _step(x, grad, kept, lr, momentum, nesterov, weight_decay)
    x[...] = old


SGD_UPDATE = Subject(
    name="sgd_update",
    reference={"sgd_update": sgd_update},
    fixed=_fixed,
    draw=_draw,
    runs=_runs,
    terms=4 * STEPS,
    mistakes=(
        _wrong(
            "velocity-not-kept",
            "A new array is made for the velocity: the one that was passed is to be changed, in place.",
            _velocity_not_kept,
        ),
        _wrong(
            "value-not-in-place",
            "`value = value - ...` makes a new array: the one that was passed is to be changed, in place.",
            _not_in_place,
        ),
        _wrong(
            "nothing-in-place",
            "Both arrays are made anew: those that were passed are to be changed, in place.",
            lambda value, gradient, velocity, **settings: None,
        ),
        _wrong(
            "lr-in-velocity",
            "The learning rate is inside the velocity; that differs as soon as it changes.",
            _rate_inside,
        ),
        _wrong(
            "nesterov-ignored",
            "The argument nesterov is not used; or g + m v has the v of before in it, which is the new v.",
            _nesterov_ignored,
        ),
        _wrong(
            "nesterov-v-for-g",
            "Nesterov's step is g + m v; here it is v + m v.",
            _velocity_twice,
        ),
        _wrong(
            "decoupled-decay",
            "The decay is subtracted from value apart from the momentum; here it belongs to the gradient.",
            _decay_apart,
        ),
        _wrong("decay-ignored", "The argument weight_decay is not used.", _decay_ignored),
        _wrong("decay-subtracted", "The decay has the wrong sign: weights grow.", _decay_subtracted),
        _wrong(
            "damped",
            "The velocity is an average, m v + (1 - m) g; here it is a sum, m v + g.",
            _damped,
        ),
        _wrong("uphill", "The step is added to value: this climbs.", _uphill),
        _wrong("momentum-ignored", "The velocity is not kept in the sum: v = g.", _momentum_ignored),
        _wrong(
            "old-velocity",
            "value is moved by the velocity as it was before this step.",
            _old_velocity,
        ),
        _wrong(
            "gradient-changed",
            "The decay is added to the array gradient itself (+=): it is to stay as it is.",
            _gradient_changed,
        ),
    ),
)
