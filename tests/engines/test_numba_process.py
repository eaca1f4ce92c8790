"""What the Numba engine does to its process: threads, memory, compilation."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

import senumpy
from senumpy import create_model
from senumpy.engines import engine_names
from senumpy.training import SGD
from tests.engines.steps import batch, train_step

if "numba" not in engine_names():
    pytest.skip("engine 'numba' is not installed", allow_module_level=True)


# -- threads -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["se_resnet8_cifar", "se_resnet18"])
def test_results_do_not_depend_on_the_number_of_threads(name, rng):
    x, labels = batch(rng, n=6, size=40)
    found = []
    for threads in (1, 2, 3, 2):
        model = create_model(name, num_classes=10, engine=senumpy.engine("numba", threads=threads))
        loss, dx = train_step(model, x, labels)
        with model.inference():
            logits = model.forward(x)
        found.append([np.float64(loss), dx, logits, *(p.grad for _, p in model.named_parameters())])
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_calls_from_several_threads_at_once(numba, rng):
    x, w = rng.normal(size=(2, 24, 30, 30)), rng.normal(size=(24, 24, 3, 3))
    want, _ = numba.conv2d_forward(x, w, padding=1)
    wrong = []

    def work():
        for _ in range(30):
            y, _ = numba.conv2d_forward(x, w, padding=1)
            if not np.array_equal(y, want):
                wrong.append(y)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def in_new_process(code, **environment):
    """Return what a Python process prints."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, timeout=120, env={**os.environ, **environment}, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout


