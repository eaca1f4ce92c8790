"""How often mistakes are named, over many draws: ``python -m tests.verify.diagnosis_rates --draws 20``.

A draw is the set of the checker's cases of one seed, in float64 and in float32. In each, every mistake of the
bank is planted alone, some in pairs, and right implementations (the library, the naive engine) are judged.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from senumpy.engines import engine
from senumpy.verify import op_names
from senumpy.verify.diagnosis import diagnose
from tests.verify.planted import Rates, expectations, mistakes_of, pairs_of, right_answers, try_mistake

DTYPES = ("float64", "float32")


def singles(op, seeds):
    """Return the rates of one operation's mistakes, each planted alone."""
    rates = Rates()
    for seed in seeds:
        for dtype in DTYPES:
            for mistake in mistakes_of(op):
                try_mistake(expectations(op, seed, dtype), (mistake,), rates)
    return rates


def pairs(op, seeds, count=10):
    """Return the rates of pairs, drawn anew for each seed."""
    rates = Rates()
    for seed in seeds:
        for both in pairs_of(op, np.random.default_rng(seed), count):
            try_mistake(expectations(op, seed, "float64"), both, rates)
    return rates


def accusations(op, seeds, engines):
    """Return how many right candidates were judged, and what those that were accused were told."""
    judged, accused = 0, []
    for seed in seeds:
        for dtype in DTYPES:
            expected = expectations(op, seed, dtype)
            for right in engines:
                judged += 1
                diagnosis = diagnose(op, [(e, right_answers(right, e)) for e in expected])
                if diagnosis.text != "No result is wrong.":
                    accused.append(f"{op} {dtype} seed {seed} {type(right).__name__}: {diagnosis.text}")
    return judged, accused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=5, help="seeds for mistakes planted alone")
    parser.add_argument("--pair-draws", type=int, default=2, help="seeds for pairs, ten of each")
    parser.add_argument("--right-draws", type=int, default=20, help="seeds for right implementations")
    parser.add_argument("--first", type=int, default=100, help="the first seed")
    parser.add_argument("ops", nargs="*", default=op_names())
    options = parser.parse_args()
    alone, together, judged, accused = Rates(), Rates(), 0, []
    for op in options.ops:
        start = time.perf_counter()
        first = singles(op, range(options.first, options.first + options.draws))
        both = pairs(op, range(options.first, options.first + options.pair_draws))
        engines = [engine("numpy"), engine("naive")]
        right = accusations(op, range(options.first, options.first + options.right_draws), engines)
        alone.add(first)
        together.add(both)
        judged, accused = judged + right[0], accused + right[1]
        seconds = time.perf_counter() - start
        print(f"{op}: {first}\n    pairs: {both}\n    right: {right[0]} judged, {len(right[1])} accused")
        print(f"    {seconds:.0f} s", flush=True)
        for line in (*first.wrong, *first.missed, *both.wrong, *both.missed, *right[1]):
            print("       ", line, flush=True)
    print(f"alone: {alone}\npairs: {together}\nright: {judged} judged, {len(accused)} accused")


if __name__ == "__main__":
    main()
