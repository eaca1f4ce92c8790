"""The evidence of a diagnosis, and the numbers that wrong functions give on the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from senumpy.verify.calls import OpCall, Results, named_gradients
from senumpy.verify.judgement import within
from senumpy.verify.mistakes import RunningMistake
from senumpy.verify.mistakes.running import right_terms
from senumpy.verify.rounding import Expectation, roundoff

Array = NDArray[Any]
Function = Callable[..., Any]

# In bounds: a wrong function rounds in other places than the reference, for which the bound is made.
ROOM = 4.0
# A wrong result is explained where it is that much closer to the mistake's numbers than to the truth.
CONVINCING = 1 / 8
_NEAR = 1e-2  # relative: beyond it two results differ by more than a bad condition explains


class Trial:
    """One call of the evidence: what the candidate gave, what is right, and which results are wrong.

    Attributes
    ----------
    got, want : dict
        By name, float64; of the results that can be judged.
    wrong : set of str
        Results that rounding doesn't explain.
    """

    def __init__(self, expectation: Expectation, got: Results) -> None:
        self.expectation = expectation
        self.call: OpCall = expectation.call
        self.want: dict[str, Array] = {}
        self.got: dict[str, Array] = {}
        for name, want in expectation.want.items():
            value = got.get(name)
            hidden = expectation.near_kink and name.startswith("d")
            if want is None or value is None or hidden or not np.isfinite(expectation.bound(name)):
                continue
            self.want[name], self.got[name] = want.astype(np.float64), np.asarray(value, np.float64)
        self.wrong = {n for n, a in self.got.items() if not within(expectation, n, a, expectation.want[n])}
        self.off = {n: _distance(self.got[n], self.want[n]) for n in self.got}  # from the truth
        self._memory: dict[tuple[Any, ...], Results | None] = {}

    def tolerance(self, name: str, values: Array) -> float:
        """Return how far numbers of a mistake's size may be from the candidate's for rounding alone."""
        own = float(np.abs(values).max(initial=0))
        right = float(np.abs(self.want[name]).max(initial=0))
        grown = max(1.0, own / right) if right else 1.0
        rest = 8 * self.expectation.length**0.5 * roundoff(self.expectation.dtype) * own
        return ROOM * self.expectation.bound(name) * grown + rest

    def same(self, name: str, values: Array | None, spread: Callable[[], float] | None = None) -> bool:
        """Return whether `values` are the candidate's, as far as rounding allows to tell.

        `spread` says how far rounding moves the mistake's own numbers; asked where they are near.
        """
        if values is None or values.shape != self.got[name].shape:
            return False
        distance, tolerance = _distance(self.got[name], values), self.tolerance(name, values)
        if distance <= tolerance:
            return True
        near = distance <= _NEAR * float(np.abs(values).max(initial=0))
        return bool(near and spread is not None and distance <= tolerance + ROOM * spread())

    def differs(self, name: str, values: Array | None) -> bool:
        """Return whether a mistake's numbers are others than the right ones."""
        if values is None or values.shape != self.want[name].shape:
            return True
        return _distance(self.want[name], values) > self.expectation.bound(name)

    def convincing(self, name: str, values: Array) -> bool:
        """Return whether the candidate is wrong here, and much closer to `values` than to the truth."""
        if name not in self.wrong or values.shape != self.got[name].shape:
            return False
        return _distance(self.got[name], values) <= CONVINCING * self.off[name]

    def numbers(self, forward: Function, backward: Function, *, seed: int | None = None) -> Results | None:
        """Run a pair of functions on this call in float64; None where they can't.

        With a seed, arguments and upstream gradient are off by rounding: how far do the results move?
        """
        key = (forward, backward, seed)
        if key not in self._memory:
            self._memory[key] = self._run(forward, backward, seed)
        return self._memory[key]

    def _run(self, forward: Function, backward: Function, seed: int | None) -> Results | None:
        rng = None if seed is None else np.random.default_rng(seed)
        # A mistake may be impossible on this call, or give a result that no gradient can be asked of.
        try:
            with np.errstate(all="ignore"):
                y, cache = forward(*self.arguments(rng), **self.call.keywords())
        except Exception:
            return None
        y = np.asarray(y)
        dy = self._off(self.call.upstream(y.shape, np.float64), rng)
        try:
            with np.errstate(all="ignore"):
                found = named_gradients(self.call.spec, backward(dy if dy.ndim else dy[()], cache))
        except Exception:
            found = {name: None for name in self.got if name.startswith("d")}
        return {"y": y, **found}

    def arguments(self, rng: np.random.Generator | None = None) -> tuple[Any, ...]:
        """Return fresh arguments in float64, off by rounding where there is a generator."""
        return _map(lambda a: self._off(a, rng), self.call.arguments(np.float64))

    def _off(self, array: Array, rng: np.random.Generator | None) -> Array:
        if rng is None or array.dtype.kind != "f":
            return array
        return np.asarray(array * (1 + self.expectation.delta * rng.choice([-1.0, 1.0], array.shape)))


