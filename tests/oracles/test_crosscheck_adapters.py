"""Frameworks as candidates: what PyTorch, JAX and Keras give, through the adapters, is right.

TensorFlow is not installed beside the others: its part runs where it is.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from senumpy.crosscheck.candidates import candidate
from senumpy.errors import InputError
from senumpy.verify import OPS
from senumpy.verify.calls import OpCall, call_of, results
from tests.oracles.test_ops_torch import TORCH

ROUGH = {np.float64: 1e-10, np.float32: 2e-4}


def hold(op, target, *, least=1, missing=(), dtypes=(np.float64, np.float32), **options):
    """Compare a candidate's results with the reference on the checker's cases; return refusals."""
    them = candidate(op, target, **options)
    made, reasons = 0, []
    for seed in range(2):
        for case in OPS[op].cases(seed=seed):
            call = call_of(op, case, seed)
            reason = them.accepts(call)
            if reason:
                reasons.append(reason)
                continue
            made += 1
            for dtype in dtypes:
                agree(them.run(call, dtype), call, dtype, missing, kink=case.kink, name=case.name)
    assert made >= least, reasons
    return reasons


def agree(answer, call, dtype, missing=(), *, kink=False, name=""):
    want = results(call, np.float64)
    assert answer.conduct == [], name
    assert set(want) - set(answer.results) == set(missing), name
    for result, got in answer.results.items():
        if want[result] is None:
            assert got is None
        elif not (kink and result != "y"):
            assert got.dtype == dtype
            size = 1 + np.abs(call.args[0]).max() if isinstance(call.args[0], np.ndarray) else 10.0
            # Means of 300 lose digits in float32, in PyTorch as here.
            rough = ROUGH[dtype] * size * (1 + np.abs(want[result]).max(initial=0))
            np.testing.assert_allclose(got, want[result], rtol=0, atol=rough, err_msg=f"{name}: {result}")


RUNNING = ("running_mean", "running_var")
LOSS = {"softmax_cross_entropy": F.cross_entropy}


@pytest.mark.parametrize("op", TORCH)
def test_functions_on_tensors(op):
    missing = RUNNING if op == "batchnorm2d" else ()
    function, least = LOSS.get(op, TORCH[op]), len(OPS[op].cases())
    # Some of them compute, or compare themselves, in float64 alone.
    hold(op, function, missing=missing, framework="torch", least=least, dtypes=(np.float64,))


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("conv2d", F.conv2d),
        ("linear", F.linear),
        ("max_pool2d", F.max_pool2d),
        ("avg_pool2d", F.avg_pool2d),
        ("relu", torch.relu),
        ("batchnorm2d", F.batch_norm),
        ("batchnorm2d_inference", F.batch_norm),
        ("softmax_cross_entropy", F.cross_entropy),
        ("concat", torch.cat),
        ("residual_add", torch.add),
    ],
)
def test_own_functions_of_torch_are_known(op, function):
    assert candidate(op, function).framework == "torch"
    assert hold(op, function, missing=("dmean", "dvar") if "inference" in op else ()) == []


def se_classes():
    pytest.importorskip("torchvision", reason="torchvision is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    from timm.layers import SEModule
    from torchvision.ops import SqueezeExcitation

    return SEModule, SqueezeExcitation


@pytest.mark.parametrize(
    ("op", "kind"),
    [
        ("conv2d", nn.Conv2d),
        ("batchnorm2d", nn.BatchNorm2d),
        ("batchnorm2d_inference", nn.BatchNorm2d),
        ("linear", nn.Linear),
        ("relu", nn.ReLU),
        ("sigmoid", nn.Sigmoid),
        ("tanh", nn.Tanh),
        ("max_pool2d", nn.MaxPool2d),
        ("avg_pool2d", nn.AvgPool2d),
        ("softmax_cross_entropy", nn.CrossEntropyLoss),
        ("channel_shuffle", nn.ChannelShuffle),
        ("global_avg_pool", nn.AdaptiveAvgPool2d),
        ("global_max_pool", nn.AdaptiveMaxPool2d),
    ],
)
def test_classes_are_built_for_each_call(op, kind):
    assert hold(op, kind, missing=("dmean", "dvar") if "inference" in op else ()) == []


@pytest.mark.parametrize("which", [0, 1])
def test_squeeze_excite_of_timm_and_torchvision(which):
    reasons = hold("squeeze_excite", se_classes()[which], least=8)
    assert all("squeeze" in reason for reason in reasons), reasons


def drawn(op, *shapes, **options):
    draw = np.random.default_rng(9)
    args = [None if s is None else draw.normal(size=s).astype("f4").astype("f8") for s in shapes]
    return OpCall(op, tuple(args), options)


class SE(nn.Module):
    """As people write it: nothing but channels and a reduction, biases left out."""

    def __init__(self, channel, reduction=16):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(
            nn.Linear(channel, channel // reduction, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(channel // reduction, channel, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, u):
        s = self.fc(self.pool(u).flatten(1))
        return u * s[:, :, None, None]


def test_a_class_says_which_calls_are_not_for_it():
    call = drawn("squeeze_excite", (2, 4, 3, 3), (2, 4), None, (4, 2), None)
    agree(candidate("squeeze_excite", SE).run(call, np.float64), call, np.float64)
    reasons = set(hold("squeeze_excite", SE, least=0))
    assert "it has no b1" in reasons
    assert "its gate is 'sigmoid', and 'relu' here" in reasons
    assert any("no reduction takes" in reason for reason in reasons)


class Block(nn.Module):
    """Convolution, norm and ReLU under names of their own."""

    def __init__(self, inp, oup, kernel_size, stride=1, padding=0, dilation=1, groups=1, eps=1e-5):
        super().__init__()
        self.conv = nn.Conv2d(inp, oup, kernel_size, stride, padding, dilation, groups, bias=False)
        self.bn = nn.BatchNorm2d(oup, eps=eps)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))


class Tail(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.bn, self.down, self.up = nn.BatchNorm2d(dim), nn.Linear(dim, hidden), nn.Linear(hidden, dim)

    def forward(self, c, shortcut):
        v = self.bn(c)
        s = torch.sigmoid(self.up(torch.relu(self.down(v.mean((2, 3))))))
        return torch.relu(v * s[:, :, None, None] + shortcut)


def test_blocks_of_several_layers():
    hold("conv_bn_relu", Block, least=6)
    hold("conv_bn_relu_inference", Block, missing=("dmean", "dvar"), least=6)


def test_a_tail_with_two_inputs():
    x = np.random.default_rng(3).normal(size=(2, 4, 3, 3)).astype("f4").astype("f8")
    draw = np.random.default_rng(4)

    def normal(*shape):
        return draw.normal(size=shape).astype("f4").astype("f8")

    args = (x, normal(4), normal(4), normal(2, 4), normal(2), normal(4, 2), normal(4), normal(*x.shape))
    call = OpCall("residual_tail", args)
    them = candidate("residual_tail", Tail)
    assert them.accepts(call) == ""
    agree(them.run(call, np.float64), call, np.float64)


def test_raw_parameters_are_told_by_order_and_shape():
    class Raw(nn.Module):
        def __init__(self, channels, hidden):
            super().__init__()
            self.w2 = nn.Parameter(torch.zeros(channels, hidden))
            self.w1 = nn.Parameter(torch.zeros(hidden, channels))
            self.b1 = nn.Parameter(torch.zeros(hidden))
            self.b2 = nn.Parameter(torch.zeros(channels))

        def forward(self, z):
            return torch.sigmoid(F.linear(torch.relu(F.linear(z, self.w1, self.b1)), self.w2, self.b2))

    draw = np.random.default_rng(4)
    args = tuple(draw.normal(size=s).astype("f4").astype("f8") for s in [(3, 5), (2, 5), (2,), (5, 2), (5,)])
    call = OpCall("excitation", args)
    agree(candidate("excitation", Raw).run(call, np.float64), call, np.float64)


@pytest.mark.parametrize(
    ("op", "module", "shapes", "options"),
    [
        (
            "conv2d",
            nn.Conv2d(4, 6, (2, 3), (2, 3), (1, 2), (2, 1), 2),
            {"w": (6, 2, 2, 3), "b": (6,)},
            {"stride": (2, 3), "padding": (1, 2), "dilation": (2, 1), "groups": 2},
        ),
        ("conv2d", nn.Conv2d(2, 2, 3, padding="same"), {"w": (2, 2, 3, 3), "b": (2,)}, {"padding": (1, 1)}),
        ("batchnorm2d", nn.BatchNorm2d(2), {"gamma": (2,), "beta": (2,)}, {"eps": 1e-5}),
        ("linear", nn.Linear(4, 2), {"w": (2, 4), "b": (2,)}, {}),
        (
            "max_pool2d",
            nn.MaxPool2d(3, 2, 1),
            {},
            {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": False},
        ),
    ],
)
def test_instances_have_their_geometry(op, module, shapes, options):
    them = candidate(op, module)
    restriction = them.restrict()
    assert restriction.shapes == shapes
    assert options.items() <= restriction.options.items()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    module.train(False)
    if module is not None and options.get("padding") != (1, 1):
        hold(op, module)
    assert not module.training
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())
    assert all(p.dtype == torch.float32 and p.grad is None for p in module.parameters())


def test_an_instance_refuses_what_is_not_its_own():
    them = candidate("conv2d", nn.Conv2d(2, 3, 3, bias=False))
    assert them.restrict().absent == ("b",)
    x, w = np.zeros((1, 2, 5, 5)), np.zeros((3, 2, 3, 3))
    assert them.accepts(OpCall("conv2d", (x, w, None))) == ""
    assert them.accepts(OpCall("conv2d", (x, w, np.zeros(3)))) == "it has no b"
    assert "its stride is (1, 1), and 2 here" in them.accepts(OpCall("conv2d", (x, w, None), {"stride": 2}))
    assert "its w has shape" in them.accepts(OpCall("conv2d", (x, np.zeros((3, 2, 1, 1)), None)))


def test_a_factory_gets_the_call():
    def make(call):
        out, per_group, *kernel = call.args[1].shape
        return nn.Conv2d(per_group * call.options.get("groups", 1), out, kernel, **call.options)

    assert hold("conv2d", make) == []


@pytest.mark.parametrize(
    ("op", "target", "message"),
    [
        ("conv2d", nn.LSTMCell, "give a factory"),
        ("squeeze_excite", nn.Conv2d(2, 2, 1), "wanted one each for w1, w2"),
        ("conv2d", nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), "wanted 'zeros'"),
        ("conv2d", nn.Conv2d(2, 2, 2, padding="same"), "uneven"),
        ("relu", nn.PReLU(), "belong to no argument of relu"),
        ("batchnorm2d", nn.BatchNorm2d(2, affine=False), "wanted two, gamma and beta"),
    ],
)
def test_modules_that_are_not_the_operation(op, target, message):
    with pytest.raises(InputError, match=r"^[^\n]*$") as error:
        candidate(op, target)
    assert message in str(error.value)


def test_conduct_of_tensors():
    call = OpCall("relu", (np.array([1.0, -2.0]),))

    def run(function):
        return candidate("relu", function, framework="torch").run(call, np.float64)

    detached = run(lambda x: torch.relu(x).detach())
    assert [(e.kind, e.result) for e in detached.conduct] == [("type", "y")]
    assert "autograd lost it" in detached.conduct[0].message
    assert [e.kind for e in run(lambda x: x.relu_()).conduct] == ["changed input"]
    assert [e.kind for e in run(lambda x: torch.relu(x).float()).conduct] == ["dtype"] * 1
    assert [e.kind for e in run(lambda x: torch.relu(x) + torch.rand(1)).conduct] == ["not repeatable"]
    lost = run(lambda x: torch.relu(x).detach() + 0 * x)
    np.testing.assert_array_equal(lost.results["dx"], [0.0, 0.0])
    unused = candidate("residual_add", lambda a, b: a + b.detach(), framework="torch")
    images = OpCall("residual_add", (np.ones((1, 1, 1, 1)), np.ones((1, 1, 1, 1))))
    np.testing.assert_array_equal(unused.run(images, np.float64).results["dshortcut"], 0.0)


# --- JAX


def test_functions_on_jax_arrays():
    jax = pytest.importorskip("jax", reason="JAX is not installed: pip install jax")
    jnp = jax.numpy
    before = jax.config.jax_enable_x64

    def se(u, w1, b1, w2, b2):
        hidden = jax.nn.relu(u.mean((2, 3)) @ w1.T + (0 if b1 is None else b1))
        return u * jax.nn.sigmoid(hidden @ w2.T + (0 if b2 is None else b2))[:, :, None, None]

    def norm(x, gamma, beta, running_mean, running_var, momentum, eps=1e-5):
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        y = (x - mean[:, None, None]) / jnp.sqrt(var + eps)[:, None, None] * gamma[:, None, None]
        m = x.size / x.shape[1]
        after = (1 - momentum) * running_mean + momentum * mean
        return y + beta[:, None, None], (after, (1 - momentum) * running_var + momentum * var * m / (m - 1))

    def loss(logits, labels):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

    def fully_connected(x, w, b):
        return jnp.matmul(x, w.T) + (0 if b is None else b)

    # Few calls: JAX compiles each operation for each new shape.
    for op, function, cases in [
        ("linear", fully_connected, 2),
        ("relu", jax.nn.relu, 2),
        ("squeeze_excite", se, 1),
        ("batchnorm2d", norm, 1),
        ("softmax_cross_entropy", loss, 1),
        ("concat", lambda xs, axis=1: jnp.concatenate(xs, axis), 1),
    ]:
        them = candidate(op, function)
        assert them.framework == "jax"
        for case in OPS[op].cases()[:cases]:
            call = call_of(op, case)
            assert them.accepts(call) == ""
            for dtype in (np.float64, np.float32):
                agree(them.run(call, dtype), call, dtype)
    assert jax.config.jax_enable_x64 == before


# --- Keras: a process each, as the backend is chosen when Keras is imported


@pytest.mark.parametrize("backend", ["torch", "jax", "tensorflow"])
def test_layers_of_keras(backend):
    # Not by importing: the backend that Keras takes by itself may not be there.
    for package in ("keras", backend):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed: pip install {package}")
    script = Path(__file__).with_name("keras_layers.py")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "all layers agree" in done.stdout


class OtherMomentum(torch.nn.BatchNorm2d):
    """Keras's 0.9 taken over: in PyTorch momentum is the weight of the new value."""

    def __init__(self, channels, eps=1e-5):
        super().__init__(channels, eps=eps, momentum=0.9)


def test_the_momentum_that_a_class_sets_is_its_own():
    from senumpy.crosscheck import check

    report = check("batchnorm2d", OtherMomentum, max_examples=20, c_order=True)
    assert [m.name for m in report.diagnosis.mistakes] == ["running-momentum-reversed"]
    assert check("batchnorm2d", torch.nn.BatchNorm2d, max_examples=20, c_order=True).ok
