"""What only the Numba engine has: ways to convolve, threads, memory, prepared weights, a cache of kernels."""

from __future__ import annotations

import dataclasses
import gc
import os
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import senumpy
from senumpy import create_model
from senumpy.engines import engine_names
from senumpy.training import SGD
from tests.strategies import LAYOUTS, laid_out

if "numba" not in engine_names():
    pytest.skip("engine 'numba' is not installed", allow_module_level=True)

EPS32 = float(np.finfo(np.float32).eps)


@pytest.fixture(scope="module")
def numba():
    return senumpy.engine("numba")


@pytest.fixture(scope="module")
def exact():
    return senumpy.engine("numba", exact=True)


@pytest.fixture(scope="module")
def reference():
    return senumpy.engine("numpy")


def train_step(model, x, labels, sgd=None):
    """Return the loss and the gradient of the images."""
    loss, cache = model.engine.softmax_cross_entropy_forward(model.forward(x), labels)
    dx = model.backward(model.engine.softmax_cross_entropy_backward(1.0, cache).dlogits)
    if sgd:
        sgd.step(0.05)
    return float(loss), dx


def batch(rng, n=4, channels=3, size=32, dtype=np.float32):
    return rng.normal(size=(n, channels, size, size)).astype(dtype), np.arange(n) % 10


# -- convolution -------------------------------------------------------------------------------------------

# Winograd's transforms multiply rounding errors: the rows of B^T sum up to 10 in absolute value, those of A^T
# to 19, each twice (two axes), those of G to at most 1. The C products of a point are summed like a random
# walk. That bounds an entry's error by (10 * 19)^2 eps sqrt(C) max|x| max|w|; what is seen is a hundredth.
WINOGRAD_GROWTH = (10 * 19) ** 2


