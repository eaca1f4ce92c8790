"""PyTorch, JAX and ONNX Runtime are accurate on every operation; where one isn't, its cause stands here.

That holds the bounds: one too tight would accuse implementations that millions rely on. The largest errors,
in units of their bounds, stand in the terminal's summary.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from senumpy.crosscheck.strategy import calls
from senumpy.verify.calls import OpCall, Results, call_of
from senumpy.verify.cases import OPS
from senumpy.verify.judgement import judge
from senumpy.verify.rounding import expect, roundoff

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")
from tests.oracles.torch_peer import torch_results  # noqa: E402

GOOD = ("exact", "accurate")
DRAWS = 60
DTYPES = ["float64", "float32"]
HAS = {name: importlib.util.find_spec(name) is not None for name in ("jax", "onnx", "onnxruntime")}
needs_jax = pytest.mark.skipif(not HAS["jax"], reason="jax is not installed: pip install jax")
needs_onnx = pytest.mark.skipif(
    not (HAS["onnx"] and HAS["onnxruntime"]), reason="not installed: pip install onnx onnxruntime"
)

# ONNX Runtime takes quotients of polynomials for these, whose errors are a few roundoffs of 1: small results
# are off by far more than their own roundoffs, its sigmoid(-20) is 0 in float32. At most, in roundoffs of 1:
APPROXIMATED = {"sigmoid": 4.0, "tanh": 8.0}

# ONNX Runtime has no float64 kernels for these on processors, nor for what is made of them.
FLOAT32_ALONE = {"Conv", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}

Peer = Callable[[OpCall, Any], Results | None]


class Largest:
    """The largest error of each result, in units of its bound."""

    def __init__(self) -> None:
        self.ratio, self.where, self.calls, self.excused = 0.0, "", 0, 0

    def hold(self, peer: Peer, call: OpCall, dtype: str, allowed: float = 0.0) -> None:
        """Judge one call: the peer has to be accurate, or off by no more than a known cause allows."""
        got = peer(call, dtype)
        if got is None:
            return
        self.calls += 1
        judgements = judge(expect(call, dtype), got)
        assert judgements
        for j in judgements:
            assert j.level in GOOD or j.max_error <= allowed, f"{j} for {call}"
            self.excused += j.level not in GOOD
            if j.level in GOOD and j.ratio > self.ratio:
                self.ratio, self.where = j.ratio, j.result

    def __str__(self) -> str:
        if not self.calls:
            return "0 calls"
        return (
            f"{self.calls} calls, largest error {self.ratio:.2f} of its bound ({self.where or 'all exact'})"
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_torch(op, dtype, tell):
    largest = Largest()

    @settings(max_examples=DRAWS, derandomize=True, database=None)
    @given(calls(op))
    def draws(call):
        largest.hold(torch_results, call, dtype)

    draws()
    assert largest.calls >= DRAWS / 4
    tell(f"PyTorch {torch.__version__}, {op}, {dtype}: {largest}")


@needs_jax
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_jax(op, dtype, tell):
    import jax

    from tests.oracles.jax_peer import jax_results

    largest = Largest()
    for seed in range(8):  # of the same shapes: JAX compiles for every new one
        for case in OPS[op].cases(seed=seed):
            largest.hold(jax_results, call_of(op, case, seed), dtype)
    tell(f"JAX {jax.__version__}, {op}, {dtype}: {largest}")


@needs_onnx
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_onnx_runtime(op, dtype, tell):
    import onnxruntime

    from tests.oracles.onnx_peer import kernels_of, runtime_results

    largest, refused = Largest(), []

    def peer(call: OpCall, dtype: Any) -> Results | None:
        got = runtime_results(call, dtype)
        if got is None:
            refused.append(call)
        return got

    @settings(max_examples=DRAWS, derandomize=True, database=None)
    @given(calls(op))
    def draws(call):
        # ONNX's epsilon is a float32, in float64 graphs too: 1e-5 is another number there.
        if "eps" in call.options:
            call = replace(call, options={**call.options, "eps": float(np.float32(call.options["eps"]))})
        gate = op if op in APPROXIMATED else call.options.get("gate") if op == "excitation" else None
        largest.hold(peer, call, dtype, APPROXIMATED.get(gate, 0.0) * roundoff(dtype))

    draws()
    for call in refused:
        assert dtype == "float64"
        assert kernels_of(call) & FLOAT32_ALONE
    assert largest.calls + len(refused) >= DRAWS / 4
    left_out = f"; {len(refused)} left out: no float64 kernel" if refused else ""
    tell(f"ONNX Runtime {onnxruntime.__version__}, {op}, {dtype}: {largest}{left_out}")


# -- exceptions --------------------------------------------------------------------------------------------


def batch_norm_gradients(x, gamma, dy):
    """Return PyTorch's results for tensors in the memory orders that they have."""
    x, gamma = x.detach().requires_grad_(), gamma.detach().requires_grad_()
    beta = torch.zeros(len(gamma), dtype=x.dtype, requires_grad=True)
    y = torch.nn.functional.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-5)
    y.backward(dy)
    return {"y": y, "dx": x.grad, "dgamma": gamma.grad, "dbeta": beta.grad}


