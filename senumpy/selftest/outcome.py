"""What one check found, and how a check is written: a function that yields outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Outcome(NamedTuple):
    """One thing that was looked at.

    Attributes
    ----------
    what : str
        Such as "dx" or "a second run gives the same bits".
    message : str
        What was found and what was wanted; empty where it held.
    ratio : float or None
        Error over its bound, where there is a bound: up to 1 it holds.
    """

    what: str
    message: str = ""
    ratio: float | None = None

    @property
    def held(self) -> bool:
        """Whether there is nothing to say."""
        return not self.message


class Check(NamedTuple):
    """Something to look at on one case; `run` yields its outcomes.

    Attributes
    ----------
    subject : str
        The operation, unit, network or helper.
    case : str
        What is special about these arguments.
    seed : int
        Draws them.
    run : callable
    """

    subject: str
    case: str
    seed: int
    run: Callable[[], Iterator[Outcome]]


def within(what: str, got: Array | None, want: Array | None, limit: float) -> Outcome:
    """Return whether |got - want| <= limit everywhere; None has to meet None, and shapes to be equal."""
    if got is None or want is None:
        if got is None and want is None:
            return Outcome(what)
        return Outcome(what, f"found {_kind(got)}, wanted {_kind(want)}")
    if got.shape != want.shape:
        return Outcome(what, f"found shape {got.shape}, wanted {want.shape}")
    error = np.abs(got.astype(np.float64) - want)
    error = np.where(np.isnan(error), np.inf, error)  # a NaN is the worst error of all
    worst = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
    ratio = float(error[worst]) / limit if limit else float(error[worst] > 0) * np.inf
    if ratio <= 1.0:
        return Outcome(what, "", ratio)
    where = f" at {worst}" if worst else ""
    message = (
        f"found {float(got[worst]):.9g}{where}, wanted {float(want[worst]):.9g} "
        f"(error {error[worst]:.1e}, bound {limit:.1e})"
    )
    return Outcome(what, message, ratio)


def largest(array: Array) -> float:
    """Return max |array|."""
    return float(np.max(np.abs(array), initial=0.0))


def holds(what: str, condition: bool, message: str) -> Outcome:
    """Return the outcome of a question without numbers."""
    return Outcome(what, "" if condition else message)


def _kind(value: Array | None) -> str:
    return "None" if value is None else f"an array of shape {value.shape}"
