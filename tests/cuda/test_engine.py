"""The engine as an object: its options, what it says without a GPU, memory, images, the weights' update."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import senumpy
from senumpy.engines import engine_names
from tests.cuda import stand_in, streams
from tests.cuda.memory import device_memory


def test_it_says_what_it_is(cupy):
    assert "cupy" in engine_names()
    assert senumpy.engine("cupy").describe() == "cupy (device 0: Emulated GPU, float32)"
    other = senumpy.engine("cupy", precision="tf32", deterministic=True)
    assert other.describe() == "cupy (device 0: Emulated GPU, tf32, deterministic)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "half"}, "precision: got 'half', wanted 'float32' or 'tf32'"),
        ({"device": 3}, "device: got 3, wanted one of 0: Emulated GPU"),
        ({"device": "0"}, "device: got '0', wanted one of"),
        ({"device": -1}, "device: got -1"),
        ({"deterministic": 1}, "deterministic: got 1, wanted True or False"),
        ({"exact": None}, "exact: got None"),
        ({"threads": 2}, "option 'threads'"),
    ],
)
def test_bad_options(cupy, options, message):
    with pytest.raises(senumpy.InputError, match=message):
        senumpy.engine("cupy", **options)


def test_no_tf32_on_old_devices(cupy, monkeypatch):
    real = cupy.cuda.runtime.getDeviceProperties
    old = {"major": 7, "minor": 0}
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceProperties", lambda number: {**real(number), **old})
    with pytest.raises(senumpy.InputError, match=r"sm_70\) can't do that: wanted sm_80 or newer"):
        senumpy.engine("cupy", precision="tf32")
    assert senumpy.engine("cupy").precision == "float32"


def failing(error):
    def fail(*args):
        raise error

    return fail


def test_no_driver(cupy, monkeypatch):
    error = cupy.cuda.runtime.CUDARuntimeError(
        "cudaErrorInsufficientDriver: CUDA driver version is insufficient"
    )
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", failing(error))
    with pytest.raises(
        senumpy.InputError, match=r"no usable GPU \(cudaErrorInsufficientDriver.*use the engine"
    ):
        senumpy.engine("cupy")


def test_no_device(cupy, monkeypatch):
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 0)
    with pytest.raises(senumpy.InputError, match="the driver shows no GPU"):
        senumpy.engine("cupy")


def test_a_device_without_memory(cupy, monkeypatch):
    monkeypatch.setattr(
        cupy, "empty", failing(stand_in.OutOfMemoryError("Out of memory allocating 512 bytes"))
    )
    with pytest.raises(
        senumpy.InputError, match=r"device 0 \(Emulated GPU\) gives no memory \(Out of memory"
    ):
        senumpy.engine("cupy")


def test_no_cublas(cupy, monkeypatch):
    """CuPy loads cuBLAS when first asked for it."""

    class Cuda:
        def __getattr__(self, name):
            if name == "cublas":
                raise ImportError('Failure finding "libcublas.so.12"')
            return getattr(real, name)

    real = cupy.cuda
    monkeypatch.setattr(cupy, "cuda", Cuda())
    with pytest.raises(senumpy.InputError, match=r"can't work on device 0 .*: Failure finding.*pip install"):
        senumpy.engine("cupy")


def test_numpy_arrays_are_not_taken_silently(engine):
    x = np.ones((2, 4, 5, 5), "float32")
    for call in (
        lambda: engine.conv2d_forward(x, x),
        lambda: engine.relu_forward(x),
        lambda: engine.batchnorm2d_forward(engine.asarray(x), np.ones(4, "float32"), np.ones(4, "float32")),
    ):
        with pytest.raises(TypeError, match=r"array of numpy, wanted one on the GPU: engine\.asarray"):
            call()


def test_array_helpers(engine):
    array = engine.asarray([[1, 2]], dtype="float32")
    assert array.dtype == np.float32
    assert engine.to_numpy(array).tolist() == [[1.0, 2.0]]
    assert not engine.to_numpy(engine.zeros((2, 3), "float64")).any()
    draws = [
        e.to_numpy(e.normal((3, 4), 0.5, np.random.default_rng(0), "float32"))
        for e in (engine, senumpy.engine("numpy"))
    ]
    assert np.array_equal(*draws)
    x = np.arange(18.0).reshape(1, 2, 3, 3)
    for by in (1, -1):
        moved = [e.to_numpy(e.shifted(e.asarray(x), by)) for e in (engine, senumpy.engine("numpy"))]
        assert np.array_equal(*moved)
    total, part = (engine.asarray(x * factor) for factor in (1.0, 3.0))
    assert np.array_equal(engine.to_numpy(engine.add_gradients(total, part)), 4 * x)
    assert np.array_equal(engine.to_numpy(engine.times(engine.asarray(x), 0.5)), 0.5 * x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("nesterov", [False, True])
def test_one_launch_updates_all_parameters(engine, dtype, nesterov):
    shapes = [(3,), (5, 4, 3, 3), (1,), (4097,), (8192,)]
    decays = [0.0, 0.1, 0.0, 0.01, 0.5]
    sets = {}
    for name in ("cupy", "numpy"):
        rng = np.random.default_rng(0)
        e = engine if name == "cupy" else senumpy.engine("numpy")
        values, gradients, velocities = (
            [e.asarray(rng.normal(size=shape).astype(dtype)) for shape in shapes] for _ in range(3)
        )
        stand_in.launches.clear()
        for _ in range(2):
            e.sgd_update_all(values, gradients, velocities, decays, lr=0.1, momentum=0.9, nesterov=nesterov)
        sets[name] = [e.to_numpy(a) for a in (*values, *gradients, *velocities)]
        assert stand_in.launches == (["sgd"] * 2 if name == "cupy" else [])
    for got, want in zip(*sets.values(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13 if dtype == "float64" else 1e-5, atol=1e-6)


def images(rng, n):
    return (
        rng.integers(0, 256, (n, 9, 7, 3), dtype=np.uint8),
        rng.integers(-4, 5, (n, 2)),
        rng.random(n) < 0.5,
        rng.integers(0, 10, n),
    )


SCALE, SHIFT = np.float32([0.017, 0.018, 0.019]), np.float32([-2.1, -2.0, -1.8])


@pytest.mark.parametrize("offsets", [True, False])
@pytest.mark.parametrize("flips", [True, False])
def test_images_are_prepared_bit_for_bit_as_on_processors(engine, offsets, flips):
    pixels, corners, mirrored, _ = images(np.random.default_rng(0), 5)
    arguments = pixels, corners if offsets else None, mirrored if flips else None, SCALE, SHIFT
    got = engine.to_numpy(engine.prepare_images(*arguments))
    assert np.array_equal(got, senumpy.engine("numpy").prepare_images(*arguments))


@pytest.fixture
def no_races():
    """Memory that is freed too early is noted where nothing can be raised."""
    streams.races.clear()
    yield
    gc.collect()
    assert streams.races == []


@pytest.mark.usefixtures("no_races")
def test_a_feed_gives_all_batches_in_order_and_closes_its_source(engine):
    rng = np.random.default_rng(0)
    batches = [images(rng, n) for n in (3, 4, 4, 6, 6, 6, 2)]  # grows, and ends with a smaller one
    closed = []

    def source():
        try:
            yield from batches
        finally:
            closed.append(True)

    got = list(engine.feed(source(), SCALE, SHIFT))
    assert closed == [True]
    for (x, labels), (*raw, want_labels) in zip(got, batches, strict=True):
        assert np.array_equal(engine.to_numpy(x), senumpy.engine("numpy").prepare_images(*raw, SCALE, SHIFT))
        assert np.array_equal(labels, want_labels)
    feed = engine.feed(source(), SCALE, SHIFT)
    next(feed)
    feed.close()
    assert closed == [True, True]


def test_memory(engine):
    with device_memory(2**40):
        before = engine.device_memory()
        held = engine.zeros((1000,), "float64")
        after = engine.device_memory()
        assert after.used - before.used == held.nbytes
        assert before.total == 2**40
        assert after.free == before.free - held.nbytes


def test_weights_are_prepared_once_while_they_are_frozen(cupy):
    engine = senumpy.engine("cupy", deterministic=True)
    rng = np.random.default_rng(0)
    x, w = (
        engine.asarray(rng.normal(size=shape).astype("float32")) for shape in ((2, 16, 6, 6), (16, 16, 3, 3))
    )
    vectors = [engine.asarray(rng.uniform(0.5, 2.0, 16).astype("float32")) for _ in range(4)]

    def launched():
        stand_in.launches.clear()
        y = engine.conv_bn_inference(x, w, *vectors, padding=1)
        return y, stand_in.launches.count("winograd_kernels")

    loose, count = launched()
    assert count >= 1
    with engine.frozen_weights():
        first, count = launched()
        assert count >= 1
        second, count = launched()
        assert count == 0
    assert engine.runtime.frozen is None
    for y in (first, second):
        assert np.array_equal(engine.to_numpy(loose), engine.to_numpy(y))


class Foreign:
    """Another library's array on the device."""

    def __init__(self, array):
        self.__cuda_array_interface__ = array.__cuda_array_interface__


