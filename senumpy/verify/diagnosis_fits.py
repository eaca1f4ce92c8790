"""Which mistakes, alone or two together, give a candidate's numbers."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, permutations
from typing import Any

import numpy as np

from senumpy.verify.calls import Results
from senumpy.verify.diagnosis_derivative import matches_own_derivative
from senumpy.verify.diagnosis_numbers import (
    Function,
    Sheet,
    Trial,
    names_of,
    running_numbers,
    sheet,
    spreads_of,
    wrong_names,
)
from senumpy.verify.mistakes import MISTAKES, RUNNING_MISTAKES, Mistake

# How the gradients of a wrong forward came about.
RIGHT, PLANTED, OWN = "of the right forward", "of the mistake's cache", "the wrong result's derivative"


@dataclass(frozen=True)
class Fit:
    """Mistakes that give the candidate's numbers, the results they explain, where gradients are from."""

    mistakes: tuple[Mistake, ...]
    results: frozenset[str]
    gradients: str = ""


class Search:
    """A search over the bank of one operation; every mistake's numbers are made once."""

    def __init__(self, op: str, trials: Sequence[Trial]) -> None:
        self.trials = trials
        self.names, self.wrong = names_of(trials), wrong_names(trials)
        self.spec = trials[0].call.spec
        bank = [mistake for mistake in MISTAKES if mistake.op == op]
        self.forwards = [m for m in bank if m.forward is not None and m.backward is None]
        self.backwards = [m for m in bank if m.backward is not None]
        self._pieces: list[tuple[Mistake, Sheet]] | None = None
        # One call that most mistakes fail on already: a small one, where y is wrong if it is anywhere.
        self.first = min(
            (
                trial
                for trial in trials
                if ("y" if "y" in self.wrong else next(iter(self.wrong))) in trial.wrong
            ),
            key=lambda trial: sum(a.size for a in trial.got.values()),
        )

    # -- one mistake ---------------------------------------------------------------------------------------

    def singles(self) -> list[Fit]:
        """Return every single mistake that explains all the evidence."""
        fits = [
            Fit((mistake,), frozenset(self.wrong))
            for mistake in self.backwards
            if self._passes(*self._pair(mistake), names=list(self.first.got))
            and self._sheet(*self._pair(mistake)).explains(self.wrong)
        ]
        fits += [
            Fit((m,), frozenset(self.wrong)) for m, found in self._updates() if found.explains(self.wrong)
        ]
        if "y" in self.wrong:
            for mistake in self.forwards:
                fits += self._whole((mistake,), mistake.forward)  # type: ignore[arg-type]
        return fits

    def _pair(self, mistake: Mistake) -> tuple[Function, Function]:
        return mistake.forward or self.spec.forward, mistake.backward or self.spec.backward

    def _passes(self, forward: Function, backward: Function, names: Sequence[str]) -> bool:
        """Return whether these functions give the candidate's numbers on the first call."""
        numbers = self.first.numbers(forward, backward)
        if numbers is None:
            return False
        (spread,) = spreads_of([self.first], forward, backward)
        return all(
            self.first.same(name, numbers[name], partial(spread, name)) for name in names if name in numbers
        )

    def _updates(self) -> list[tuple[Mistake, Sheet]]:
        if not {"running_mean", "running_var"} & self.wrong:
            return []
        return [
            (update.mistake, sheet(self.trials, [running_numbers(trial, [update]) for trial in self.trials]))
            for update in RUNNING_MISTAKES
        ]

    @property
    def pieces(self) -> list[tuple[Mistake, Sheet]]:
        """Wrong backwards and wrong updates, with what each gives over all the evidence."""
        if self._pieces is None:
            sheets = [(mistake, self._sheet(*self._pair(mistake))) for mistake in self.backwards]
            self._pieces = [*sheets, *self._updates()]
        return self._pieces

    def _sheet(self, forward: Function, backward: Function) -> Sheet:
        numbers = [trial.numbers(forward, backward) for trial in self.trials]
        return sheet(self.trials, numbers, spreads_of(self.trials, forward, backward))

    def _versions(self, forward: Function) -> Iterator[tuple[str, dict[str, bool]]]:
        """Yield where gradients may be from, and which results then match; nothing unless y does.

        The third kind is asked last and only where it matters: it needs many runs of the forward.
        """
        if "y" in self.first.wrong and not self._passes(forward, self.spec.backward, ["y"]):
            return
        planted = self._sheet(forward, self.spec.backward)
        if not planted.matched.get("y", False) or "y" not in planted.convincing:
            return
        right = {n: not any(n in t.wrong for t in self.trials) for n in self.names}
        yield RIGHT, right | {"y": True}
        yield PLANTED, planted.matched
        own = {n: ok for n, ok in right.items() if not n.startswith("d")}
        yield OWN, own | matches_own_derivative(self.trials, forward) | {"y": True}

    def _whole(self, mistakes: tuple[Mistake, ...], forward: Function) -> list[Fit]:
        for how, matched in self._versions(forward):
            if all(matched.get(name, False) for name in self.names):
                return [Fit(mistakes, frozenset(self.wrong), how)]
        return []

    # -- two that touch different results ------------------------------------------------------------------

    def apart(self) -> list[Fit]:
        """Return pairs that share no result: each explains what the other leaves right."""
        parts: list[Fit] = []
        for mistake, found in self.pieces:
            if found.touched and all(found.matched[n] for n in found.touched):
                explained = found.touched & self.wrong
                if explained and explained <= found.convincing:
                    parts.append(Fit((mistake,), explained))
        parts += self._forward_parts()
        return [
            Fit((*a.mistakes, *b.mistakes), a.results | b.results, a.gradients or b.gradients)
            for a, b in combinations(parts, 2)
            if a.mistakes != b.mistakes and not a.results & b.results and a.results | b.results == self.wrong
        ]

    def _forward_parts(self) -> Iterator[Fit]:
        """Yield forward mistakes that explain y, with what else follows from it."""
        for mistake in self.forwards if "y" in self.wrong else ():
            for how, matched in self._versions(mistake.forward):  # type: ignore[arg-type]
                others = {n for n in self.wrong if n.startswith("d") and not matched.get(n, False)}
                if how == RIGHT:
                    yield Fit((mistake,), frozenset({"y"}), how)
                elif not others:  # all gradients: what remains is running statistics
                    rest = {n for n in self.wrong if n == "y" or n.startswith("d")}
                    yield Fit((mistake,), frozenset(rest), how)

    # -- a wrong forward with a wrong backward upon it -----------------------------------------------------

    def upon(self) -> list[Fit]:
        """Return pairs of a wrong forward and a wrong backward that works on what it kept."""
        fits = []
        for mistake in self.forwards if "y" in self.wrong else ():
            forward: Function = mistake.forward  # type: ignore[assignment]
            for how, matched in self._versions(forward):
                base = self.spec.forward if how == RIGHT else forward
                failing = {n for n in self.names if not matched.get(n, False)}
                fits += [
                    Fit((mistake, other), frozenset(self.wrong), how)
                    for other in self.backwards
                    if other.forward is None and self._mends(base, other, matched, failing)
                ]
        return fits

    def _mends(self, forward: Function, other: Mistake, matched: dict[str, bool], failing: set[str]) -> bool:
        """Whether a wrong backward gives what the forward alone doesn't, and changes nothing that matches."""
        changed = set()
        for trial in self.trials:
            numbers = trial.numbers(forward, other.backward)  # type: ignore[arg-type]
            plain = trial.numbers(forward, self.spec.backward)
            if numbers is None or plain is None:
                return False
            for name in trial.got:
                if not name.startswith("d"):
                    continue
                before, after = plain.get(name), numbers.get(name)
                if after is None or before is None or np.array_equal(before, after):
                    continue
                changed.add(name)
                if not trial.same(name, after):
                    return False
        return bool(failing) and failing <= changed

    # -- two on the same result ----------------------------------------------------------------------------

    def composed(self) -> list[Fit]:
        """Return pairs that change the same result, one upon the other."""
        if "y" in self.wrong:
            return self._composed_forwards()
        if any(name.startswith("d") for name in self.wrong):
            return self._composed_backwards()
        return self._composed_updates()

    def _composed_forwards(self) -> list[Fit]:
        trial = min((t for t in self.trials if "y" in t.wrong), key=lambda t: t.got["y"].size)
        fits: list[Fit] = []
        seen: set[frozenset[str]] = set()
        for a, b, forward in self._forward_compositions(trial):
            key = frozenset((a.name, b.name))
            if key in seen:
                continue
            found = self._whole((a, b), forward)
            if found:
                seen.add(key)
                fits += found
        return fits

    def _forward_compositions(self, trial: Trial) -> Iterator[tuple[Mistake, Mistake, Function]]:
        """Yield compositions whose y is the candidate's on one trial where it is wrong."""
        backward, right = self.spec.backward, self.spec.forward
        y = {
            m.name: found["y"]
            for m in self.forwards
            if (found := trial.numbers(m.forward, backward)) is not None  # type: ignore[arg-type]
        }
        for a, b in permutations(self.forwards, 2):
            forward = _upon(a, b)
            if forward is not None:
                numbers = trial.numbers(forward, backward)
                if numbers is not None and trial.same("y", numbers["y"]):
                    yield a, b, forward
        for a, b in combinations(self.forwards, 2):
            for kind, join in _JOINS.items():
                both = [y.get(m.name) for m in (a, b)]
                joined = join(both[0], both[1], trial.want["y"])
                if joined is not None and trial.same("y", joined):
                    yield a, b, _joined(a, b, right, _JOINS[kind])

    def _composed_backwards(self) -> list[Fit]:
        fits = []
        for (a, first), (b, second) in combinations(self.pieces, 2):
            if a.backward is None or b.backward is None or a.forward or b.forward:
                continue
            if not self.wrong <= first.touched | second.touched:
                continue
            for numbers in self._backward_compositions(a, b):
                if sheet(self.trials, numbers).explains(self.wrong):
                    fits.append(Fit((a, b), frozenset(self.wrong)))
                    break
        return fits

    def _backward_compositions(self, a: Mistake, b: Mistake) -> Iterator[list[Results | None]]:
        right = self.spec.forward
        for outer, inner in ((a, b), (b, a)):
            if outer.gradients is not None:
                backward = _after(outer, inner)
                yield [trial.numbers(right, backward) for trial in self.trials]
        for join in _JOINS.values():
            yield [self._joined_gradients(trial, a, b, join) for trial in self.trials]

    def _joined_gradients(
        self, trial: Trial, a: Mistake, b: Mistake, join: Callable[[Any, Any, Any], Any]
    ) -> Results | None:
        functions: list[Function] = [f for f in (a.backward, b.backward, self.spec.backward) if f]
        first, second, right = (trial.numbers(self.spec.forward, backward) for backward in functions)
        if first is None or second is None or right is None:
            return None
        return {name: join(first.get(name), second.get(name), right[name]) for name in right}

    def _composed_updates(self) -> list[Fit]:
        fits = []
        for a, b in combinations(RUNNING_MISTAKES, 2):
            for order in ((a, b), (b, a)):
                numbers = [running_numbers(trial, order) for trial in self.trials]
                if sheet(self.trials, numbers).explains(self.wrong):
                    fits.append(Fit((a.mistake, b.mistake), frozenset(self.wrong)))
                    break
        return fits


