"""The bench: it measures what it says. No test here depends on how fast the machine is."""

from __future__ import annotations

import importlib.util
import json
import os
import time

import numpy as np
import pytest

import senumpy
from senumpy import InputError, bench
from senumpy.bench import ours, worker
from senumpy.bench.cases import CASES, OURS, Case, Contender
from senumpy.bench.limits import Limits
from senumpy.bench.measure import Result, Row
from senumpy.bench.workloads import ModelWork, OpWork, conv
from senumpy.engines import engine_names

TINY = ModelWork("se_resnet8_cifar", 2, True, size=16, classes=10)
LIMITS = Limits(200.0, 40.0)


def result(
    library="numba", seconds=0.5, ratio=None, peak=1 << 30, gflops=100.0, gbytes=0.0, work="se_resnet50"
):
    return Result(library, work, seconds, 1.1, ratio, peak, gflops, gbytes)


def test_multiply_adds():
    counts = {case.name: case.contenders[0].work.multiply_adds for case in CASES}
    assert counts["conv 7x7/2 3-64 224"] == 3 * 16 * 112 * 112 * 64 * 3 * 49
    assert counts["conv 3x3 depthwise 128 56"] == 3 * 16 * 56 * 56 * 128 * 9
    # facts of the paper's network: 3.87 G multiply-adds an image with the stride in the first 1x1
    assert counts["inference se_resnet50, batch 1"] == pytest.approx(3.87e9, rel=0.01)
    assert counts["train se_resnet50, batch 16"] == 48 * counts["inference se_resnet50, batch 1"]


def test_moved_bytes():
    assert OpWork("relu", ((2, 3, 4, 5),), passes=5).moved_bytes == 5 * 120 * 4
    assert conv(1, 8, 8, 8, 3).moved_bytes == 0


def test_choosing_cases():
    assert [case.kind for case in bench.select_cases(["inference"])] == ["inference"] * 2
    assert bench.select_cases([]) == list(CASES)
    assert [case.name for case in bench.select_cases(["linear", "g32 256"])] == [
        "conv 3x3 g32 256-256 28",
        "linear 2048-1000",
    ]
    with pytest.raises(InputError, match="no case has 'transformer' in its name"):
        bench.select_cases(["transformer"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"repeats": 0}, "repeats: got 0"), ({"engine_name": "nubma"}, "did you mean 'numba'")],
)
def test_bad_settings(settings, message):
    with pytest.raises(InputError, match=message):
        bench.run(["linear"], **settings)


def test_a_training_step_trains_and_an_inference_does_not(monkeypatch):
    models = []
    monkeypatch.setattr(ours, "create_model", lambda *a, **k: models.append(made := create(*a, **k)) or made)
    step = ours.prepare("numpy", TINY, threads=1)
    before = models[0].state_dict()
    step()
    changed = [not np.array_equal(a, before[name]) for name, a in models[0].state_dict().items()]
    assert all(changed)
    infer = ours.prepare("numpy", ModelWork("se_resnet8_cifar", 2, False, size=16, classes=10), threads=1)
    before = models[1].state_dict()
    assert infer().shape == (2, 10)
    assert all(np.array_equal(a, before[name]) for name, a in models[1].state_dict().items())


create = senumpy.create_model


@pytest.mark.parametrize("case", [c for c in CASES if c.kind == "op"], ids=lambda c: c.name)
def test_every_operation_can_be_built(case):
    work = case.contenders[0].work
    small = OpWork(
        work.op,
        tuple(s if s is None or len(s) < 4 or s[2] < 7 else (1, *s[1:]) for s in work.shapes),
        work.settings,
    )
    gradients = ours.prepare("numpy", small, threads=1)()
    assert all(np.isfinite(g).all() for g in gradients if g is not None)