RELU = """
import numpy as np, senumpy
numba = senumpy.engine("numba"{options})
x = np.linspace(-1, 1, 200_000)
def check():
    y, _ = numba.relu_forward(x)
    assert np.array_equal(y, np.maximum(x, 0))
check()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_works():
    code = RELU.format(options=", threads=2") + (
        "import os, sys\n"
        "child = os.fork()\n"
        "check()\n"
        "if child == 0:\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print('done')"
    )
    assert in_new_process(code) == "done\n"


def test_threads_from_the_environment():
    code = RELU.format(options="") + "print(numba.threads)"
    assert in_new_process(code, SENUMPY_NUM_THREADS="3") == "3\n"


@pytest.mark.parametrize("wrong", ["0", "two", "-1", "1000"])
def test_wrong_threads_in_the_environment(monkeypatch, wrong):
    monkeypatch.setenv("SENUMPY_NUM_THREADS", wrong)
    with pytest.raises(
        senumpy.InputError, match=f"SENUMPY_NUM_THREADS: got '{wrong}', wanted a number from 1"
    ):
        senumpy.engine("numba")


def test_wrong_options():
    for wrong in (0, 65, 1.5, "2", True):
        with pytest.raises(senumpy.InputError, match=f"threads: got {wrong!r}, wanted 1 to 64"):
            senumpy.engine("numba", threads=wrong)
    with pytest.raises(senumpy.InputError, match="exact: got 'no', wanted True or False"):
        senumpy.engine("numba", exact="no")
    with pytest.raises(senumpy.InputError, match="engine 'numpy' has no option 'threads'"):
        senumpy.engine("numpy", threads=2)


def test_other_libraries_keep_their_threads(numba, rng):
    from threadpoolctl import threadpool_info

    before = [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()]
    train_step(create_model("se_resnet8_cifar", engine=numba), *batch(rng))
    assert [(pool["filepath"], pool["num_threads"]) for pool in threadpool_info()] == before


def test_an_idle_program_uses_no_processor_time():
    code = RELU.format(options=", threads=2") + (
        "import time\n"
        "time.sleep(0.3)\n"
        "start = time.process_time()\n"
        "time.sleep(1.0)\n"
        "print(time.process_time() - start < 0.1)"
    )
    assert in_new_process(code) == "True\n"


def test_more_chunks_than_a_ticket_counts(rng):
    x = rng.normal(size=(1 << 20, 1, 3, 1)).astype(np.float32)  # max pooling has one chunk a line
    y, cache = senumpy.engine("numba", threads=2).max_pool2d_forward(x, kernel=1)
    assert np.array_equal(y, x)
    assert not cache.winner.any()


def test_a_pool_that_cannot_start_workers_is_not_left_locked(monkeypatch, rng):
    from senumpy.engines.numba.threads import ThreadPool

    pool = ThreadPool()
    monkeypatch.setattr(threading.Thread, "start", lambda self: raise_no_thread())
    with pytest.raises(RuntimeError, match="no thread"):
        pool.acquire(2)
    monkeypatch.undo()
    state = pool.acquire(2)
    assert state
    pool.release(state)
    pool.stop()


def raise_no_thread():
    raise RuntimeError("no thread")


# -- memory ------------------------------------------------------------------------------------------------


def test_no_growth_over_a_thousand_steps(rng):
    made = senumpy.engine("numba")
    model = create_model("se_resnet8_cifar", engine=made)
    model.release_caches()
    sgd = SGD(model)
    x, labels = batch(rng, n=8, size=16)
    used = []
    for step in range(1000):
        train_step(model, x, labels, sgd)
        if step % 100 == 20:
            used.append(made.runtime.memory.bytes_held)
    assert used[0] > 0
    assert max(used) == used[0]


def test_the_store_follows_the_sizes_in_use():
    from senumpy.engines.numba.memory import Memory

    memory = Memory()
    size = 1 << 20
    held = [memory.empty(size, np.dtype(np.uint8)) for _ in range(100)]  # the most that is in use
    del held
    for _ in range(2):  # other sizes, which must not find the store full of the old ones
        large = [memory.empty(20 * size, np.dtype(np.uint8)) for _ in range(4)]
        places = {array.ctypes.data for array in large}
        del large
    again = [memory.empty(20 * size, np.dtype(np.uint8)) for _ in range(4)]
    assert {array.ctypes.data for array in again} == places
    assert memory.bytes_held <= 125 * size  # a quarter more than was in use


def test_memory_goes_with_the_model(rng):
    model = create_model("se_resnet8_cifar", engine=senumpy.engine("numba"))
    train_step(model, *batch(rng))
    memory = weakref.ref(model.engine.runtime.memory)
    result = model.forward(batch(rng)[0])
    kept = result.copy()
    del model
    gc.collect()
    assert memory() is None
    assert np.array_equal(result, kept)  # what somebody holds stays


def test_a_released_cache_is_gone(numba, rng):
    model = create_model("se_resnet8_cifar", engine=numba)
    model.release_caches()
    x, labels = batch(rng)
    train_step(model, x, labels)
    with pytest.raises(RuntimeError, match="no forward has been kept"):
        model.backward(np.ones((4, 10), np.float32))
    model.release_caches(False)
    _, first = train_step(model, x, labels)
    dlogits = np.ones((4, 10), np.float32)
    assert np.array_equal(model.backward(dlogits), model.backward(dlogits))
    assert first.shape == x.shape


# -- compilation -------------------------------------------------------------------------------------------


def test_a_cache_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    code = RELU.format(options="") + "print(numba.must_compile)"
    assert in_new_process(code, SENUMPY_CACHE_DIR=str(tmp_path / "file")) == "True\n"


def test_the_cache_is_found_again(tmp_path):
    code = RELU.format(options="").replace("x = ", "print(numba.must_compile)\nx = ")
    answers = [in_new_process(code, SENUMPY_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    assert answers == ["True\n", "False\n"]
    assert list(tmp_path.rglob("elementwise*.nbi"))


def test_a_damaged_cache_is_compiled_anew(tmp_path):
    code = RELU.format(options="") + "check()\nprint('done')"
    environment = {"SENUMPY_CACHE_DIR": str(tmp_path)}
    assert in_new_process(code, **environment) == "done\n"
    for suffix, damage in (("nbi", b""), ("nbi", b"junk"), ("nbc", b"junk")):
        damaged = list(tmp_path.rglob(f"*.{suffix}"))
        assert damaged
        for path in damaged:
            path.write_bytes(damage)
        assert in_new_process(code, **environment) == "done\n"
        assert all(path.read_bytes() != damage for path in tmp_path.rglob("elementwise*.nbi"))


STEP = """
import numpy as np, senumpy
from senumpy.engines.numba import direct, direct_weights, excite, passes
{ahead}
numba = senumpy.engine("numba")
model = senumpy.create_model("se_resnet8_cifar", in_channels=1, engine=numba)
x = np.ones((2, 1, 8, 8), np.float32)
_, cache = numba.softmax_cross_entropy_forward(model.forward(x), np.arange(2))
model.backward(numba.softmax_cross_entropy_backward(1.0, cache).dlogits)
found = direct_weights.backward_weights, direct.backward_input, excite.excite_back
found += passes.reduce, passes.gradient
print(sum(len(driver.stats.cache_misses) for driver in found), bool(direct.forward_lines.stats.cache_misses))
"""


def test_what_is_compiled_ahead_is_what_a_step_needs(tmp_path):
    ahead = "from senumpy.engines.numba.ahead import compile_gradients; compile_gradients(); raise SystemExit"
    in_new_process(STEP.format(ahead=ahead), SENUMPY_CACHE_DIR=str(tmp_path))
    assert in_new_process(STEP.format(ahead=""), SENUMPY_CACHE_DIR=str(tmp_path)) == "0 True\n"
