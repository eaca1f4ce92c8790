"""Known mistakes planted in the library's own functions: candidates whose diagnosis is known."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import numpy as np

from senumpy.verify import op_spec
from senumpy.verify.calls import OpCall, call_of, results
from senumpy.verify.diagnosis import diagnose
from senumpy.verify.diagnosis_numbers import Trial
from senumpy.verify.mistakes import MISTAKES, RUNNING_MISTAKES, Mistake
from senumpy.verify.mistakes.running import right_terms
from senumpy.verify.rounding import expect

LARGEST = 4000  # numbers in an argument: larger calls (56x56) make expectations slow, and tell nothing new


@functools.lru_cache(maxsize=64)
def expectations(op, seed, dtype, *, at_least=6):
    """Return what to expect of the checker's cases of one seed, and of the next where they are few."""
    calls: list[OpCall] = []
    for number in range(4):
        if len(calls) < at_least:
            spec, drawn = op_spec(op), seed + 1000 * number
            calls += [call_of(op, case, seed=drawn + k) for k, case in enumerate(spec.cases(seed=drawn))]
    small = [call for call in calls if max(a.size for a in call.floats()) <= LARGEST]
    return [expect(call, dtype) for call in small[:10]]


def right_answers(engine, expectation):
    """Return the results of an engine's functions on a call."""
    call, dtype = expectation.call, expectation.dtype
    with np.errstate(all="ignore"):
        return results(
            call, dtype, getattr(engine, f"{call.op}_forward"), getattr(engine, f"{call.op}_backward")
        )


def mistakes_of(op) -> list[Mistake]:
    """Return the bank of one operation; batch norm's running statistics are part of it."""
    running = [update.mistake for update in RUNNING_MISTAKES] if op == "batchnorm2d" else []
    return [mistake for mistake in MISTAKES if mistake.op == op] + running


def planted(expectation, *mistakes):
    """Return the results of the library's functions with mistakes in them; None where they can't run.

    The first of two wrong forwards changes arguments or the result of the second, the first of two wrong
    backwards the gradients of the second.
    """
    call, dtype = expectation.call, expectation.dtype
    forward = wrong_forward(*(m for m in mistakes if m.forward))
    backward = wrong_backward(*(m for m in mistakes if m.backward))
    try:
        with np.errstate(all="ignore"):
            found = results(call, dtype, forward, backward)
    except (ValueError, TypeError, IndexError):
        try:  # a result of another shape, perhaps, which the library's backward refuses
            function = forward or call.spec.forward
            found = {"y": np.asarray(function(*call.arguments(dtype), **call.keywords())[0])}
        except (ValueError, TypeError, IndexError):
            return None
    updates = [u for u in RUNNING_MISTAKES if u.mistake in mistakes]
    if updates:
        found |= updated(call, dtype, updates)
    return found


def wrong_forward(*mistakes):
    """Return the forward of one wrong forward, or of one that changes the arguments of another."""
    if len(mistakes) < 2:
        return mistakes[0].forward if mistakes else None
    first, second = mistakes
    if first.arguments is not None:

        def forward(*args, **options):
            changed, settings = first.arguments(*args, **options)
            return second.forward(*changed, **settings)

        return forward

    def finished(*args, **options):
        y, cache = second.forward(*args, **options)
        return first.result(y, *args, **options), cache

    return finished


def wrong_backward(*mistakes):
    """Return the backward of one wrong backward, or of one that changes the gradients of another."""
    if len(mistakes) < 2:
        return mistakes[0].backward if mistakes else None
    first, second = mistakes
    return lambda dy, cache: first.gradients(second.backward(dy, cache), dy, cache)


def pairs_of(op, rng, count):
    """Draw pairs of mistakes that `planted` can make together."""
    bank, found = mistakes_of(op), []
    for _ in range(200):
        if len(found) == count or len(bank) < 2:
            break
        a, b = (bank[i] for i in rng.choice(len(bank), 2, replace=False))
        own_cache = any(m.forward and m.backward for m in (a, b))
        no_way = a.forward and b.forward and a.arguments is None and a.result is None
        if not (own_cache or no_way or (a.backward and b.backward and a.gradients is None)):
            found.append((a, b))
    return found


def hidden(evidence, expected, mistakes):
    """Whether one of two mistakes alone gives the same numbers, and the other can't be seen."""
    alone = [evidence_of(expected, m) for m in mistakes] if len(mistakes) > 1 else []
    for single in alone:
        if len(single) == len(evidence) and all(
            Trial(e, got).same(name, Trial(e, other).got.get(name))
            for (e, got), (_, other) in zip(evidence, single, strict=True)
            for name in Trial(e, got).got
        ):
            return True
    return False


def updated(call, dtype, updates):
    """Return running statistics of wrong updates, in the dtype's arithmetic."""
    start, x = call.running(dtype), call.args[0].astype(dtype)
    biased = x.var((0, 2, 3))
    terms = right_terms(start.mean, start.var, x.mean((0, 2, 3)), biased, x[:, 0].size, start.momentum)
    for update in updates:
        terms = update.change(terms)
    mean, var = terms.updated()
    return {"running_mean": mean.astype(dtype), "running_var": var.astype(dtype)}


def evidence_of(expected, *mistakes):
    pairs = [(expectation, planted(expectation, *mistakes)) for expectation in expected]
    return [(expectation, got) for expectation, got in pairs if got is not None]


def visible(evidence):
    """Whether any number is wrong; mistakes in manners (an overwritten argument) make none."""
    return any(Trial(*item).wrong for item in evidence)


@dataclass
class Rates:
    """Counts of diagnoses."""

    planted: int = 0
    unseen: int = 0  # no number is wrong on the evidence
    named: int = 0  # alone
    either: int = 0  # among alternatives
    simpler: int = 0  # one of a pair, which alone explains all: a wrong forward and its own derivative
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    @property
    def seen(self):
        return self.planted - self.unseen

    @property
    def rate(self):
        return self.named / self.seen if self.seen else 1.0

    def add(self, other):
        for name in ("planted", "unseen", "named", "either", "simpler", "wrong", "missed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def __str__(self):
        return (
            f"planted {self.planted}, visible {self.seen}, named {self.named} ({self.rate:.2%}), "
            f"among alternatives {self.either}, one alone {self.simpler}, "
            f"another named {len(self.wrong)}, none {len(self.missed)}"
        )


def try_mistake(expected, mistakes, rates):
    """Plant mistakes, diagnose, count."""
    evidence = evidence_of(expected, *mistakes)
    rates.planted += 1
    if not visible(evidence) or hidden(evidence, expected, mistakes):
        rates.unseen += 1
        return None
    diagnosis = diagnose(mistakes[0].op, evidence)
    truth = {mistake.name for mistake in mistakes}
    answers = [{m.name for m in some} for some in (diagnosis.mistakes, *diagnosis.alternatives)]
    label = (
        f"{mistakes[0].op}: {' + '.join(sorted(truth))} ({expected[0].dtype}, seed {expected[0].call.seed})"
    )
    if truth == answers[0] and len(answers) == 1:
        rates.named += 1
    elif truth in answers:
        rates.either += 1
    elif answers[0] and answers[0] < truth:
        rates.simpler += 1
    elif diagnosis.mistakes:
        rates.wrong.append(f"{label}: {answers}")
    else:
        rates.missed.append(label)
    return diagnosis