@pytest.mark.skipif("numba" not in engine_names(), reason="engine 'numba' is not installed")
def test_a_tail_in_steps_computes_what_one_in_one_go_does():
    x = (2, 8, 5, 5)
    work = OpWork("residual_tail", (x, (8,), (8,), (4, 8), (4,), (8, 4), (8,), x))
    one_go, steps = (ours.prepare(name, work, threads=1)() for name in ("numba", "numba-steps"))
    for a, b in zip(one_go, steps, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_a_worker_measures_and_tells_its_peak():
    helper = worker.Worker("numpy", threads=1)
    try:
        helper.prepare(TINY)
        start = time.perf_counter()
        seconds = helper.run()
        assert 0 < seconds <= time.perf_counter() - start
        assert 0 <= helper.peak_bytes() < 1 << 30
        with pytest.raises(InputError, match="numpy: InputError: unknown model 'resnet51'"):
            helper.prepare(ModelWork("resnet51", 1, False))
        helper.prepare(TINY)  # a problem doesn't end it
    finally:
        helper.close()


def test_a_worker_that_dies_is_reported():
    helper = worker.Worker("numpy", threads=1)
    helper._process.kill()
    with pytest.raises(InputError, match="numpy: the process ended with -9"):
        helper.prepare(TINY)
    helper.close()


def test_rows(monkeypatch):
    cases = (
        Case("tiny", "train", (Contender(OURS, TINY), Contender("numpy", TINY), Contender("pytroch", TINY))),
    )
    monkeypatch.setattr("senumpy.bench.measure.select_cases", lambda wanted, models: list(cases))
    seen, said = [], []
    rows = bench.run(engine_name="naive", repeats=2, progress=said.append, report=seen.append, threads=1)
    assert rows == seen
    assert said[0] == "tiny: naive gets ready"
    naive, numpy = rows[0].results
    assert (naive.library, numpy.library) == ("naive", "numpy")
    assert naive.ratio is None
    assert numpy.ratio == numpy.seconds / naive.seconds < 1
    assert rows[0].problems[0].startswith("pytroch: InputError: unknown engine")
    json.dumps(rows[0].to_dict())


def test_the_cost_of_se_is_with_over_without():
    from senumpy.bench.measure import _results

    case = next(case for case in CASES if case.kind == "cost")
    ready = [(contender, "x", None) for contender in case.contenders]
    results = _results(case, ready, [[1.2, 1.2, 9.0], [1.0, 1.0, 1.0], [3.0], [2.0]], [None] * 4)
    assert [r.ratio for r in results] == [1.2, None, 1.5, None]


def test_the_table_fits_a_terminal():
    row = Row(CASES[0], [result(), result("pytorch", 12.3456, 2.345)], ["onnxruntime is not installed"])
    lines = list(bench.lines(row, LIMITS))
    assert lines[0] == "train se_resnet50, batch 16"
    assert "12,346" in lines[2]
    assert "2.35" in lines[2] or "2.34" in lines[2]
    assert "50 %" in lines[1]
    assert "1,024" in lines[1]
    machine = bench.machine(2, LIMITS)
    everything = [bench.HEADER, *lines, *bench.machine_lines(machine)]
    assert max(map(len, everything)) <= 100
    assert max(len(line) for line in [bench.HEADER, *lines]) <= 80


def test_the_share_of_the_limit_is_that_of_the_scarcer_resource():
    row = Row(CASES[-2], [result(gflops=2.0, gbytes=30.0, peak=None)])
    assert "75 %" in list(bench.lines(row, LIMITS))[1]


def test_the_bar_chart(tmp_path):
    pytest.importorskip("matplotlib")
    rows = [Row(CASES[0], [result(), result("pytorch", 1.0, 2.0)])]
    assert bench.draw_ratios(rows).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="no ratio to draw"):
        bench.draw_ratios([Row(CASES[0], [result()])])


def test_limits_are_positive_and_plausible():
    if importlib.util.find_spec("numba") is None:
        pytest.skip("numba is not installed")
    limits = bench.measure_limits(os.cpu_count() or 1)
    assert 0.5 < limits.gflops < 1e5
    assert 0.1 < limits.gbytes < 1e4
