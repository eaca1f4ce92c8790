"""The bank of mistakes: the checker catches every one, and every one is a mistake."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from senumpy.layers import BatchNorm2d
from senumpy.verify import check_like, op_names
from senumpy.verify.mistakes import MISTAKES, RUNNING_MISTAKES
from senumpy.verify.mistakes.running import right_terms, running_variance


def test_the_bank_is_large_and_covers_every_operation():
    count = Counter(mistake.op for mistake in MISTAKES)
    assert len(MISTAKES) >= 60
    assert set(count) == set(op_names())
    assert min(count.values()) >= 2


def test_names_and_explanations():
    names = [(mistake.op, mistake.name) for mistake in MISTAKES]
    assert len(set(names)) == len(names)
    for mistake in MISTAKES:
        assert mistake.name == mistake.name.lower()
        assert mistake.explanation.endswith(".")
        assert mistake.forward is not None or mistake.backward is not None


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.op}-{mistake.name}")
def test_the_checker_catches_it(mistake):
    for seed in range(2):
        report = check_like(mistake.op, mistake.forward, mistake.backward, seed=seed)
        assert report.verdict == "failed", str(report)


@pytest.mark.parametrize("op", op_names())
def test_the_library_itself_passes(op):
    # Were the checker to fail everything, the test above would say nothing.
    assert check_like(op, seed=0).ok


def test_the_layer_makes_none_of_the_running_mistakes(rng):
    layer = BatchNorm2d(1, momentum=0.3, dtype="float64")
    layer.running_var.value[:] = 2.5
    x = rng.normal(size=(3, 1, 2, 2))
    layer.forward(x)
    arguments = (2.5, float(x.var()), x.size, 0.3)
    got = float(layer.running_var.value[0])
    assert got == pytest.approx(running_variance(*arguments), rel=1e-12)
    terms = right_terms(0.4, 2.5, float(x.mean()), float(x.var()), x.size, 0.3)
    right = np.array(terms.updated())
    assert right[1] == pytest.approx(got, rel=1e-12)
    for mistake in RUNNING_MISTAKES:
        wrong = np.array(mistake.change(terms).updated())
        assert np.abs(wrong - right).max() > 1e-3, mistake.name
