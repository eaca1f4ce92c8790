"""Every operation and unit against PyTorch in float64: the result, and all gradients by autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given
from hypothesis import strategies as st

from senumpy.engines import engine
from tests.strategies import OPS, cases, map_arrays, results

TOLERANCE = 1e-10


def inference_norm(x, gamma, beta, mean, var, eps):
    # Written out, since PyTorch doesn't differentiate its own by the statistics; the values are compared.
    mean_, var_, gamma_, beta_ = (v[:, None, None] for v in (mean, var, gamma, beta))
    y = (x - mean_) / torch.sqrt(var_ + eps) * gamma_ + beta_
    library = F.batch_norm(x, mean.detach(), var.detach(), gamma, beta, eps=eps)
    torch.testing.assert_close(y, library, rtol=1e-12, atol=1e-12)
    return y


def training_norm(x, gamma, beta, eps):
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


def describe(u, *, operator):
    pool = F.adaptive_avg_pool2d if operator == "avg" else F.adaptive_max_pool2d
    return pool(u, 1).flatten(1)


def excitation(z, w1, b1, w2, b2, *, gate):
    logits = F.linear(torch.relu(F.linear(z, w1, b1)), w2, b2)
    return {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}[gate](logits)


def squeeze_excite(u, w1, b1, w2, b2, *, squeeze, gate):
    s = excitation(describe(u, operator=squeeze), w1, b1, w2, b2, gate=gate)
    return u * s[:, :, None, None]


def pad_shortcut(x, *, channels, stride):
    vertical, horizontal = (stride, stride) if isinstance(stride, int) else stride
    before = (channels - x.shape[1]) // 2
    behind = channels - x.shape[1] - before
    return F.pad(x[:, :, ::vertical, ::horizontal], (0, 0, 0, 0, before, behind))


def dropout(x, *, p, rng):
    # The mask is the library's documented one, so no mask of PyTorch's would do.
    kept = torch.from_numpy(np.random.default_rng(rng).random(x.shape) >= p)
    return torch.where(kept, x, 0.0) / (1.0 - p)


def shake(a, b, *, alpha, beta=None):
    def mixed(parts):
        parts = torch.tensor(parts, dtype=torch.float64)[:, None, None, None]
        return parts * a + (1 - parts) * b

    # The value of one mixture with the gradient of another.
    back = mixed(alpha if beta is None else beta)
    return mixed(alpha).detach() + back - back.detach()


def conv_bn_relu(x, w, gamma, beta, *, eps, **geometry):
    return torch.relu(training_norm(F.conv2d(x, w, **geometry), gamma, beta, eps))


def conv_bn_relu_inference(x, w, gamma, beta, mean, var, *, eps, **geometry):
    return torch.relu(inference_norm(F.conv2d(x, w, **geometry), gamma, beta, mean, var, eps))


def after_norm(v, w1, b1, w2, b2, shortcut, squeeze, gate):
    if w1 is not None:
        v = squeeze_excite(v, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
    return torch.relu(v + shortcut)


def residual_tail(c, gamma, beta, *rest, eps, squeeze, gate):
    return after_norm(training_norm(c, gamma, beta, eps), *rest, squeeze, gate)


def residual_tail_inference(c, gamma, beta, mean, var, *rest, eps, squeeze, gate):
    return after_norm(inference_norm(c, gamma, beta, mean, var, eps), *rest, squeeze, gate)


def bn_relu_se(c, gamma, beta, *se, eps, squeeze, gate):
    return squeeze_excite(torch.relu(training_norm(c, gamma, beta, eps)), *se, squeeze=squeeze, gate=gate)


def concat_se(xs, *se, squeeze, gate):
    return squeeze_excite(torch.cat(xs, dim=1), *se, squeeze=squeeze, gate=gate)


def se_add(u, w1, b1, w2, b2, shortcut, *, squeeze, gate):
    return squeeze_excite(u, w1, b1, w2, b2, squeeze=squeeze, gate=gate) + shortcut


def pool(function):
    return lambda x, *, kernel, stride, padding, **options: function(x, kernel, stride, padding, **options)


TORCH = {
    "conv2d": F.conv2d,
    "linear": F.linear,
    "batchnorm2d": training_norm,
    "batchnorm2d_inference": inference_norm,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "max_pool2d": pool(F.max_pool2d),
    "avg_pool2d": pool(F.avg_pool2d),
    "global_avg_pool": lambda x: x.mean((2, 3)),
    "global_max_pool": lambda x: describe(x, operator="max"),
    "squeeze": describe,
    "excitation": excitation,
    "scale": lambda u, s: u * s[:, :, None, None],
    "squeeze_excite": squeeze_excite,
    "residual_add": torch.add,
    "pad_shortcut": pad_shortcut,
    "concat": lambda xs, *, axis: torch.cat(xs, axis),
    "channel_shuffle": lambda x, *, groups: torch.nn.ChannelShuffle(groups)(x),
    "dropout": dropout,
    "shake": shake,
    "softmax_cross_entropy": lambda logits, labels, **o: F.cross_entropy(
        logits, torch.from_numpy(labels.astype("int64")), **o
    ),
    "conv_bn_relu": conv_bn_relu,
    "conv_bn_relu_inference": conv_bn_relu_inference,
    "residual_tail": residual_tail,
    "residual_tail_inference": residual_tail_inference,
    "bn_relu_se": bn_relu_se,
    "concat_se": concat_se,
    "se_add": se_add,
}


def torch_results(case):
    """Return PyTorch's result and the gradients of all float arguments, in order."""
    leaves = []

    def leaf(array):
        leaves.append(torch.from_numpy(np.ascontiguousarray(array).copy()).requires_grad_())
        return leaves[-1]

    y = TORCH[case.op](*map_arrays(leaf, case.args), **case.options)
    y.backward(torch.from_numpy(case.upstream(y.detach().numpy())))
    return y.detach().numpy(), [leaf.grad.numpy() for leaf in leaves]


def test_every_operation_has_its_partner():
    assert TORCH.keys() == OPS.keys()


@pytest.mark.parametrize("op", TORCH)
@given(data=st.data())
def test_agrees_with_torch(op, data):
    case = data.draw(cases(op))
    got = results(engine("numpy"), case)
    y, gradients = torch_results(case)
    got = {name: a for name, a in got.items() if a is not None and (name == "y" or name.startswith("d"))}
    for (name, ours), theirs in zip(got.items(), [y, *gradients], strict=True):
        assert ours.shape == theirs.shape, name
        error = np.max(np.abs(ours - theirs))
        assert error <= TOLERANCE * (1.0 + np.max(np.abs(theirs))), f"{name}: off by {error}"
