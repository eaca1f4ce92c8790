"""PyTorch's own samples of its functions (`OpInfo`): its results and autograd's gradients, judged by ours.

Each sample becomes a call of our operation, or is left out with a reason. What PyTorch has and we don't is
lifted: images without a batch, vectors and higher ranks, padding by name, dilated pools, a divisor of one's
own, weights of classes, ignored labels, targets that are probabilities. The run's summary has the counts.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from senumpy.crosscheck.composed import (
    GivenRunning,
    Windows,
    cross_entropy_call,
    label_shares,
    rows_of,
    spatial,
    windows_pool_call,
)
from senumpy.crosscheck.onnx_nodes import LeftOut
from senumpy.ops.windows import Window, output_size
from senumpy.verify.calls import OpCall, Running
from senumpy.verify.judgement import judge
from senumpy.verify.rounding import expect

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install torch==2.13.0")
pytest.importorskip("expecttest", reason="PyTorch's samples need it: pip install expecttest")

GOOD = ("exact", "accurate")
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")  # may copy, PyTorch warns


def same(array):
    return array


@dataclass(frozen=True)
class Lifted:
    """A sample as our call.

    `result` takes PyTorch's result to our shape, in PyTorch; `leaves` are its tensors by the names of our
    arguments, `shapes` take their gradients to our shapes, `inside` cuts PyTorch's part out of our gradients.
    """

    call: OpCall
    leaves: dict[str, Any]
    result: Callable[[Any], Any] = same
    shapes: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    inside: dict[str, Any] = field(default_factory=dict)
    running: tuple[Any, Any] | None = None  # tensors that the function changes


def wide(tensor):
    return None if tensor is None else tensor.detach().numpy().astype(np.float64)


def pair(value):
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * 2 if len(values) == 1 else values


def not_empty(tensor):
    if tensor.numel() == 0:
        raise LeftOut("no entries: our operations refuse an empty batch")


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    single = x.ndim == 3
    image = wide(x)[None] if single else wide(x)
    options = {"stride": pair(stride), "dilation": pair(dilation), "groups": groups}
    inside = {}
    if padding == "same":  # the side behind gets more of an odd padding
        totals = [d * (k - 1) for d, k in zip(pair(dilation), w.shape[2:], strict=True)]
        (top, bottom), (left, right) = ((t // 2, t - t // 2) for t in totals)
        h, width = image.shape[2:]
        inside["dx"] = (..., slice(top, top + h), slice(left, left + width))
        image = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)))
        padding = 0
    options["padding"] = pair(0 if padding == "valid" else padding)
    batch = (lambda y: y[None]) if single else same
    call = OpCall("conv2d", (image, wide(w), wide(b)), options)
    return Lifted(call, {"x": x, "w": w, "b": b}, batch, {"x": batch}, inside)


def linear(x, w, b=None):
    not_empty(x)

    def rows(y):
        return y.reshape(-1, y.shape[-1])

    return Lifted(
        OpCall("linear", (rows(wide(x)), wide(w), wide(b))), {"x": x, "w": w, "b": b}, rows, {"x": rows}
    )


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    not_empty(x)
    c = x.shape[1]
    gamma = np.ones(c) if weight is None else wide(weight)
    beta = np.zeros(c) if bias is None else wide(bias)
    leaves = (
        {"x": x} | ({} if weight is None else {"gamma": weight}) | ({} if bias is None else {"beta": bias})
    )
    if not training:
        call = OpCall(
            "batchnorm2d_inference", (spatial(wide(x)), gamma, beta, wide(mean), wide(var)), {"eps": eps}
        )
        return Lifted(call, leaves, spatial, {"x": spatial})
    start = None if mean is None else Running(wide(mean), wide(var), momentum)
    call = GivenRunning("batchnorm2d", (spatial(wide(x)), gamma, beta), {"eps": eps}, start=start)
    return Lifted(call, leaves, spatial, {"x": spatial}, running=None if mean is None else (mean, var))


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    stride = kernel_size if stride in (None, ()) else stride
    if divisor_override is None:
        options = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
        options |= {"kernel": pair(kernel_size), "stride": pair(stride), "padding": pair(padding)}
        return Lifted(OpCall("avg_pool2d", (wide(x),), options), {"x": x})
    windows = windows_of(x, kernel_size, stride, padding, 1, ceil_mode)
    divisor = np.full(int(np.prod(windows.out)), float(divisor_override))
    return Lifted(windows_pool_call("avg_pool2d", wide(x), windows, divisor), {"x": x})


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    stride = kernel_size if stride is None else stride
    batch = (lambda y: y[None]) if x.ndim == 3 else same
    image = batch(wide(x))
    if pair(dilation) == (1, 1):
        options = {"kernel": pair(kernel_size), "stride": pair(stride), "padding": pair(padding)}
        call = OpCall("max_pool2d", (image,), {**options, "ceil_mode": ceil_mode})
    else:
        windows = windows_of(image, kernel_size, stride, padding, dilation, ceil_mode)
        call = windows_pool_call("max_pool2d", image, windows)
    return Lifted(call, {"x": x}, batch, {"x": batch})


def windows_of(x, kernel, stride, padding, dilation, ceil_mode):
    window = Window(pair(kernel), pair(stride), pair(padding), pair(dilation))
    out = output_size(tuple(x.shape[2:]), window, ceil_mode=ceil_mode)
    return Windows(tuple(x.shape[2:]), window.kernel, window.stride, window.dilation, window.padding, out)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    if label_smoothing:
        raise LeftOut("label smoothing: the samples have none so far")
    rows, weights = rows_of(wide(x), 1), wide(weight)
    if target.dtype.is_floating_point:
        shares = rows_of(wide(target), 1) * (1.0 if weights is None else weights)
        divisor = float(len(rows))
    else:
        labels = target.numpy().reshape(-1)
        shares = label_shares(labels, rows.shape[1], weights, ignore_index)
        divisor = float(shares.sum())
    if (
        reduction == "mean"
        and weights is None
        and not target.dtype.is_floating_point
        and divisor == len(rows)
    ):
        call = OpCall("softmax_cross_entropy", (rows, labels))
    else:
        call = cross_entropy_call(rows, shares, reduction, divisor)
    result = (lambda y: y.reshape(-1)) if reduction == "none" else same
    return Lifted(call, {"logits": x}, result, {"logits": lambda a: rows_of(a, 1)})


# By OpInfo's names, with how many samples PyTorch 2.13 has at least.
LIFT = {
    "conv2d": (conv2d, 30),
    "linear": (linear, 18),
    "batch_norm": (batch_norm, 12),
    "avg_pool2d": (avg_pool2d, 7),
    "max_pool2d": (max_pool2d, 1440),
    "cross_entropy": (cross_entropy, 21),
}


@functools.cache
def op_info(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return next(
        entry for entry in op_db if entry.name == f"nn.functional.{name}" and not entry.variant_test_name
    )


def judged(info, sample, lift):
    """Return the judgements on PyTorch's results for one sample; raises LeftOut."""
    lifted = lift(sample.input, *sample.args, **sample.kwargs)
    if lifted.running is not None:
        sample = replace_running(sample, lifted.running)
    y = info.op(sample.input, *sample.args, **sample.kwargs)
    y = lifted.result(y[0] if isinstance(y, tuple) else y)
    dtype = sample.input.detach().numpy().dtype
    leaves = {f: t for f, t in lifted.leaves.items() if t is not None and t.requires_grad}
    gradients = torch.autograd.grad(
        y, leaves.values(), torch.from_numpy(lifted.call.upstream(tuple(y.shape), dtype))
    )
    got = {"y": y.detach().numpy()}
    for name, gradient in zip(leaves, gradients, strict=True):
        got[f"d{name}"] = lifted.shapes.get(name, same)(gradient.numpy())
    if lifted.running is not None:
        got |= {"running_mean": sample.args[0].numpy(), "running_var": sample.args[1].numpy()}
    expectation = expect(lifted.call, dtype)
    want = expectation.want | {name: expectation.want[name][cut] for name, cut in lifted.inside.items()}
    judgements = judge(replace(expectation, want=want), got)
    assert {j.result for j in judgements} == got.keys() or expectation.near_kink
    return judgements


