"""The emulator finds what it is there to find: bad kernels, run by themselves and in the engine's place."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import senumpy

ROOT = Path(__file__).parents[2]
HEAD = 'extern "C" __global__ void '


def run(cupy, source, grid, block, *arguments, name="bad", options=()):
    cupy.RawModule(code=source, options=options).get_function(name)(grid, block, arguments)


# -- barriers ----------------------------------------------------------------------------------------------

TOTAL = (
    HEAD
    + """total(const float* x, float* sum) {
  __shared__ float shared[64];
  const int me = threadIdx.x;
  shared[me] = x[blockIdx.x * 64 + me];
  for (int half = 32; half > 0; half /= 2) {
    __syncthreads();
    if (me < half) shared[me] += shared[me + half];
  }
  if (me == 0) sum[blockIdx.x] = shared[0];
}"""
)


def total(cupy, source):
    """Return the sums of three blocks of 64, and what the kernel makes of them."""
    x = np.random.default_rng(0).integers(-9, 9, (3, 64)).astype("float32")
    sums = cupy.empty(3, "float32")
    run(cupy, source, (3,), (64,), cupy.asarray(x), sums, name="total")
    return x.sum(axis=1), cupy.asnumpy(sums)


def test_a_reduction(cupy):
    wanted, found = total(cupy, TOTAL)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("barrier", "instead"),
    [
        ("    __syncthreads();\n", ""),  # none at all
        ("    __syncthreads();\n", "    if (half == 32) __syncthreads();\n"),  # none after the first step
        ("  for (int half", "  __syncthreads();\n  for (int half"),  # one before the loop is harmless
    ],
)
def test_a_reduction_that_lacks_a_barrier_is_wrong(cupy, barrier, instead):
    source = TOTAL.replace(barrier, instead)
    assert source != TOTAL
    wanted, found = total(cupy, source)
    assert (found == wanted).all() == (len(source) > len(TOTAL) and "if (half == 32)" not in source)


def test_a_barrier_that_only_some_threads_reach_ends_the_process():
    script = f"""
from tests.cuda import stand_in
cupy = stand_in.build()
source = {HEAD!r} + "bad(float* x) {{ if (threadIdx.x < 3) __syncthreads(); x[threadIdx.x] = 0; }}"
cupy.RawModule(code=source).get_function("bad")((1,), (4,), (cupy.empty(4, "float32"),))
print("went on")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "some threads ended before a barrier" in done.stderr
    assert "went on" not in done.stdout


# -- memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [-1, 4])
def test_a_write_beside_an_array_is_found(cupy, index):
    source = HEAD + f"bad(float* x) {{ x[{index}] = 1; }}"
    with pytest.raises(AssertionError, match="wrote beside an array of 16 bytes"):
        run(cupy, source, (1,), (1,), cupy.empty(4, "float32"))


@pytest.mark.parametrize("index", [-1, 4])
def test_a_read_beside_an_array_gives_nan(cupy, index):
    source = HEAD + f"bad(const float* x, float* y) {{ y[0] = x[{index}] + x[0]; }}"
    x, y = cupy.asarray(np.ones(4, "float32")), cupy.empty(1, "float32")
    run(cupy, source, (1,), (1,), x, y)
    assert np.isnan(cupy.asnumpy(y)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_new_memory_holds_nan(cupy, dtype):
    assert np.isnan(cupy.asnumpy(cupy.empty((2, 3), dtype))).all()


# -- arguments ---------------------------------------------------------------------------------------------

TYPED = HEAD + "bad(float* x, int i, long long l, float f, double d) { if (x) x[0] = i + l + f + (float)d; }"


def typed(cupy):
    return [cupy.empty(1, "float32"), np.int32(1), np.int64(2), np.float32(4), np.float64(8)]


def test_arguments_of_every_kind(cupy):
    arguments = typed(cupy)
    run(cupy, TYPED, (1,), (1,), *arguments)
    assert cupy.asnumpy(arguments[0]) == [15]
    run(cupy, TYPED, (1,), (1,), np.uint64(0), *arguments[1:])


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, None, "argument 0"),
        (0, 0, "argument 0: 0 as int"),
        (0, np.int32(0), "wanted 8 bytes"),
        (0, np.uint64(8), "wanted an array or 0"),
        (0, np.zeros(1, "float32"), "argument 0"),
        (1, 1, "argument 1 is int, wanted i"),
        (1, np.int64(1), "argument 1 is int64, wanted i"),
        (2, np.int32(1), "argument 2 is int32, wanted l"),
        (3, np.float64(1), "argument 3 is float64, wanted f"),
        (3, 1.0, "argument 3 is float, wanted f"),
        (4, np.float32(1), "argument 4 is float32, wanted d"),
    ],
)
def test_an_argument_of_the_wrong_kind(cupy, place, value, message):
    arguments = typed(cupy)
    arguments[place] = value
    with pytest.raises(TypeError, match=message):
        run(cupy, TYPED, (1,), (1,), *arguments)


@pytest.mark.parametrize("count", [0, 4, 6])
def test_a_wrong_number_of_arguments(cupy, count):
    arguments = [*typed(cupy), np.int32(1)][:count]
    with pytest.raises(TypeError, match=f"got {count} arguments, wanted 5"):
        run(cupy, TYPED, (1,), (1,), *arguments)


