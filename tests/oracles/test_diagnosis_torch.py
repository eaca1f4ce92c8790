"""Mistakes written anew in PyTorch, with its gradients: each is named, and right PyTorch code is not accused.

None of these uses the bank's functions. The gradients are autograd's, so those of a wrong forward are wrong,
too, in a way that no entry of the bank has written down.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from senumpy.verify.diagnosis import diagnose
from senumpy.verify.diagnosis_numbers import Trial
from tests.oracles.test_ops_torch import TORCH, after_norm
from tests.oracles.torch_mistakes import (
    NHW,
    avg_pool_count,
    avg_pool_divisor,
    bn,
    bn_detached,
    bn_detached_mean,
    bn_detached_variance,
    bn_eps_outside,
    bn_layer,
    bn_no_eps,
    bn_one_plus_gamma,
    bn_per_image,
    bn_unbiased,
    both,
    conv_channels_last,
    conv_flipped,
    conv_like_tensorflow,
    conv_nhwc_input,
    conv_no_bias,
    conv_replicated,
    conv_stride_swapped,
    conv_subsampled_late,
    frozen_of_the_batch,
    frozen_variance_as_deviation,
    hard_sigmoid,
    linear_averaged,
    loss_binary,
    loss_not_smoothed,
    loss_smoothed_over_others,
    loss_softmax_twice,
    loss_summed,
    max_pool_floor,
    max_pool_zero_padding,
    residual_mean,
    se,
    se_always_average,
    se_detached_gate,
    se_detached_scale,
    se_hard,
    se_logits,
    se_no_biases,
    se_no_relu,
    se_no_second_bias,
    se_residual,
    se_softmax,
    se_summed,
    se_twice,
    tail_se_after_sum,
)
from tests.verify.planted import expectations

DTYPES = ["float64", "float32"]


def leaf(value, dtype):
    if isinstance(value, tuple):
        return [leaf(item, dtype) for item in value]
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return torch.tensor(value.astype(dtype), requires_grad=True)
    return value


def run(function, expectation, *, state=None):
    """Return the results of a PyTorch function on a call, gradients by autograd."""
    call, dtype = expectation.call, expectation.dtype
    args = [leaf(value, dtype) for value in call.args]
    y = function(*args, **call.keywords())
    dy = call.upstream(tuple(y.shape), dtype)
    y.backward(torch.tensor(dy))
    found = {"y": y.detach().numpy()}
    for name, value in zip(call.spec.arguments, args, strict=False):
        for label, tensor in (
            [(f"d{name}[{i}]", part) for i, part in enumerate(value)]
            if isinstance(value, list)
            else [(f"d{name}", value)]
        ):
            if tensor is not None:
                grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
                found[label] = grad.numpy()
    return found


def evidence(op, function, dtype, seed=3):
    found = []
    for expectation in expectations(op, seed, dtype):
        try:
            found.append((expectation, run(function, expectation)))
        except (RuntimeError, ValueError):  # the mistake is impossible in this call
            continue
    return found


PLANTED = [
    ("conv2d", conv_flipped, "flipped-kernel"),
    ("conv2d", conv_like_tensorflow, "same-uneven"),
    ("conv2d", conv_replicated, "edge-padding"),
    ("conv2d", conv_stride_swapped, "swapped-stride"),
    ("conv2d", conv_no_bias, "bias-forgotten"),
    ("conv2d", conv_subsampled_late, "last-of-each-stride"),
    ("conv2d", conv_channels_last, "nhwc-result"),
    ("conv2d", conv_nhwc_input, "read-as-nhwc"),
    ("linear", linear_averaged, "dw-averaged"),
    ("batchnorm2d", bn_eps_outside, "eps-outside-root"),
    ("batchnorm2d", bn_no_eps, "eps-forgotten"),
    ("batchnorm2d", bn_unbiased, "unbiased-variance"),
    ("batchnorm2d", bn_per_image, "per-image"),
    ("batchnorm2d", bn_layer, "layer-norm"),
    ("batchnorm2d", bn_detached, "constant-statistics"),
    ("batchnorm2d", bn_detached_mean, "no-mean-term"),
    ("batchnorm2d", bn_detached_variance, "no-variance-term"),
    ("batchnorm2d", bn_one_plus_gamma, "one-plus-gamma"),
    ("batchnorm2d_inference", frozen_variance_as_deviation, "variance-for-deviation"),
    ("batchnorm2d_inference", frozen_of_the_batch, "batch-statistics"),
    ("squeeze_excite", se_no_relu, "no-inner-relu"),
    ("squeeze_excite", se_detached_gate, "dropped-gate-path"),
    ("squeeze_excite", se_detached_scale, "dropped-scale-path"),
    ("squeeze_excite", se_summed, "squeeze-summed"),
    ("squeeze_excite", se_twice, "gate-twice"),
    ("squeeze_excite", se_residual, "one-plus-s"),
    ("squeeze_excite", se_no_second_bias, "second-bias-forgotten"),
    ("squeeze_excite", se_no_biases, "no-biases"),
    ("squeeze_excite", se_hard, "hard-sigmoid"),
    ("squeeze_excite", se_softmax, "softmax-gate"),
    ("squeeze_excite", se_logits, "gate-forgotten"),
    ("squeeze_excite", se_always_average, "operator-ignored"),
    ("residual_tail", tail_se_after_sum, "se-after-sum"),
    ("max_pool2d", max_pool_zero_padding, "padding-wins"),
    ("max_pool2d", max_pool_floor, "ceil-mode-ignored"),
    ("global_max_pool", lambda x: x.amax((2, 3)), "ties-share-evenly"),
    ("avg_pool2d", avg_pool_count, "pad-count-inverted"),
    ("avg_pool2d", avg_pool_divisor, "full-divisor"),
    ("global_avg_pool", lambda x: x.sum((2, 3)), "sum"),
    ("relu", lambda x: x.clamp(min=0), "derivative-1-at-zero"),
    ("relu", lambda x: (x + x.abs()) / 2, "derivative-half-at-zero"),
    ("relu", lambda x: F.leaky_relu(x), "leaky"),
    ("sigmoid", hard_sigmoid, "hard-sigmoid"),
    ("softmax_cross_entropy", loss_summed, "sum-over-batch"),
    ("softmax_cross_entropy", loss_softmax_twice, "softmax-twice"),
    ("softmax_cross_entropy", loss_smoothed_over_others, "smoothing-off-by-one"),
    ("softmax_cross_entropy", loss_binary, "sigmoid-per-class"),
    ("softmax_cross_entropy", loss_not_smoothed, "smoothing-ignored"),
    ("residual_add", residual_mean, "averaged"),
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "function", "name"), PLANTED, ids=[f"{op}-{name}" for op, _, name in PLANTED])
def test_a_mistake_written_in_pytorch_is_named(op, function, name, dtype):
    diagnosis = diagnose(op, evidence(op, function, dtype))
    assert diagnosis.names == (name,), diagnosis.text
    assert not diagnosis.alternatives, diagnosis.text
    assert name in diagnosis.text


# -- right code --------------------------------------------------------------------------------------------

# PyTorch's smoothed loss and these options have no defaults in the functions of `test_ops_torch`.
DEFAULTS = {
    "max_pool2d": {"stride": None, "padding": 0},
    "avg_pool2d": {"stride": None, "padding": 0},
    "batchnorm2d": {"eps": 1e-5},
    "batchnorm2d_inference": {"eps": 1e-5},
    "concat": {"axis": 1},
    "excitation": {"gate": "sigmoid"},
    "squeeze": {"operator": "avg"},
    **{op: {"squeeze": "avg", "gate": "sigmoid"} for op in ("squeeze_excite", "concat_se", "se_add")},
    "bn_relu_se": {"eps": 1e-5, "squeeze": "avg", "gate": "sigmoid"},
    "residual_tail": {"eps": 1e-5, "squeeze": "avg", "gate": "sigmoid"},
    "residual_tail_inference": {"eps": 1e-5, "squeeze": "avg", "gate": "sigmoid"},
    "conv_bn_relu": {"eps": 1e-5},
    "conv_bn_relu_inference": {"eps": 1e-5},
    "pad_shortcut": {"stride": 2},
}


def frozen(x, gamma, beta, mean, var, eps):
    return bn(x, gamma, beta, (var + eps).sqrt()[:, None, None], mean[:, None, None])


def frozen_conv(x, w, gamma, beta, mean, var, *, eps, **geometry):
    return frozen(F.conv2d(x, w, **geometry), gamma, beta, mean, var, eps).relu()


def frozen_tail(c, gamma, beta, mean, var, *rest, eps, squeeze, gate):
    return after_norm(frozen(c, gamma, beta, mean, var, eps), *rest, squeeze, gate)


# Those of `test_ops_torch` hold themselves to a tolerance of float64.
RIGHT = {
    "batchnorm2d_inference": frozen,
    "conv_bn_relu_inference": frozen_conv,
    "residual_tail_inference": frozen_tail,
}
# Dropout and shake draw at random or mix gradients; their PyTorch versions are tied to other cases.
OPS = [op for op in TORCH if op not in ("dropout", "shake")]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_right_pytorch_code_is_not_accused(op, dtype):
    right = RIGHT.get(op, TORCH[op])

    def function(*args, **options):
        return right(*args, **DEFAULTS.get(op, {}) | options)

    for seed in range(3):
        found = evidence(op, function, dtype, seed)
        assert len(found) >= 3
        diagnosis = diagnose(op, found)
        wrong = [name for item in found for name in Trial(*item).wrong]
        assert not wrong, f"{wrong}: {diagnosis.text}"
        assert not diagnosis.mistakes
        assert diagnosis.text == "No result is wrong."


# -- running statistics and pairs --------------------------------------------------------------------------


class BiasedNorm(torch.nn.Module):
    """A batch norm that keeps its statistics itself; `kind` says what is wrong with them."""

    def __init__(self, start, kind):
        super().__init__()
        self.mean, self.var = torch.tensor(start.mean), torch.tensor(start.var)
        self.momentum, self.kind = start.momentum, kind

    def forward(self, x, gamma, beta, *, eps=1e-5):
        with torch.no_grad():
            m = 1 - self.momentum if "reversed" in self.kind else self.momentum
            var = x.var(NHW, unbiased="biased" not in self.kind)
            self.mean = self.mean * (1 - m) + x.mean(NHW) * m
            self.var = self.var * (1 - m) + var * m
        if "per image" in self.kind:
            return F.instance_norm(x, weight=gamma, bias=beta, eps=eps)
        return F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("biased", {"running-biased-variance"}),
        ("reversed", {"running-momentum-reversed"}),
        ("biased and reversed", {"running-biased-variance", "running-momentum-reversed"}),
        ("biased, per image", {"running-biased-variance", "per-image"}),
        ("", set()),
    ],
)
def test_running_statistics_of_a_module(kind, names, dtype):
    found = []
    for expectation in expectations("batchnorm2d", 5, dtype):
        module = BiasedNorm(expectation.call.running(dtype), kind)
        try:
            got = run(module, expectation)
        except ValueError:  # one pixel has no instance norm
            continue
        statistics = {"running_mean": module.mean.numpy(), "running_var": module.var.numpy()}
        found.append((expectation, got | statistics))
    diagnosis = diagnose("batchnorm2d", found)
    assert set(diagnosis.names) == names, diagnosis.text
    if kind == "biased":
        assert diagnosis.results == ("running_var",)
        assert diagnosis.text.startswith("Your running_var follows")
        assert "biased variance; PyTorch stores the unbiased" in diagnosis.text


def se_no_relu_and_summed(*args, squeeze="avg", **o):
    pooled = (lambda u: u.sum((2, 3))) if squeeze == "avg" else (lambda u: u.amax((2, 3)))
    u, s = se(*args, squeeze=squeeze, **o, inner=lambda a: a, pooled=pooled)
    return u * s


PAIRS = [
    ("conv2d", lambda x, w, b=None, **o: conv_flipped(x, w, None, **o), {"flipped-kernel", "bias-forgotten"}),
    (
        "conv2d",
        lambda x, w, b=None, *, stride=1, **o: conv_replicated(x, w, b, stride=both(stride)[::-1], **o),
        {"edge-padding", "swapped-stride"},
    ),
    (
        "softmax_cross_entropy",
        lambda logits, labels, **o: loss_summed(logits.softmax(1), labels, **o),
        {"sum-over-batch", "softmax-twice"},
    ),
    (
        "batchnorm2d",
        lambda x, gamma, beta, *, eps=1e-5: bn_unbiased(x, 1 + gamma, beta, eps=eps),
        {"unbiased-variance", "one-plus-gamma"},
    ),
]


@pytest.mark.parametrize(("op", "function", "names"), PAIRS, ids=[" + ".join(sorted(p[2])) for p in PAIRS])
def test_pairs_in_pytorch(op, function, names):
    diagnosis = diagnose(op, evidence(op, function, "float64"))
    answers = [{m.name for m in some} for some in (diagnosis.mistakes, *diagnosis.alternatives)]
    assert names in answers, diagnosis.text


def test_what_nobody_has_written_down_is_not_guessed():
    def strange(u, *args, **o):
        _, s = se(u.sin(), *args, **o)
        return u * s + 0.25 * u.tanh()

    diagnosis = diagnose("squeeze_excite", evidence("squeeze_excite", strange, "float64"))
    assert diagnosis.mistakes == ()
    assert diagnosis.text.startswith("No known mistake")
