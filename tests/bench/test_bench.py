"""The bench: it measures what it says. No test here depends on how fast the machine is."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from senumpy import InputError, bench
from senumpy.bench.cases import CASES
from senumpy.bench.measure import measure


def test_medians_and_peak():
    naps = iter([0.0, 0.02, 0.001, 0.002])  # the warm-up's, then three repeats

    def forward():
        time.sleep(next(naps))
        return np.zeros(250_000)  # 2 MB

    def backward(state):
        return state + 1.0  # 2 MB more

    result = measure(forward, backward, repeats=3)
    assert 0.002 <= result.forward < 0.02
    assert 4e6 <= result.peak_bytes < 4.2e6


def test_rows_and_json():
    seen = []
    rows = bench.run(["linear", "global avg"], repeats=1, report=seen.append)
    assert rows == seen
    assert [row.case.name for row in rows] == ["global avg pool 2048 7", "linear 2048-1000"]
    for row in rows:
        data = json.loads(json.dumps(row.to_dict()))
        assert data["forward"] > 0
        assert data["backward"] > 0
        assert len(str(row)) <= 80
    assert len(bench.HEADER) <= 80


def test_multiply_adds_of_convolutions():
    counts = {case.name: case.multiply_adds for case in CASES}
    assert counts["conv 7x7/2 3-64 224"] == 8 * 112 * 112 * 64 * 3 * 49
    assert counts["conv 3x3 depthwise 128 56"] == 8 * 56 * 56 * 128 * 9


def test_choosing_cases():
    assert [case.kind for case in bench.select_cases(["model"])] == ["model"] * 5
    assert bench.select_cases([]) == list(CASES)
    with pytest.raises(InputError, match="no case has 'transformer' in its name"):
        bench.select_cases(["transformer"])
    with pytest.raises(InputError, match="repeats: got 0"):
        bench.run(repeats=0)