@pytest.mark.parametrize(
    ("grid", "block"),
    [
        ((1,), (1025,)),
        ((1,), (32, 33)),
        ((0,), (1,)),
        ((1,), (0,)),
        ((1, 65536), (1,)),
        ((1, 1, 65536), (1,)),
    ],
)
def test_sizes_that_cuda_refuses(cupy, grid, block):
    with pytest.raises(ValueError, match="CUDA_ERROR_INVALID_VALUE"):
        run(cupy, TYPED, grid, block, *typed(cupy))


def test_a_kernel_that_is_not_there(cupy):
    with pytest.raises(RuntimeError, match="CUDA_ERROR_NOT_FOUND"):
        run(cupy, TYPED, (1,), (1,), name="other")


# -- what does not compile ---------------------------------------------------------------------------------


def test_options_reach_the_compiler(cupy):
    y = cupy.empty(1, "float32")
    run(cupy, HEAD + "bad(float* y) { y[0] = NUMBER; }", (1,), (1,), y, options=("--std=c++17", "-DNUMBER=3"))
    assert cupy.asnumpy(y) == [3]


def test_a_kernel_that_does_not_compile_is_an_input_error(cupy, monkeypatch):
    from senumpy.engines.cupy import runtime  # behind the stand-in

    text = runtime.source("elementwise").replace("Vec value = load(x, i);", "Vec value = loaded(x, i);", 1)
    monkeypatch.setattr(runtime, "source", lambda file: text)
    fresh = senumpy.engine("cupy")
    with pytest.raises(senumpy.InputError) as caught:
        fresh.relu_forward(fresh.asarray(np.ones((1, 8, 2, 2), "float32")))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(
        "kernel activate (elementwise.cu, --std=c++17 -DReal=float -DV=4 -DTHREADS=256)"
    )
    assert "does not compile for sm_90: " in message
    assert "elementwise.cu:9:" in message  # the line in the file, not the one behind the prelude
    assert "loaded" in message
    # It isn't taken for compiled the second time.
    with pytest.raises(senumpy.InputError, match="kernel activate "):
        fresh.relu_forward(fresh.asarray(np.ones((1, 8, 2, 2), "float32")))


# -- arrays ------------------------------------------------------------------------------------------------


MIXES = {
    "device + host": lambda cupy, x, host: x + host,
    "host + device": lambda cupy, x, host: host + x,
    "np.add": lambda cupy, x, host: np.add(host, x),
    "np.exp": lambda cupy, x, host: np.exp(x),
    "np.stack": lambda cupy, x, host: np.stack([host, x]),
    "np.asarray": lambda cupy, x, host: np.asarray(x),
    "cp.maximum": lambda cupy, x, host: cupy.maximum(x, host),
    "cp.exp": lambda cupy, x, host: cupy.exp(host),
    "cp.stack": lambda cupy, x, host: cupy.stack([x, host]),
    "in place": lambda cupy, x, host: x.__iadd__(host),
    "indices": lambda cupy, x, host: x[host.astype(bool)],
    "host to device": lambda cupy, x, host: x.__setitem__(0, host[0]),
    "device to host": lambda cupy, x, host: host.__setitem__(slice(None), x),
}


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
def test_arrays_of_numpy_and_of_the_device_do_not_mix(cupy, mix):
    host = np.ones((2, 2), "float32")
    with pytest.raises((TypeError, ValueError), match=r"NumPy|numpy|not allowed|unsupported|__array_ufunc__"):
        mix(cupy, cupy.asarray(host), host)


def test_they_meet_by_asarray_and_asnumpy(cupy):
    x = cupy.asarray(np.ones(3))
    assert (cupy.asnumpy(x + cupy.asarray(np.ones(3))) == 2).all()
    assert isinstance(cupy.asnumpy(x), np.ndarray)


IMAGE = np.ones((2, 8, 4, 4), "float32")
VECTOR = np.ones(8, "float32")


@pytest.mark.parametrize(
    ("operation", "arguments", "settings"),
    [
        ("relu_forward", (IMAGE,), {}),
        ("conv2d_forward", (IMAGE, np.ones((4, 8, 3, 3), "float32")), {}),
        ("batchnorm2d_forward", (IMAGE, VECTOR, VECTOR), {}),
        ("global_avg_pool_forward", (IMAGE,), {}),
        ("global_max_pool_forward", (IMAGE,), {}),
        ("max_pool2d_forward", (IMAGE,), {"kernel": 2}),
        ("residual_add_forward", (IMAGE, IMAGE), {}),
        ("linear_forward", (np.ones((2, 8), "float32"), np.ones((3, 8), "float32"), None), {}),
        ("softmax_cross_entropy_forward", (np.ones((2, 8), "float32"), np.array([1, 2])), {}),
    ],
)
def test_the_engine_refuses_arrays_of_numpy(engine, operation, arguments, settings):
    with pytest.raises(
        TypeError, match=r"got an array of numpy, wanted one on the GPU: engine\.asarray\(x\)"
    ):
        getattr(engine, operation)(*arguments, **settings)