@dataclass(frozen=True)
class Sheet:
    """What a wrong version gives over all the evidence, result by result.

    Attributes
    ----------
    matched : dict
        Whether its numbers are the candidate's on every call.
    touched : frozenset of str
        Results that it changes somewhere.
    convincing : frozenset of str
        Results that it explains where the truth doesn't.
    """

    matched: dict[str, bool]
    touched: frozenset[str]
    convincing: frozenset[str]

    def explains(self, wrong: set[str]) -> bool:
        """Return whether every result is the candidate's, the wrong ones and the right ones."""
        return bool(wrong) and all(self.matched.values()) and wrong <= self.convincing


def names_of(trials: Sequence[Trial]) -> list[str]:
    """Return the names of all results that the evidence has."""
    return list(dict.fromkeys(name for trial in trials for name in trial.got))


def wrong_names(trials: Sequence[Trial]) -> set[str]:
    """Return the names of the results that are wrong somewhere."""
    return {name for trial in trials for name in trial.wrong}


def sheet(
    trials: Sequence[Trial],
    versions: Iterable[Results | None],
    spreads: Sequence[Callable[[str], float]] | None = None,
) -> Sheet:
    """Hold the numbers of a wrong version, one dict a trial, against the candidate's.

    A result that a version doesn't have (running statistics) is the right one.
    """
    matched = dict.fromkeys(names_of(trials), True)
    touched, convincing = set(), set()
    for position, (trial, version) in enumerate(zip(trials, versions, strict=True)):
        for name in trial.got:
            if version is None:
                matched[name] = False
                continue
            values = version.get(name) if name in version else trial.want[name]
            if trial.differs(name, values):
                touched.add(name)
            if values is None:
                matched[name] = False
                continue
            spread = None if spreads is None else partial(spreads[position], name)
            matched[name] = matched[name] and trial.same(name, values, spread)
            if trial.convincing(name, values):
                convincing.add(name)
    return Sheet(matched, frozenset(touched), frozenset(convincing))


def spreads_of(
    trials: Sequence[Trial], forward: Function, backward: Function
) -> list[Callable[[str], float]]:
    """Return, for each trial, how far rounding of the inputs moves a result of these functions."""

    def of(trial: Trial) -> Callable[[str], float]:
        def spread(name: str) -> float:
            exact = trial.numbers(forward, backward)
            moves = [0.0]
            for seed in (1, 2):
                moved = trial.numbers(forward, backward, seed=seed)
                if exact is not None and moved is not None and name in exact:
                    moves.append(_distance(exact[name], moved[name]))
            return max(moves)

        return spread

    return [of(trial) for trial in trials]


def running_numbers(trial: Trial, changes: Sequence[RunningMistake]) -> Results | None:
    """Return all results with the running statistics of wrong updates, one upon the other."""
    start = trial.call.running(np.float64)
    if start is None:
        return None
    x = np.asarray(trial.call.args[0], np.float64)
    mean = x.mean((0, 2, 3))
    biased = ((x - mean[:, None, None]) ** 2).mean((0, 2, 3))
    terms = right_terms(start.mean, start.var, mean, biased, x[:, 0].size, start.momentum)
    for mistake in changes:
        terms = mistake.change(terms)
    running_mean, running_var = terms.updated()
    return {"running_mean": np.asarray(running_mean), "running_var": np.asarray(running_var)}


def _distance(a: Array | None, b: Array | None) -> float:
    """Return the largest difference; infinite for other shapes and where one is not finite."""
    if a is None or b is None or a.shape != b.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        distance = np.abs(a - b)
    return float(np.where(np.isnan(distance), np.inf, distance).max(initial=0))


def _map(function: Callable[[Array], Array], value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_map(function, item) for item in value)
    return function(value) if isinstance(value, np.ndarray) else value
