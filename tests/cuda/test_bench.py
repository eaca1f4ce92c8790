"""Every work of the GPU's bench, on the stand-in: all but the speed."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

import senumpy
from senumpy.bench import gpu, ours
from senumpy.bench.gpu import session as session_module
from senumpy.bench.workloads import ModelWork
from senumpy.cli import main
from tests.cuda import stand_in

HAS_TORCH = importlib.util.find_spec("torch") is not None
TF32 = 3  # CUBLAS_TF32_TENSOR_OP_MATH
TINY = gpu.Settings(
    torch_device="cpu", repeats=1, warm_ups=1, turn=0.0, model="se_resnet8_cifar", plain="resnet8_cifar",
    batch=2, size=8, classes=10, copied=4096, activations=((8, 3),), pooled=(4, 6), launches=1,
    small_model="se_resnet8_cifar", small_size=8, small_batch=2, small_steps=2, batches=(1, 2),
)  # fmt: skip
OURS, PYTORCH = session_module.OURS, session_module.PYTORCH


@pytest.fixture(scope="module")
def shared(cupy):
    """A session whose engines have chosen their ways before."""
    made = gpu.Session(TINY, lambda row: None, lambda text: None)
    if not HAS_TORCH:
        yield made
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # enough for so little, and it waits for nobody
    yield made
    torch.set_num_threads(threads)


@pytest.fixture
def session(shared):
    shared.rows.clear()
    shared.left_out.clear()
    return shared


def measured(session, work):
    """Return the rows of a work, which hold what all rows must."""
    gpu.measure(session, [work])
    rows = session.rows
    assert all(row.work == work for row in rows)
    for row in rows:
        for result in json.loads(json.dumps(row.to_dict()))["results"]:
            numbers = [value for value in result.values() if not isinstance(value, str)]
            assert numbers
            assert all(math.isfinite(value) and value > 0 for value in numbers), result
        assert all(math.isfinite(goal.reached) for goal in row.goals)
    return rows


def left_out(session):
    return {(entry.contender, entry.reason) for entry in session.left_out if entry.title != "all rows"}


def contenders(row):
    return [result.contender for result in row.results]


def both(*ours_only):
    return [*ours_only, PYTORCH] if HAS_TORCH else list(ours_only)


def test_copy(session):
    session.copy_gbytes = None
    (row,) = measured(session, "copy")
    (result,) = row.results
    assert result.moved_bytes == 2 * 4096
    assert session.copy_gbytes == result.gbytes == pytest.approx(1e-9 * 8192 / result.seconds)
    assert not left_out(session)


def test_kernels(session):
    session.copy_gbytes = None
    gpu.measure(session, ["copy"])
    session.rows.clear()
    rows = {row.title: row for row in measured(session, "kernels")}
    assert not left_out(session)
    activation = 2 * 8 * 3 * 3 * 4
    pool = 4 * (2 * 4 * 6 * 6 + 2 * 4 * 3 * 3) + 2 * 4 * 3 * 3  # in, out, and a byte for each winner
    parameters = senumpy.create_model("se_resnet8_cifar", num_classes=10).num_parameters()
    moved = {
        "statistics 2x8x3x3": activation,
        "normalise + ReLU 2x8x3x3": 2 * activation,
        "gradient sums 2x8x3x3": 2 * activation,
        "normalise back 2x8x3x3": 3 * activation,
        "residual tail 2x8x3x3": 3 * activation,
        "residual tail back 2x8x3x3": 8 * activation,
        "max pool 2x4x6x6": pool,
        "max pool back 2x4x6x6": pool,
        "prepare images 2x3x8x8": 2 * 3 * 8 * 8 * 5,
        "SGD update, se_resnet8_cifar": 20 * parameters,
        "SGD update, se_resnet8_cifar, whole call": 20 * parameters,
        "softmax cross-entropy 2x10": 160,
        "softmax cross-entropy back 2x10": 160,
    }
    assert {title: row.results[0].moved_bytes for title, row in rows.items()} == moved
    for title, row in rows.items():
        (result,) = row.results
        assert result.gbytes == pytest.approx(1e-9 * moved[title] / result.seconds)
        assert result.share == pytest.approx(result.gbytes / session.copy_gbytes)
        judged = "softmax" not in title and "whole" not in title
        assert [(goal.wanted, goal.aim) for goal in row.goals] == ([(0.7, 0.85)] if judged else [])


def test_what_is_repeated_is_the_launch_of_the_kernels_that_a_call_launches(session):
    from senumpy.bench.gpu import kernels

    made = session.engine("float32")
    logits = made.asarray(np.float32([[1.0, 2.0], [3.0, 0.0]]))
    stand_in.launches.clear()
    repeat = kernels._launches(made, lambda: made.softmax_cross_entropy_forward(logits, np.array([0, 1])))
    once = list(stand_in.launches)
    assert once[0] == "cross_entropy"
    repeat()
    assert stand_in.launches == 2 * once
    assert "launch" not in vars(made.runtime)


def test_training_runs_with_the_precision_that_its_rows_name(session, cupy):
    modes = {}
    before = session.precision

    def spied(name):
        modes[name] = cupy.cuda.cublas.calls = []
        if HAS_TORCH:
            import torch

            flags = torch.backends.cudnn
            with before(name):
                assert (flags.benchmark, flags.allow_tf32) == (True, name == "tf32")
                assert torch.backends.cuda.matmul.allow_tf32 is (name == "tf32")
        return before(name)

    session.precision = spied
    try:
        rows = measured(session, "train")
    finally:
        del session.precision
    assert [row.precision for row in rows] == ["tf32", "float32"]
    assert {mode for *_, mode in modes["tf32"]} == {TF32}
    assert {mode for *_, mode in modes["float32"]} == {0}
    for row in rows:
        assert contenders(row) == both(OURS)
        assert row.title == f"training step, se_resnet8_cifar, batch 2, {row.precision}"
        rates = [(r.images_per_second, 2 / r.seconds) for r in row.results]
        assert all(got == pytest.approx(want) for got, want in rates)
        if HAS_TORCH:
            own, peer = row.results
            assert peer.note in ("channels_last", "contiguous")
            assert row.goals[0].reached == peer.ratio == pytest.approx(peer.seconds / own.seconds)
            assert (row.goals[0].wanted, row.goals[0].aim) == (0.7, 1.2)
    assert not left_out(session)


def test_inference(session):
    rows = measured(session, "inference")
    assert [row.title.split(", ")[2:] for row in rows] == [
        [f"batch {batch}", precision] for batch in (2, 1) for precision in ("tf32", "float32")
    ]
    assert [contenders(row) for row in rows] == [both(OURS)] * 4
    missing = {(f"{OURS}, CUDA graph", "CuPy refuses cuBLAS while it records a graph")}
    if HAS_TORCH:
        assert [goal.figure for goal in rows[2].goals] == [f"PyTorch / {OURS}"]
        missing |= {(f"{PYTORCH}, CUDA graph", "InputError: CUDA graphs are for GPUs, not for cpu")}
    assert missing <= left_out(session)


def test_cost(session):
    rows = measured(session, "cost")
    for row in rows:
        names = [
            f"{library} {model}" for library in both(OURS) for model in ("se_resnet8_cifar", "resnet8_cifar")
        ]
        assert contenders(row) == names
        own, plain = row.results[:2]
        assert own.ratio == pytest.approx(own.seconds / plain.seconds)
        assert plain.ratio is None
        (goal,) = row.goals
        assert (goal.reached, goal.wanted, goal.aim, goal.at_most) == (own.ratio, 1.05, 1.02, True)


def test_memory(session):
    rows = measured(session, "memory")
    parameters = senumpy.create_model("se_resnet8_cifar", num_classes=10).num_parameters()
    for row in rows:
        assert contenders(row) == [OURS]
        assert row.results[0].peak_bytes >= 8 * parameters  # weights and momentum, at least
    reasons = {(PYTORCH, "InputError: PyTorch counts no memory on cpu")} if HAS_TORCH else set()
    assert left_out(session) == reasons


def test_feeding(session):
    (row,) = measured(session, "cifar")
    assert contenders(row) == ["feed alone", "training, fed", "training, the same images again"]
    for result in row.results:
        assert result.images_per_second == pytest.approx(2 / result.seconds)
    assert [goal.wanted for goal in row.goals] == [10_000, 10_000]
    assert row.remarks[-1].startswith("the GPU waits for images ")


def test_determinism(session):
    rows = measured(session, "deterministic")
    for row in rows:
        assert contenders(row) == [OURS, f"{OURS}, deterministic"]
        assert row.results[1].ratio == pytest.approx(row.results[1].seconds / row.results[0].seconds)
        assert row.remarks[-1].endswith("ms longer")


def test_crossover(session):
    training, inference = measured(session, "crossover")
    processor = senumpy.engines.default_engine()
    for row in (training, inference):
        assert row.precision == "float32"
        assert [(r.contender, r.batch) for r in row.results] == [
            (name, batch) for batch in (1, 2) for name in ("cupy", processor)
        ]
    if importlib.util.find_spec("matplotlib"):
        assert gpu.draw_crossover(session.rows).startswith(b"\x89PNG")


def test_a_full_memory_leaves_one_contender_out(session):
    def full():
        raise stand_in.OutOfMemoryError("Out of memory allocating 5 bytes")

    rounds = []

    def fails_later():
        rounds.append(len(rounds))
        if len(rounds) == 2:
            full()

    found = session.alternate(
        "row",
        [
            session_module.Contender("a", full),
            session_module.Contender("b", lambda: session_module.Prepared(lambda: None)),
            session_module.Contender("c", lambda: session_module.Prepared(fails_later)),
        ],
    )
    assert [result.contender for result in found] == ["b"]
    reason = "OutOfMemoryError: Out of memory allocating 5 bytes"
    assert [(entry.title, entry.contender, entry.reason) for entry in session.left_out] == [
        ("row", "a", reason),
        ("row", "c", reason),
    ]


def test_contenders_take_turns(session):
    order = []
    session.alternate(
        "row",
        [
            session_module.Contender(
                name, lambda name=name: session_module.Prepared(lambda: order.append(name))
            )
            for name in "ab"
        ],
    )
    assert order == list("abab")  # a warm-up and a repeat


def test_without_pytorch(cupy, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "senumpy.bench.gpu.peer", raising=False)
    alone = gpu.Session(TINY, lambda row: None, lambda text: None)
    assert alone.peer is None
    (entry,) = alone.left_out
    assert (entry.title, entry.contender) == ("all rows", PYTORCH)
    assert entry.reason.startswith("not installed (")
    with alone.precision("tf32"):
        pass
    assert not {"torch", "cudnn"} & set(gpu.machine(alone))


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_pytorch_without_a_gpu(cupy):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    alone = gpu.Session(gpu.Settings(), lambda row: None, lambda text: None)
    assert alone.peer is None
    assert "sees no GPU (torch.cuda.is_available() is False)" in alone.left_out[0].reason


@pytest.mark.skipif(not HAS_TORCH, reason="PyTorch is not installed")
def test_pytorch_s_settings_come_back(session):
    import torch

    def flags():
        return (
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.allow_tf32,
            torch.backends.cuda.matmul.allow_tf32,
        )

    before = flags()
    with session.precision("float32"):
        assert flags() == (True, False, False)
        with pytest.raises(ZeroDivisionError), session.precision("tf32"):
            assert flags() == (True, True, 1 / 0)
        assert flags() == (True, False, False)
    assert flags() == before


def test_images_lie_in_the_engine_s_order(session, cupy, monkeypatch):
    """CuPy's asarray copies to C order: what a run feeds must not be turned round in each forward."""
    made = session.engine("float32")

    def in_c_order(array, dtype=None):
        return cupy.asarray(array.reshape(-1), dtype).reshape(array.shape)

    monkeypatch.setattr(type(made), "asarray", staticmethod(in_c_order))
    seen = []
    monkeypatch.setattr(ours, "training_step", lambda *arguments: lambda x, labels: seen.append(x))
    ours.model_run(made, ModelWork("se_resnet8_cifar", 2, True, 8, classes=10))()
    assert seen[0].shape == (2, 3, 8, 8)
    assert seen[0].transpose(0, 2, 3, 1).flags.c_contiguous


def test_the_command(cupy, capsys, monkeypatch):
    seen = {}

    def tiny(**given):
        seen.update(given)
        return replace(TINY, **given)

    def command(options):
        return main(["bench", "copy", "--engine", "cupy", *options.split()])

    monkeypatch.setattr(gpu, "Settings", tiny)
    assert command("--device 0 --batch-size 3 --repeats 2 --json") == 0
    found = json.loads(capsys.readouterr().out)
    assert seen == {"device": 0, "batch": 3, "repeats": 2}
    assert sorted(found) == ["left_out", "machine", "repeats", "rows"]
    assert found["machine"]["name"] == "Emulated GPU"
    assert found["machine"]["cupy"] == cupy.__version__
    assert found["repeats"] == 2
    assert [row["work"] for row in found["rows"]] == ["copy"]
    assert command("") == 0
    text = capsys.readouterr().out
    assert text.startswith("device 0: Emulated GPU, sm_90")
    assert "copy of 0 MiB by CuPy" in text
    assert command("--device 7") == 2
    assert "device: got 7, wanted one of 0: Emulated GPU" in capsys.readouterr().err