def test_arrays_on_the_device_are_shared(engine):
    own = engine.zeros((2, 3), "float32")
    shared = engine.asarray(Foreign(own))
    shared[...] = 7.0
    assert np.array_equal(engine.to_numpy(own), np.full((2, 3), 7.0))
    assert engine.asarray(own) is own


class Lent:
    """Another library's array on the processor."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_arrays_on_the_processor_are_copied(engine):
    images = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).transpose(0, 3, 1, 2)
    for value in (images, Lent(images)):
        array = engine.asarray(value)
        assert np.array_equal(engine.to_numpy(array), images)
        assert array.transpose(0, 2, 3, 1).flags.c_contiguous
    assert engine.asarray(images, dtype="float32").dtype == np.float32


@pytest.mark.parametrize(
    "text",
    ["CUDA_ERROR_OUT_OF_MEMORY: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "cudaErrorMemoryAllocation"],
)
def test_a_full_memory_is_a_memory_error_whoever_says_so(engine, cupy, monkeypatch, text):
    x, w = engine.zeros((2, 4), "float32"), engine.zeros((3, 4), "float32")
    monkeypatch.setattr(cupy.cuda.cublas, "sgemm", failing(RuntimeError(text)))
    with pytest.raises(MemoryError, match=text):
        engine.linear_forward(x, w)
    monkeypatch.setattr(cupy.cuda.cublas, "sgemm", failing(RuntimeError("CUBLAS_STATUS_EXECUTION_FAILED")))
    with pytest.raises(RuntimeError, match="EXECUTION_FAILED"):
        engine.linear_forward(x, w)


def test_a_thread_on_another_device_is_refused(cupy, monkeypatch):
    engine = senumpy.engine("cupy")
    monkeypatch.setattr(cupy.cuda.runtime, "getDevice", lambda: 3)
    x = engine.zeros((2, 4, 3, 3), "float32")
    for call in (lambda: engine.relu_forward(x), lambda: engine.linear_forward(x[:, :, 0, 0], x[:, :, 0, 0])):
        with pytest.raises(senumpy.InputError, match="device 0: this thread computes on device 3; call cupy"):
            call()


def test_cuda_without_its_libraries(cupy, monkeypatch):
    error = RuntimeError("Failed to auto-detect CUDA root directory.")
    monkeypatch.setattr(cupy.cuda.device, "get_cublas_handle", failing(error))
    with pytest.raises(senumpy.InputError, match=r"can't work on device 0 .*CUDA root.*pip install"):
        senumpy.engine("cupy")


def test_a_training_step_waits_for_the_device_as_rarely_as_it_says(cupy, monkeypatch):
    """Once: to read the loss and the logits, one after the other. Whatever else reads would wait, too."""
    from senumpy.training.evaluate import forward_loss

    engine = senumpy.engine("cupy")
    model = senumpy.create_model("se_resnet8_cifar", num_classes=3, engine=engine)
    waits = []
    for name in ("get", "__float__", "__int__", "__bool__"):
        real = getattr(cupy.ndarray, name)
        monkeypatch.setattr(
            cupy.ndarray, name, lambda self, name=name, real=real: (waits.append(name), real(self))[1]
        )
    x = engine.zeros((4, 3, 8, 8), "float32")
    _, _, cache = forward_loss(model, x, np.array([0, 1, 2, 0]))
    model.backward(engine.softmax_cross_entropy_backward(1.0, cache).dlogits, need_dx=False)
    assert waits == ["__float__", "get"]