@given(data=st.data())
def test_winograd_agrees_with_float64(numba, reference, data):
    c, o = data.draw(st.sampled_from([(16, 16), (32, 48), (64, 32), (144, 32), (32, 144)]))
    h, w = data.draw(st.integers(7, 17)), data.draw(st.integers(7, 17))
    n, padding = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 2))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    h, w = max(h, 9 - 2 * padding), max(w, 9 - 2 * padding)  # a result of at least 7x7
    x = laid_out(rng.normal(size=(n, c, h, w)), data.draw(st.sampled_from(LAYOUTS)))
    kernels = rng.normal(size=(o, c, 3, 3))
    y, cache = numba.conv2d_forward(x.astype(np.float32), kernels.astype(np.float32), padding=padding)
    assert cache.conv.way == "winograd"
    want, want_cache = reference.conv2d_forward(x, kernels, padding=padding)
    dy = rng.normal(size=y.shape)
    got = numba.conv2d_backward(dy.astype(np.float32), cache)
    wanted = reference.conv2d_backward(dy, want_cache)
    peak = [float(np.abs(a).max()) for a in (x, kernels, dy)]
    growth = WINOGRAD_GROWTH * EPS32
    assert np.abs(y - want).max() <= growth * np.sqrt(c) * peak[0] * peak[1]
    assert np.abs(got.dx - wanted.dx).max() <= growth * np.sqrt(o) * peak[1] * peak[2]
    # dw sums over tiles instead of channels, and its transforms are the transposed ones
    tiles = n * -(-y.shape[2] // 4) * -(-y.shape[3] // 4)
    assert np.abs(got.dw - wanted.dw).max() <= growth * np.sqrt(tiles) * peak[0] * peak[2]


@pytest.mark.parametrize("batch_size", [1, 40])  # in phases, and fused
def test_both_forms_of_winograd(numba, reference, rng, batch_size):
    x, w = rng.normal(size=(batch_size, 32, 15, 14)), rng.normal(size=(64, 32, 3, 3))
    b = 10 * rng.normal(size=64)
    got, cache = numba.conv2d_forward(*(a.astype(np.float32) for a in (x, w, b)), padding=1)
    assert cache.conv.way == "winograd"
    want, want_cache = reference.conv2d_forward(x, w, b, padding=1)
    assert np.abs(got - want).max() <= 1e-4 * want.std()
    dy = rng.normal(size=want.shape)
    found = numba.conv2d_backward(dy.astype(np.float32), cache)
    for name, expected in reference.conv2d_backward(dy, want_cache)._asdict().items():
        if expected is not None:
            assert np.abs(getattr(found, name) - expected).max() <= 2e-4 * expected.std(), name


def test_exact_and_float64_go_without_winograd(numba, exact, rng):
    x, w = rng.normal(size=(2, 32, 12, 12)), rng.normal(size=(32, 32, 3, 3))
    _, cache = numba.conv2d_forward(x, w, padding=1)
    assert cache.conv.way == "direct"
    x, w = x.astype(np.float32), w.astype(np.float32)
    y, cache = exact.conv2d_forward(x, w, padding=1)
    assert cache.conv.way == "direct"
    want, _ = numba.conv2d_forward(x.astype(np.float64), w.astype(np.float64), padding=1)
    # a sum of 288 products in float32, as a random walk
    assert np.abs(y - want).max() <= 8 * EPS32 * np.sqrt(288) * want.std()


# Sizes beyond one block of everything: rows, columns, depth, lines, panels that are not full.
@pytest.mark.parametrize(
    ("x_shape", "w_shape", "settings", "way"),
    [
        ((3, 300, 13, 11), (531, 300, 1, 1), {}, "direct"),
        ((2, 530, 5, 5), (20, 530, 1, 1), {}, "direct"),
        ((2, 20, 40, 37), (10, 20, 1, 1), {"stride": 2}, "decimated"),
        ((2, 3, 50, 45), (24, 3, 7, 7), {"stride": 2, "padding": 3}, "direct"),
        ((2, 40, 23, 19), (150, 40, 3, 3), {"stride": 2, "padding": 1}, "direct"),
        ((2, 40, 23, 19), (24, 40, 3, 3), {"padding": 2, "dilation": 2}, "direct"),
        ((2, 24, 17, 9), (24, 24, 3, 5), {"padding": (1, 0)}, "direct"),
        ((2, 64, 14, 14), (64, 2, 3, 3), {"padding": 1, "groups": 32}, "grouped"),
        ((2, 64, 15, 14), (128, 16, 3, 3), {"padding": 1, "groups": 4, "stride": 2}, "direct"),
        ((2, 70, 15, 14), (70, 1, 3, 3), {"padding": 1, "groups": 70, "stride": 2}, "grouped"),
        ((2, 6, 15, 14), (12, 1, 5, 3), {"padding": (2, 1), "groups": 6}, "direct"),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_large_convolutions(numba, reference, rng, x_shape, w_shape, settings, way, dtype):
    x, w, b = (rng.normal(size=shape) for shape in (x_shape, w_shape, w_shape[:1]))
    y, cache = numba.conv2d_forward(*(a.astype(dtype) for a in (x, w, b)), **settings)
    assert cache.conv.way == way
    want, want_cache = reference.conv2d_forward(x, w, b, **settings)
    dy = rng.normal(size=want.shape)
    gradients = numba.conv2d_backward(dy.astype(dtype), cache)
    bound = 1e-12 if dtype == "float64" else 3e-5
    assert np.abs(y - want).max() <= bound * np.abs(want).max()
    for name, expected in reference.conv2d_backward(dy, want_cache)._asdict().items():
        error = np.abs(getattr(gradients, name) - expected).max()
        assert error <= bound * np.abs(expected).max(), name


# With five groups, the last block of channels is not full.
SMALL_GROUPS = [("float64", 1), ("float64", 2), ("float64", 8), ("float32", 4), ("float32", 16)]


@pytest.mark.parametrize(
    ("dtype", "members", "groups"),
    [
        *((dtype, members, groups) for dtype, members in SMALL_GROUPS for groups in (2, 5)),
        ("float64", 1, 21),  # enough channels to go by depthwise.py; the last block begins earlier
        ("float32", 1, 16),
        ("float32", 1, 35),
    ],
)
@pytest.mark.parametrize(
    ("size", "kernel", "settings"),
    [
        ((7, 9), (3, 3), {"padding": 1}),
        ((8, 7), (3, 3), {"padding": 1, "stride": 2}),
        ((9, 10), (3, 2), {"padding": (2, 0), "stride": (2, 3), "dilation": (1, 2)}),
        ((5, 7), (1, 1), {"stride": 3}),  # pixels that no window sees
        ((3, 1), (3, 3), {"padding": 3, "stride": 2}),  # windows that see no pixel
        ((70, 33), (3, 3), {"padding": 1}),  # more lines than are copied at a time
    ],
)
def test_small_groups(numba, reference, rng, dtype, members, groups, size, kernel, settings):
    channels = members * groups
    x, w = rng.normal(size=(2, channels, *size)), rng.normal(size=(channels, members, *kernel))
    b = rng.normal(size=channels)
    y, cache = numba.conv2d_forward(*(a.astype(dtype) for a in (x, w, b)), groups=groups, **settings)
    assert cache.conv.way == "grouped"
    want, want_cache = reference.conv2d_forward(x, w, b, groups=groups, **settings)
    dy = rng.normal(size=y.shape)
    got = [y, *numba.conv2d_backward(dy.astype(dtype), cache)]
    wanted = [want, *reference.conv2d_backward(dy, want_cache)]
    for a, b in zip(got, wanted, strict=True):
        # A sum of k products of numbers around 1 is off by about sqrt(k) eps, at most by k eps.
        terms = max(members * kernel[0] * kernel[1], 2 * dy[0, 0].size)
        np.testing.assert_allclose(a, b, rtol=0, atol=terms * np.finfo(dtype).eps * (1 + abs(b).max()))


@pytest.mark.parametrize("members", [2, 16])
def test_what_is_not_finite_stays_in_its_group(numba, rng, members):
    x = rng.normal(size=(1, 2 * members, 4, 4)).astype(np.float32)
    x[0, members - 1, 1, 1] = np.inf
    w = rng.normal(size=(2 * members, members, 3, 3)).astype(np.float32)
    y, cache = numba.conv2d_forward(x, w, padding=1, groups=2)
    dx, dw, _ = numba.conv2d_backward(np.ones_like(y), cache)
    assert not np.isfinite(y[0, :members]).all()
    assert np.isfinite(y[0, members:]).all()
    assert np.isfinite(dx).all()
    assert not np.isfinite(dw[:members]).all()
    assert np.isfinite(dw[members:]).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_reaches_every_window_that_sees_it(numba, exact, rng, value):
    x, w = rng.normal(size=(1, 32, 12, 12)).astype(np.float32), np.ones((32, 32, 3, 3), np.float32)
    x[0, 3, 5, 6] = value
    seen = np.zeros((12, 12), bool)
    seen[4:7, 5:8] = True
    y, _ = exact.conv2d_forward(x, w, padding=1)
    assert np.array_equal(np.isfinite(y[0, 0]), ~seen)
    y, _ = numba.conv2d_forward(x, w, padding=1)
    assert not np.isfinite(y[0][:, seen]).any()
    # Winograd may take the whole 4x4 tiles with it, no more.
    assert np.isfinite(y[0, :, :, 8:]).all()


# -- pooling: blocks of channels in registers, and a rest of three -------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "settings",
    [
        {"kernel": 3, "stride": 2, "padding": 1},
        {"kernel": (2, 3), "stride": 1},
        {"kernel": 3, "stride": 2, "ceil_mode": True},
        {"kernel": 17, "stride": 1, "padding": 8},  # more taps than a byte can number
    ],
)
def test_max_pool_ties_and_nan(numba, reference, rng, settings, dtype):
    x = rng.integers(3, size=(2, 35, 18, 17)).astype(dtype)  # three values: ties everywhere
    x[0, [2, 33], 5, 6] = np.nan
    x[1, [3, 34], 4, 4] = -np.inf
    y, cache = numba.max_pool2d_forward(x, **settings)
    want, want_cache = reference.max_pool2d_forward(x, **settings)
    np.testing.assert_array_equal(y, want)
    dy = rng.integers(-9, 9, size=y.shape).astype(dtype)  # small ints: their sums are exact
    dx, wanted = numba.max_pool2d_backward(dy, cache).dx, reference.max_pool2d_backward(dy, want_cache).dx
    np.testing.assert_array_equal(dx, wanted)


# -- whole networks ----------------------------------------------------------------------------------------


def test_gradients_of_a_network_in_float64(numba, reference, rng):
    x, labels = batch(rng, dtype=np.float64)
    ours, theirs = (create_model("se_resnet20_cifar", engine=e, dtype="float64") for e in (numba, reference))
    (loss, dx), (want_loss, want_dx) = train_step(ours, x, labels), train_step(theirs, x, labels)
    assert loss == pytest.approx(want_loss, rel=1e-13)
    assert np.abs(dx - want_dx).max() <= 1e-10 * np.abs(want_dx).max()
    wanted = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        expected = wanted[name].grad
        assert np.abs(parameter.grad - expected).max() <= 1e-10 * np.abs(expected).max(), name
    buffers = dict(theirs.named_buffers())
    for name, buffer in ours.named_buffers():
        np.testing.assert_allclose(buffer.value, buffers[name].value, rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.parametrize("name", ["se_resnet50", "resnet18"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inference_folds_batch_norm(numba, reference, rng, name, dtype):
    models = [create_model(name, num_classes=7, engine=e, dtype=dtype) for e in (numba, reference)]
    for parameter_name, parameter in models[0].named_parameters():
        if "bn" in parameter_name or "bias" in parameter_name:
            parameter.value += (0.2 * rng.normal(size=parameter.value.shape)).astype(dtype)
    for _, buffer in models[0].named_buffers():
        buffer.value += np.abs(0.3 * rng.normal(size=buffer.value.shape)).astype(dtype)
    models[1].load_state_dict(models[0].state_dict())
    x, _ = batch(rng, n=2, size=75, dtype=dtype)
    results = []
    for model in models:
        with model.inference():
            results.append(model.forward(x))
            assert np.array_equal(model.forward(x), results[-1])
    scale = np.abs(results[1]).max()
    assert np.abs(results[0] - results[1]).max() <= (1e-12 if dtype == "float64" else 1e-4) * scale


def test_weights_are_prepared_anew_after_they_changed(numba, rng):
    model, other = (create_model("se_resnet8_cifar", engine=numba, seed=s) for s in (1, 2))
    x, labels = batch(rng)
    with model.inference():
        before = model.forward(x)
        with pytest.raises(ValueError, match="read-only"):
            model.fc.weight.value *= 2.0
        # Another model of the same engine may train meanwhile.
        losses = [train_step(other, x, labels, SGD(other))[0] for _ in range(5)]
    assert losses[-1] < losses[0]
    model.conv1.weight.value *= -1.0
    with model.inference():
        after = model.forward(x)
    assert not np.allclose(before, after, rtol=1e-2)
    copy = create_model("se_resnet8_cifar", engine="numpy")
    copy.load_state_dict(model.state_dict())
    with copy.inference():
        np.testing.assert_allclose(after, copy.forward(x), rtol=1e-3, atol=1e-4)


def test_the_loss_follows_that_of_the_numpy_engine(numba, reference, rng):
    images = rng.normal(size=(20, 16, 1, 16, 16)).astype(np.float32)
    labels = rng.integers(10, size=(20, 16))
    curves = []
    for made in (numba, reference):
        model = create_model("se_resnet8_cifar", in_channels=1, engine=made)
        sgd = SGD(model, momentum=0.9, weight_decay=1e-4)
        curves.append([train_step(model, images[k % 20], labels[k % 20], sgd)[0] for k in range(200)])
    ours, theirs = np.array(curves)
    # Rounding grows from step to step, so single losses part; their course doesn't.
    np.testing.assert_allclose(ours[:10], theirs[:10], rtol=1e-3)
    smooth = [np.convolve(curve, np.full(20, 1 / 20), "valid") for curve in (ours, theirs)]
    assert np.abs(smooth[0] - smooth[1]).max() <= 0.1 * theirs[0]
    assert ours[-20:].mean() < 0.5 * ours[:20].mean()


def test_fashion_mnist_is_learnt_as_well(numba, reference, shared_data):
    from senumpy.data import load_data
    from senumpy.training import Trainer, make_schedule
    from senumpy.training.config import TrainConfig
    from senumpy.training.loaders import evaluation_loader, training_loader

    splits = load_data(str(shared_data / "fashion-mnist"))
    train, test = (
        dataclasses.replace(part, images=part.images[:n], labels=part.labels[:n])
        for part, n in ((splits.train, 3000), (splits.test, 1000))
    )
    config = TrainConfig(data="", model="se_resnet8_cifar", epochs=3, batch_size=32, lr=0.1, augment=False)
    accuracies = []
    for made in (numba, reference):
        model = create_model("se_resnet8_cifar", in_channels=1, engine=made)
        loader = training_loader(train, config)
        schedule = make_schedule("cosine", 0.1, steps=3 * len(loader), warm_up_steps=len(loader))
        evaluation = evaluation_loader(test, 100, mean=train.mean, std=train.std, workers=0)
        trainer = Trainer(model, SGD(model, momentum=0.9), schedule, loader, evaluation, epochs=3)
        metrics = []
        trainer.run(after_epoch=metrics.append)
        accuracies.append(metrics[-1].test_accuracy)
    ours, theirs = accuracies
    # 1,000 images: one standard error of the difference of two such accuracies is 0.018
    assert ours >= theirs - 0.04
    assert ours > 0.7


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
    with pytest.raises(senumpy.InputError, match="threads: got 0, wanted 1 to 64"):
        senumpy.engine("numba", threads=0)
    with pytest.raises(senumpy.InputError, match="engine 'numpy' has no such option"):
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
    assert memory.bytes_held <= 100 * size


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
