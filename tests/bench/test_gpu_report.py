"""The bench of a GPU, as far as no GPU is needed: works, goals, text, who is left out."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from senumpy import InputError
from senumpy.bench import gpu
from senumpy.bench.gpu.crossover import wins
from senumpy.bench.gpu.rows import Goal, LeftOut, Result, Row, goals_of_pairs
from senumpy.bench.gpu.session import with_ratios
from senumpy.cli import main

MACHINE = {
    "device": 0, "name": "NVIDIA H200", "architecture": "sm_90", "memory": 150_754_820_096, "driver": "13.0",
    "runtime": "12.9", "senumpy": "0.1.0", "python": "3.11.7", "numpy": "2.4.6", "cupy": "14.2.0",
    "torch": "2.13.0+cu130", "torch_device": "cuda:0", "torch_cuda": "13.0", "cudnn": 91900, "repeats": 5,
    "warm_ups": 2,
}  # fmt: skip


def test_works():
    assert gpu.select_works([]) == tuple(gpu.WORKS)
    assert gpu.select_works(["kernels", "copy"]) == ("copy", "kernels")
    with pytest.raises(InputError, match=r"no work 'trian' on a GPU; wanted copy, kernels, train"):
        gpu.select_works(["train", "trian"])


@pytest.mark.parametrize(
    ("reached", "at_most", "met", "aim_met"),
    [
        (0.69, False, False, False),
        (0.7, False, True, False),
        (1.2, False, True, True),
        (0.7, True, True, True),
        (0.71, True, False, True),
        (1.3, True, False, False),
    ],
)
def test_goals(reached, at_most, met, aim_met):
    goal = Goal("figure", reached, 0.7, 1.2, at_most)
    assert goal.met is met
    found = goal.to_dict()
    assert (found["met"], found["aim_met"]) == (met, aim_met)
    assert "aim_met" not in Goal("figure", reached, 0.7).to_dict()


def results():
    return [Result("senumpy", 0.5, 1.1), Result("PyTorch", 0.4, 1.1, note="channels_last")]


def test_a_ratio_is_theirs_over_ours():
    ours, theirs = with_ratios(results())
    assert ours.ratio is None
    assert theirs.ratio == pytest.approx(0.8)
    (goal,) = goals_of_pairs(
        results(), [("PyTorch", "senumpy"), ("PyTorch", "senumpy, CUDA graph")], 0.7, 1.2
    )
    assert goal.reached == pytest.approx(0.8)
    assert [r.ratio for r in with_ratios(results()[1:])] == [None]  # ours ran out of memory


def test_the_lines_of_a_network():
    goals = goals_of_pairs(results(), [("PyTorch", "senumpy")], 0.7, 1.2)
    row = Row("train", "training step, se_resnet50, batch 256, tf32", "tf32", with_ratios(results()), goals)
    _, header, title, ours, theirs, goal = gpu.Table().lines(row)
    assert header.split() == ["ms", "ratio", "images/s", "MiB"]
    assert title == row.title
    assert ours.split() == ["senumpy", "500.000"]
    assert theirs.split() == ["PyTorch,", "channels_last", "400.000", "0.80"]
    assert goal == "  PyTorch / senumpy 0.80: goal 0.70 met, aim 1.20 missed"
    json.dumps(row.to_dict())


def kernel(share):
    result = Result("residual tail back 256x1024x14x14", 1e-3, 1.0, gbytes=3000.0, share=share)
    return Row("kernels", result.contender, "float32", [result], [Goal("share", share, 0.7, 0.85)])


def test_a_kernel_is_one_line_and_headers_come_where_columns_change():
    table = gpu.Table()
    blank, header, line = table.lines(kernel(0.71))
    assert (blank, header.split()) == ("", ["ms", "GB/s", "share"])
    assert line.split()[4:] == ["1.000", "3,000", "0.71", "goal", "0.70", "met"]
    (line,) = table.lines(kernel(0.69))
    assert line.split()[4:] == ["1.000", "3,000", "0.69", "goal", "0.70", "missed"]
    assert next(iter(table.lines(Row("train", "t", "tf32", results())))) == ""


def test_everything_fits_a_terminal():
    table, long = gpu.Table(), "x" * 100
    rows = [
        kernel(0.5),
        Row("train", long, "tf32", [Result(long, 1234.5, 1.0, 12.34, 123456.7, peak_bytes=1 << 37)],
            [Goal(f"{'PyTorch / senumpy, ' * 6}", 12345.6, 10_000, 1e5)], ["words " * 30]),
    ]  # fmt: skip
    left_out = [LeftOut("training step", "PyTorch", "no " + "word " * 40)]
    lines = [line for row in rows for line in table.lines(row)]
    lines += [*gpu.machine_lines(MACHINE), *gpu.left_out_lines(left_out)]
    assert max(map(len, lines)) <= 80
    assert "1,234,500" in " ".join(lines)


def test_the_machine_and_who_is_left_out():
    text = "\n".join(gpu.machine_lines(MACHINE))
    for word in (
        "NVIDIA H200",
        "140 GiB",
        "driver 13.0",
        "runtime 12.9",
        "cupy 14.2.0",
        "torch 2.13.0+cu130",
        "91900",
    ):
        assert word in text
    alone = {name: value for name, value in MACHINE.items() if "torch" not in name and name != "cudnn"}
    assert "PyTorch on" not in "\n".join(gpu.machine_lines(alone))
    assert list(gpu.left_out_lines([])) == []
    lines = list(gpu.left_out_lines([LeftOut("all rows", "PyTorch", "not installed")]))
    assert lines == ["", "left out:", "  all rows: PyTorch: not installed"]


@pytest.mark.parametrize(
    ("ratios", "words"),
    [
        ({1: 0.5, 4: 1.5, 16: 3.0}, "cupy is faster from batch 4 on"),
        ({1: 1.5, 4: 0.9, 16: 3.0}, "cupy is faster from batch 16 on"),
        ({1: 1.5, 4: 2.0}, "cupy is faster from batch 1 on"),
        ({1: 1.5, 4: 0.9}, "numba is faster at batch 4, the largest one"),
        ({}, "no batch was measured on both"),
    ],
)
def test_the_crossover_is_the_batch_from_which_the_gpu_stays_ahead(ratios, words):
    measured = [Result("numba", 1.0, ratio=ratio, batch=batch) for batch, ratio in ratios.items()]
    assert wins([*measured, Result("cupy", 1.0, batch=64)], "numba") == words


def test_the_crossover_is_drawn():
    pytest.importorskip("matplotlib")
    points = [Result(name, 0.1 * b, batch=b) for b in (1, 4) for name in ("cupy", "numba")]
    row = Row("crossover", "crossover, inference, se_resnet20_cifar", "float32", points)
    assert gpu.draw_crossover([row, kernel(0.7)]).startswith(b"\x89PNG")
    with pytest.raises(InputError, match="the crossover was not measured"):
        gpu.draw_crossover([kernel(0.7)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--engine cupy train nope", "no work 'nope' on a GPU"),
        ("--engine cupy --models", "--models is for processors"),
        ("--engine cupy --threads 2", "--threads is for processors"),
        ("--engine cupy train --plot a.png", "--plot draws the crossover on a GPU: wanted crossover among"),
        ("--engine cupy --repeats 0", "repeats: got 0"),
        ("--engine cupy --batch-size 0", "batch size: got 0"),
        ("--device 0", "--device goes with --engine cupy"),
        ("--engine numpy --batch-size 8", "--batch-size goes with --engine cupy"),
    ],
)
def test_bad_settings(capsys, arguments, message):
    assert main(["bench", *arguments.split()]) == 2
    assert message in capsys.readouterr().err


def test_neither_help_nor_the_bench_for_processors_imports_cupy_or_pytorch():
    code = (
        "import sys, senumpy.bench, senumpy.bench.gpu, senumpy.cli\n"
        "sys.exit(any(name in sys.modules for name in ('cupy', 'torch')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