def channels_last(tensor):
    return tensor.contiguous(memory_format=torch.channels_last)


def every_second(tensor):
    return torch.stack([tensor, tensor], -1)[..., 0]


def both_orders(tensor):
    """Return (1, C, 1, W) with strides that PyTorch takes for C order and for channels last."""
    return tensor.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)


@pytest.mark.parametrize(
    ("shape", "orders", "wrong"),
    [
        # A gamma that is not contiguous is read as if it were, where x and dy are channels last.
        ((2, 3, 4, 5), (channels_last, every_second, channels_last), {"dx"}),
        # An image of one row, in an order that passes for both: x is read in one, dy in the other.
        ((1, 4, 1, 2), (both_orders, torch.clone, torch.clone), {"dx", "dgamma", "dbeta"}),
    ],
)
def test_gradients_of_batch_norm_that_torch_has_wrong(shape, orders, wrong):
    """PyTorch 2.13.0 on processors; `torch_peer` hands it C order therefore, where there is a batch norm.

    When this test fails on a later PyTorch, take it away, and `NORMS` in `torch_peer`.
    """
    rng = np.random.default_rng(3)
    call = OpCall("batchnorm2d", (rng.normal(size=shape), rng.normal(size=shape[1]), np.zeros(shape[1])))
    x, gamma, dy = (torch.from_numpy(a) for a in (*call.args[:2], call.upstream(shape)))
    expectation = expect(call, "float64")

    def found(*tensors):
        got = {name: t.detach().numpy() for name, t in batch_norm_gradients(*tensors).items()}
        return {j.result for j in judge(expectation, got) if j.level not in GOOD}

    assert found(x, gamma, dy) == set()
    assert found(*(order(t) for order, t in zip(orders, (x, gamma, dy), strict=True))) == wrong


@needs_onnx
def test_epsilon_is_a_float32_in_onnx():
    from tests.oracles.onnx_peer import runtime_results

    call = call_of("batchnorm2d_inference", OPS["batchnorm2d_inference"].cases(seed=1)[0], 1)
    given = replace(call, options={"eps": 0.1})
    rounded = replace(call, options={"eps": float(np.float32(0.1))})
    got = runtime_results(given, "float64")
    assert [j.level for j in judge(expect(given, "float64"), got)] != ["accurate"]
    assert [j.level for j in judge(expect(rounded, "float64"), got)] in (["accurate"], ["exact"])


@needs_onnx
@pytest.mark.parametrize("op", APPROXIMATED)
def test_small_results_of_onnx_runtimes_gates_are_rough(op):
    from tests.oracles.onnx_peer import runtime_results

    x = np.random.default_rng(1).normal(size=1000) * 10
    call = OpCall(op, (x.astype(np.float32).astype(np.float64),))
    got, want = runtime_results(call, "float32")["y"], call.spec.forward(*call.args)[0]
    assert np.abs(got - want).max() <= APPROXIMATED[op] * roundoff("float32")
    if op == "sigmoid":
        alone = OpCall(op, (np.array([-20.0]),))
        (judgement,) = judge(expect(alone, "float32"), runtime_results(alone, "float32"))
        assert judgement.level not in GOOD


@needs_jax
def test_jax_shares_the_gradient_among_equal_maxima():
    """Why `jax_peer` takes the first maximum: `jnp.max` follows another convention."""
    import jax
    import jax.numpy as jnp

    gradient = jax.grad(lambda x: jnp.max(x))(jnp.ones(4, "float32"))
    np.testing.assert_array_equal(gradient, np.full(4, 0.25))


def test_a_peer_that_is_off_is_seen():
    call = call_of("linear", OPS["linear"].cases(seed=0)[0], 0)

    def off(call: OpCall, dtype: Any) -> Results:
        return {
            name: a if a is None else a * np.float64(1 + 1e-12)
            for name, a in torch_results(call, dtype).items()
        }

    with pytest.raises(AssertionError, match=r"wrong|lossy"):
        Largest().hold(off, call, "float64")
