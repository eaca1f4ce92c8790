"""Which mistake a candidate made, from its outcomes: those that tell most are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from senumpy.verify.calls import Results
from senumpy.verify.diagnosis import Diagnosis, diagnose
from senumpy.verify.judgement import LEVELS, within
from senumpy.verify.outcome import Outcome
from senumpy.verify.rounding import Expectation

FAILING, PASSING = 8, 4  # outcomes that a diagnosis starts from
MORE = 3  # times that it may ask for more
Evidence = list[tuple[Expectation, Results]]
_EXTREME = ("zeros", "one number for all", "mostly zeros", "small numbers", "large numbers", "a large mean")


def diagnose_outcomes(
    op: str, failing: list[Outcome], passing: list[Outcome], more: Callable[[int], None]
) -> Diagnosis:
    """Return which mistake explains the wrong results.

    Parameters
    ----------
    op : str
    failing, passing : lists of Outcome
        Calls with something wrong, and without.
    more : callable
        ``more(k)``, k = 1, 2, ...: asked to add outcomes of other calls to both lists, as long as two
        mistakes have the same numbers: other sizes tell them apart.
    """
    for attempt in range(MORE + 1):
        chosen = _each_fault(failing) + _telling(passing)[:PASSING]
        evidence = [(o.expectation, {**o.results, **o.misshapen}) for o in chosen]
        found = diagnose(op, evidence)
        if not found.mistakes:
            return _part_by_part(op, evidence, found)
        if not found.alternatives or attempt == MORE:
            return found
        more(attempt + 1)
    return found


def _telling(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return outcomes, those first that tell mistakes apart best: in float64, of ordinary numbers, larger."""
    return sorted(outcomes, key=lambda o: (o.dtype.itemsize != 8, o.call.note in _EXTREME, -min(o.size, 100)))


def _each_fault(failing: Sequence[Outcome]) -> list[Outcome]:
    """Return failing outcomes that tell most, each wrong result in each dtype among them."""
    ordered = _telling(failing)
    chosen = ordered[:FAILING]
    seen = {place for outcome in chosen for place in _wrong_places(outcome)}
    for outcome in ordered[FAILING:]:
        new = _wrong_places(outcome) - seen
        if new:
            chosen.append(outcome)
            seen |= new
    return chosen


def _wrong_places(outcome: Outcome) -> set[tuple[str, str]]:
    names = [j.result for j in outcome.judgements if j.level in LEVELS[2:]]
    return {(name, outcome.dtype.name) for name in [*names, *outcome.misshapen]}


def _part_by_part(op: str, evidence: Evidence, whole: Diagnosis) -> Diagnosis:
    """Return what explains some wrong results, where nothing explains all: each looked at alone."""
    wrong = list(
        dict.fromkeys(
            name
            for expectation, got in evidence
            for name in got
            if not within(expectation, name, got[name], expectation.want.get(name))
        )
    )
    if len(wrong) < 2:
        return whole
    parts: dict[str, Diagnosis] = {}
    for name in wrong:
        others = set(wrong) - {name}
        alone = diagnose(op, [(e, {n: a for n, a in got.items() if n not in others}) for e, got in evidence])
        if alone.mistakes:
            parts[name] = alone
    if not parts:
        return whole
    rest = [name for name in wrong if name not in parts]
    texts = list(dict.fromkeys(part.text for part in parts.values()))
    if rest:
        texts.append(f"No known mistake gives {', '.join(rest)}.")
    mistakes = dict.fromkeys(mistake for part in parts.values() for mistake in part.mistakes)
    return Diagnosis(tuple(mistakes), (), tuple(parts), " ".join(texts))