def _upon(a: Mistake, b: Mistake) -> Function | None:
    """Return the forward in which `b` is made upon what `a` does to arguments or result; None if it can't."""
    if b.forward is None:
        return None
    inner: Function = b.forward
    if a.arguments is not None:
        change: Function = a.arguments

        def of_changed(*args: Any, **options: Any) -> Any:
            changed, settings = change(*args, **options)
            return inner(*changed, **settings)

        return of_changed
    if a.result is not None:
        finish: Function = a.result

        def finished(*args: Any, **options: Any) -> Any:
            y, cache = inner(*args, **options)
            return finish(y, *args, **options), cache

        return finished
    return None


def _after(outer: Mistake, inner: Mistake) -> Function:
    def backward(dy: Any, cache: Any) -> Any:
        return outer.gradients(inner.backward(dy, cache), dy, cache)  # type: ignore[misc]

    return backward


def _added(a: Any, b: Any, right: Any) -> Any:
    """Both changes added: for mistakes in different terms of a sum."""
    return a + b - right if _fit(a, b, right) else None


def _multiplied(a: Any, b: Any, right: Any) -> Any:
    """Both changes multiplied: for wrong factors."""
    if not _fit(a, b, right):
        return None
    zero = right == 0
    return np.where(zero, a + b - right, a * b / np.where(zero, 1.0, right))


_JOINS: dict[str, Callable[[Any, Any, Any], Any]] = {"added": _added, "multiplied": _multiplied}


def _fit(a: Any, b: Any, right: Any) -> bool:
    return a is not None and b is not None and right is not None and a.shape == b.shape == right.shape


def _joined(a: Mistake, b: Mistake, right: Function, join: Callable[[Any, Any, Any], Any]) -> Function:
    def forward(*args: Any, **options: Any) -> Any:
        def result(function: Any) -> Any:
            return function(*args, **_fresh(options))[0]

        y, cache = right(*args, **_fresh(options))
        return join(result(a.forward), result(b.forward), y), cache

    return forward


def _fresh(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options with generators copied: each function draws the same."""
    return copy.deepcopy(options)
