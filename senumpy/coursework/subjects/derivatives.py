"""Derivatives along a direction: by a complex step, and by a central difference.

How far rounding may take the complex step is measured (see `subject`): L is the number of operations in a
function. The central difference subtracts values of f that are each off by K u |f| (K operations) and lie at
points that are off by u |x|, so

    |error| <= (K u (|f(x + hv)| + |f(x - hv)|) + 2 u sum_j |df/dx_j| |x_j|) / 2h + a few u |D(h)|
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
    U,
    numbers,
    shape_text,
)
from senumpy.verify.numerical import central_difference, complex_step
from senumpy.verify.rounding import ROUND

K = 16.0  # operations in one of the functions
_MATRIX = np.array([[0.5, -1.25, 0.75], [1.5, 0.25, -0.5], [-0.75, 1.0, 0.625], [0.25, -0.5, 1.375]])

# Beyond the second power, and of no symmetry that makes a wrong difference right.
FUNCTIONS: dict[str, Function] = {
    "exp(x) sin(3 x)": lambda x: np.exp(x) * np.sin(3.0 * x),
    "x^3 / (1 + x^2)": lambda x: x * x * x / (1.0 + x * x),
    "log(1 + exp(x))": lambda x: np.log(1.0 + np.exp(x)),
    "the sums of exp(x) + x^3 over rows": lambda x: (np.exp(x) + x * x * x).sum(axis=-1),
    "tanh(A x), A a matrix of 4 x 3": lambda x: np.tanh(_MATRIX @ x),
    "x |x| exp(x)": lambda x: x * np.abs(x) * np.exp(x),  # not analytic: for differences alone
}
_MIXING, _REAL = "tanh(A x), A a matrix of 4 x 3", "x |x| exp(x)"
_SQUARE = ("exp(x) sin(3 x)", "x^3 / (1 + x^2)", "log(1 + exp(x))")


def _case(name: str, x: Array, v: Array, h: float | None) -> Case:
    step = "h left to its default" if h is None else f"h = {h:g}"
    shown = x.ndim == 1 and x.size <= 3
    values = f"x = {np.array2string(x, precision=3, separator=', ')}" if shown else f"x of {shape_text(x)}"
    text = f"f(x) = {name}, {step}, {values}"
    return Case(text, {"function": name, "x": x, "v": v, "h": h})


def _runs(which: str, functions: Functions, case: Case) -> Results:
    data = case.data
    step = {} if data["h"] is None else {"h": data["h"]}
    value = functions[which](FUNCTIONS[data["function"]], data["x"].copy(), data["v"].copy(), **step)
    return {"derivative": numbers(value, which)}


def _points(rng: np.random.Generator, *shape: int) -> tuple[Array, Array]:
    """Return points away from 0, and signed directions that are neither 0 nor 1."""
    x = rng.uniform(0.3, 1.2, shape) * rng.choice([-1.0, 1.0], shape)
    v = rng.uniform(0.4, 0.9, shape) * rng.choice([-1.0, 1.0], shape)
    return x, v


# -- the complex step --------------------------------------------------------------------------------------


def _fixed_complex() -> list[Case]:
    x, v = np.array([1.5, -0.5]), np.array([1.0, 1.0])
    return [
        _case("x^3 / (1 + x^2)", x, v, None),
        _case("exp(x) sin(3 x)", x, np.array([-2.0, 0.5]), 1e-30),
    ]


def _draw_complex(rng: np.random.Generator) -> list[Case]:
    smooth = str(rng.choice(_SQUARE))
    return [
        _case(smooth, *_points(rng, 3), None),
        _case(_MIXING, *_points(rng, 3), float(rng.choice([1e-20, 1e-40]))),
        _case("exp(x) sin(3 x)", *_points(rng, 2, 3), 1e-30),
        _case("the sums of exp(x) + x^3 over rows", *_points(rng, 4, 2), 1e-25),
        _case("exp(x) sin(3 x)", *_points(rng, 3), 1e-2),
    ]


def _wrong_complex(name: str, explanation: str, function: Function) -> SubjectMistake:
    return SubjectMistake(name, explanation, {"complex_step": function})


H = 1e-30

COMPLEX_STEP = Subject(
    name="complex_step",
    reference={"complex_step": complex_step},
    fixed=_fixed_complex,
    draw=_draw_complex,
    runs=lambda functions, case: _runs("complex_step", functions, case),
    terms=16,
    mistakes=(
        _wrong_complex(
            "real-part",
            "The real part is taken: that is f(x) itself; the derivative is in the imaginary part.",
            lambda f, x, v, h=H: f(x + 1j * (h * v)).real.ravel() / h,
        ),
        _wrong_complex(
            "not-divided",
            "The imaginary part is h times the derivative: it is not divided by h.",
            lambda f, x, v, h=H: f(x + 1j * (h * v)).imag.ravel(),
        ),
        _wrong_complex(
            "absolute-value",
            "The absolute value is taken: the sign of the derivative is lost.",
            lambda f, x, v, h=H: np.abs(f(x + 1j * (h * v)).imag).ravel() / h,
        ),
        _wrong_complex(
            "modulus",
            "The modulus of f(x + ihv) is taken, not its imaginary part.",
            lambda f, x, v, h=H: np.abs(f(x + 1j * (h * v))).ravel() / h,
        ),
        _wrong_complex(
            "real-step",
            "The step is real: f(x + hv) - f(x) cancels, and is 0 for so small an h.",
            lambda f, x, v, h=H: (f(x + h * v) - f(x)).ravel() / h,
        ),
        _wrong_complex(
            "halved",
            "The imaginary part is divided by 2h: only one value of f is used, at a distance of h.",
            lambda f, x, v, h=H: f(x + 1j * (h * v)).imag.ravel() / (2 * h),
        ),
        _wrong_complex(
            "direction-ignored",
            "The step goes along all ones, not along v.",
            lambda f, x, v, h=H: f(x + 1j * h).imag.ravel() / h,
        ),
        _wrong_complex(
            "step-of-one",
            "The step is v, not h v: the terms beyond the first order are not small.",
            lambda f, x, v, h=H: f(x + 1j * v).imag.ravel() / h,
        ),
        _wrong_complex(
            "backwards",
            "The step goes against v: the sign is wrong.",
            lambda f, x, v, h=H: f(x - 1j * (h * v)).imag.ravel() / h,
        ),
        _wrong_complex(
            "h-ignored",
            "The argument h is not used: the step is always the same.",
            lambda f, x, v, h=H: f(x + 1j * (1e-30 * v)).imag.ravel() / 1e-30,
        ),
        _wrong_complex(
            "not-flat",
            "The result has f's shape: a flat array is wanted.",
            lambda f, x, v, h=H: f(x + 1j * (h * v)).imag / h,
        ),
    ),
)


# -- the central difference --------------------------------------------------------------------------------


def _fixed_central() -> list[Case]:
    x, v = np.array([1.5, -0.5]), np.array([1.0, 1.0])
    return [
        _case("x^3 / (1 + x^2)", x, v, 0.1),
        _case("exp(x) sin(3 x)", x, np.array([-2.0, 0.5]), 1e-3),
    ]


def _draw_central(rng: np.random.Generator) -> list[Case]:
    return [
        _case(str(rng.choice(_SQUARE)), *_points(rng, 3), float(rng.choice([0.05, 0.02]))),
        _case(_MIXING, *_points(rng, 3), 1e-2),
        _case("exp(x) sin(3 x)", *_points(rng, 2, 3), 1e-2),
        _case(_REAL, *_points(rng, 4), 1e-3),
        _case("the sums of exp(x) + x^3 over rows", *_points(rng, 4, 2), 1e-4),
    ]


def _central_bound(case: Case, want: Results) -> dict[str, Any]:
    """See the module."""
    f, x, v, h = (case.data[name] for name in ("function", "x", "v", "h"))
    f = FUNCTIONS[f]
    values = np.abs(f(x + h * v)).ravel() + np.abs(f(x - h * v)).ravel()
    moved = np.zeros(values.shape)  # sum_j |df/dx_j| |x_j|
    for j in np.ndindex(x.shape):
        along = np.zeros(x.shape)
        along[j] = 1.0
        moved += np.abs(central_difference(f, x, along, h)) * abs(x[j])
    bound = (K * U * values + 2 * U * moved) / (2 * h) + ROUND * U * np.abs(want["derivative"])
    return {"derivative": bound}


def _wrong_central(name: str, explanation: str, function: Function) -> SubjectMistake:
    return SubjectMistake(name, explanation, {"central_difference": function})


CENTRAL_DIFFERENCE = Subject(
    name="central_difference",
    reference={"central_difference": central_difference},
    fixed=_fixed_central,
    draw=_draw_central,
    runs=lambda functions, case: _runs("central_difference", functions, case),
    bound=_central_bound,
    mistakes=(
        _wrong_central(
            "forward-difference",
            "This is the one-sided difference (f(x + hv) - f(x)) / h, with an error of the order h, not h^2.",
            lambda f, x, v, h: (f(x + h * v) - f(x)).ravel() / h,
        ),
        _wrong_central(
            "backward-difference",
            "This is the one-sided difference (f(x) - f(x - hv)) / h, with an error of the order h, not h^2.",
            lambda f, x, v, h: (f(x) - f(x - h * v)).ravel() / h,
        ),
        _wrong_central(
            "divided-by-h",
            "The two points are 2h apart: the difference is divided by h only, so it is twice too large.",
            lambda f, x, v, h: (f(x + h * v) - f(x - h * v)).ravel() / h,
        ),
        _wrong_central(
            "times-h",
            "`/ 2 * h` divides by 2 and multiplies by h: brackets are missing around 2 * h.",
            lambda f, x, v, h: (f(x + h * v) - f(x - h * v)).ravel() / 2 * h,
        ),
        _wrong_central(
            "brackets-missing",
            "Only f(x - hv) is divided by 2h: brackets are missing around the difference.",
            lambda f, x, v, h: f(x + h * v).ravel() - f(x - h * v).ravel() / (2 * h),
        ),
        _wrong_central(
            "half-step",
            "The points are h apart, at x + hv/2 and x - hv/2: they are to be 2h apart.",
            lambda f, x, v, h: (f(x + 0.5 * h * v) - f(x - 0.5 * h * v)).ravel() / h,
        ),
        _wrong_central(
            "direction-ignored",
            "The step goes along all ones, not along v.",
            lambda f, x, v, h: (f(x + h) - f(x - h)).ravel() / (2 * h),
        ),
        _wrong_central(
            "backwards",
            "f(x + hv) is subtracted from f(x - hv): the sign is wrong.",
            lambda f, x, v, h: (f(x - h * v) - f(x + h * v)).ravel() / (2 * h),
        ),
        _wrong_central(
            "sum",
            "The two values are added instead of subtracted.",
            lambda f, x, v, h: (f(x + h * v) + f(x - h * v)).ravel() / (2 * h),
        ),
        _wrong_central(
            "complex-step",
            "This is the complex step: f need not take complex numbers here.",
            lambda f, x, v, h: f(x + 1j * (h * v)).imag.ravel() / h,
        ),
        _wrong_central(
            "not-flat",
            "The result has f's shape: a flat array is wanted.",
            lambda f, x, v, h: (f(x + h * v) - f(x - h * v)) / (2 * h),
        ),
    ),
)
