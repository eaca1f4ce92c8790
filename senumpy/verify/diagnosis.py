"""Which mistake was made: wrong numbers beside those that known mistakes give on the same inputs.

A mistake is named only where it gives the candidate's numbers on all the evidence: every result that is
wrong, and every result that is right. First single mistakes are tried, then pairs. Where several give the
same numbers, all are named as alternatives, and another call would tell them apart. Where none fits, the
answer says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from senumpy.verify.calls import Results
from senumpy.verify.diagnosis_fits import Fit, Search
from senumpy.verify.diagnosis_numbers import Trial, wrong_names
from senumpy.verify.diagnosis_shapes import shape_mistakes
from senumpy.verify.diagnosis_words import found_text, ratios_text
from senumpy.verify.mistakes import Mistake
from senumpy.verify.rounding import Expectation

ALTERNATIVES = 4  # more are not named


@dataclass(frozen=True)
class Diagnosis:
    """What explains a candidate's wrong results.

    Attributes
    ----------
    mistakes : tuple of Mistake
        One, or two together; empty where nothing fits, or nothing is wrong.
    alternatives : tuple of tuples of Mistake
        Others that give the same numbers on all the evidence: where there are any, more evidence is wanted.
    results : tuple of str
        The results that are explained, such as ``("y", "dx")``.
    text : str
        For the user.
    """

    mistakes: tuple[Mistake, ...]
    alternatives: tuple[tuple[Mistake, ...], ...]
    results: tuple[str, ...]
    text: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the mistakes."""
        return tuple(mistake.name for mistake in self.mistakes)


def diagnose(op: str, evidence: Sequence[tuple[Expectation, Results]]) -> Diagnosis:
    """Find the known mistakes, one or two, that give a candidate's numbers.

    Parameters
    ----------
    op : str
        The operation.
    evidence : sequence of (Expectation, results)
        Calls of the operation with what the candidate gave; some of it may be right.

    Returns
    -------
    Diagnosis
    """
    trials = [trial for trial in (Trial(*item) for item in evidence) if trial.got]
    wrong = wrong_names(trials)
    if not wrong:
        return Diagnosis((), (), (), "No result is wrong.")
    order = [name for trial in trials for name in trial.got]
    results = tuple(dict.fromkeys(name for name in order if name in wrong))
    search = Search(op, trials)
    for attempt in (search.singles, lambda: shape_mistakes(op, trials), *_pairs(search)):
        fits = _distinct(attempt())
        if fits:
            first, *others = fits
            text = found_text(results, fits[: ALTERNATIVES + 1])
            return Diagnosis(first.mistakes, tuple(fit.mistakes for fit in others), results, text)
    return Diagnosis((), (), (), ratios_text(trials, results))


def _pairs(search: Search) -> tuple[Callable[[], list[Fit]], ...]:
    return search.apart, search.upon, search.composed


def _distinct(fits: Sequence[Fit]) -> list[Fit]:
    """Return one fit for each set of mistakes, in order."""
    by_names: dict[frozenset[str], Fit] = {}
    for fit in fits:
        by_names.setdefault(frozenset(mistake.name for mistake in fit.mistakes), fit)
    return list(by_names.values())