def replace_running(sample, running):
    """Return the sample with copies of the statistics, for the function changes them."""
    assert sample.args[0] is running[0]
    assert sample.args[1] is running[1]
    copies = tuple(tensor.clone() for tensor in running)
    return type(sample)(sample.input, args=copies + tuple(sample.args[2:]), kwargs=sample.kwargs)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LIFT)
def test_samples_are_accurate(name, dtype, tell):
    lift, least = LIFT[name]
    info = op_info(name)
    samples = list(info.sample_inputs("cpu", getattr(torch, dtype), requires_grad=True))
    assert len(samples) >= least
    run, bad, left = 0, [], Counter()
    for number, sample in enumerate(samples):
        try:
            judgements = judged(info, sample, lift)
        except LeftOut as reason:
            left[str(reason)] += 1
            continue
        run += 1
        bad += [f"sample {number} {sample}: {j}" for j in judgements if j.level not in GOOD]
    reasons = "".join(f"; left out: {count}, {reason}" for reason, count in left.items())
    tell(f"PyTorch {torch.__version__}, OpInfo {name}, {dtype}: {len(samples)} samples, {run} run{reasons}")
    assert not bad, "\n".join(bad)
    assert run + left.total() == len(samples)
    assert run > len(samples) / 2


@pytest.mark.parametrize("name", [name for name in LIFT if name != "max_pool2d"])
def test_changed_results_are_seen(name, monkeypatch):
    info, right = op_info(name), op_info(name).op
    monkeypatch.setattr(info, "op", lambda *args, **options: right(*args, **options) * (1 + 1e-9))
    for sample in info.sample_inputs("cpu", torch.float64, requires_grad=True):
        try:
            levels = {j.level for j in judged(info, sample, LIFT[name][0]) if j.max_error}
        except LeftOut:
            continue
        assert not levels <= set(GOOD), sample
