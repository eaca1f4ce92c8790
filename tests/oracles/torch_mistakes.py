"""Wrong versions of the operations, written anew in PyTorch: none uses the bank's functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812


def both(value):
    return (value, value) if isinstance(value, int) else tuple(value)


# -- convolution -------------------------------------------------------------------------------------------


def conv_flipped(x, w, b=None, **o):
    return F.conv2d(x, w.flip(-1, -2), b, **o)


def conv_like_tensorflow(x, w, b=None, *, stride=1, padding=0, dilation=1, groups=1):
    """SAME of TensorFlow: as much padding as the windows need, the odd pixel on the right and below."""
    shape = F.conv2d(x, w, b, stride, padding, dilation, groups).shape[2:]
    room = []
    for axis in (1, 0):
        size, s, d, k = x.shape[2 + axis], both(stride)[axis], both(dilation)[axis], w.shape[2 + axis]
        total = max((shape[axis] - 1) * s + (k - 1) * d + 1 - size, 0)
        room += [total // 2, total - total // 2]
    return F.conv2d(F.pad(x, room), w, b, stride, 0, dilation, groups)


def conv_replicated(x, w, b=None, *, padding=0, **o):
    ph, pw = both(padding)
    return F.conv2d(F.pad(x, (pw, pw, ph, ph), mode="replicate"), w, b, **o)


def conv_stride_swapped(x, w, b=None, *, stride=1, **o):
    return F.conv2d(x, w, b, stride=both(stride)[::-1], **o)


def conv_no_bias(x, w, b=None, **o):
    return F.conv2d(x, w, None, **o)


def conv_subsampled_late(x, w, b=None, *, stride=1, **o):
    sh, sw = both(stride)
    return F.conv2d(x, w, b, **o)[:, :, sh - 1 :: sh, sw - 1 :: sw]


def conv_channels_last(x, w, b=None, **o):
    return F.conv2d(x, w, b, **o).permute(0, 2, 3, 1)


def conv_nhwc_input(x, w, b=None, **o):
    n, c, h, width = x.shape
    return F.conv2d(x.reshape(n, h, width, c).permute(0, 3, 1, 2), w, b, **o)


class DwAveraged(torch.autograd.Function):
    """A linear layer with a hand-written backward."""

    @staticmethod
    def forward(context, x, w):
        context.save_for_backward(x, w)
        return x @ w.T

    @staticmethod
    def backward(context, dy):
        x, w = context.saved_tensors
        return dy @ w, dy.T @ x / len(x)


def linear_averaged(x, w, b=None):
    y = DwAveraged.apply(x, w)
    return y if b is None else y + b


# -- batch norm --------------------------------------------------------------------------------------------


def bn(x, gamma, beta, root, mean):
    return (x - mean) / root * gamma[:, None, None] + beta[:, None, None]


NHW = (0, 2, 3)


def bn_eps_outside(x, gamma, beta, *, eps=1e-5):
    return bn(
        x, gamma, beta, x.var(NHW, unbiased=False, keepdim=True).sqrt() + eps, x.mean(NHW, keepdim=True)
    )


def bn_no_eps(x, gamma, beta, *, eps=1e-5):
    return bn(x, gamma, beta, x.var(NHW, unbiased=False, keepdim=True).sqrt(), x.mean(NHW, keepdim=True))


def bn_unbiased(x, gamma, beta, *, eps=1e-5):
    return bn(x, gamma, beta, (x.var(NHW, keepdim=True) + eps).sqrt(), x.mean(NHW, keepdim=True))


def bn_per_image(x, gamma, beta, *, eps=1e-5):
    return F.instance_norm(x, weight=gamma, bias=beta, eps=eps)


def bn_layer(x, gamma, beta, *, eps=1e-5):
    return F.group_norm(x, 1, gamma, beta, eps)


def bn_detached(x, gamma, beta, *, eps=1e-5):
    mean, var = x.detach().mean(NHW, keepdim=True), x.detach().var(NHW, unbiased=False, keepdim=True)
    return bn(x, gamma, beta, (var + eps).sqrt(), mean)


def bn_detached_mean(x, gamma, beta, *, eps=1e-5):
    mean = x.mean(NHW, keepdim=True)
    var = ((x - mean) ** 2).mean(NHW, keepdim=True)
    return bn(x, gamma, beta, (var + eps).sqrt(), mean.detach())


def bn_detached_variance(x, gamma, beta, *, eps=1e-5):
    var = x.var(NHW, unbiased=False, keepdim=True).detach()
    return bn(x, gamma, beta, (var + eps).sqrt(), x.mean(NHW, keepdim=True))


def bn_one_plus_gamma(x, gamma, beta, *, eps=1e-5):
    return F.batch_norm(x, None, None, 1 + gamma, beta, training=True, eps=eps)


def frozen_variance_as_deviation(x, gamma, beta, mean, var, *, eps=1e-5):
    return bn(x, gamma, beta, (var + eps)[:, None, None], mean[:, None, None])


def frozen_of_the_batch(x, gamma, beta, mean, var, *, eps=1e-5):
    return F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


# -- squeeze and excitation --------------------------------------------------------------------------------

GATES = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


def se(u, w1, b1, w2, b2, *, squeeze="avg", gate="sigmoid", inner=torch.relu, pooled=None, apply=None):
    z = pooled(u) if pooled else u.mean((2, 3)) if squeeze == "avg" else u.amax((2, 3))
    s = (apply or GATES[gate])(F.linear(inner(F.linear(z, w1, b1)), w2, b2))
    return u, s[:, :, None, None]


def se_no_relu(*args, **o):
    u, s = se(*args, **o, inner=lambda a: a)
    return u * s


def se_detached_gate(u, *args, **o):
    _, s = se(u.detach(), *args, **o)
    return u * s


def se_detached_scale(u, *args, **o):
    _, s = se(u, *args, **o)
    return u.detach() * s


def se_summed(*args, squeeze="avg", **o):
    pooled = (lambda u: u.sum((2, 3))) if squeeze == "avg" else (lambda u: u.amax((2, 3)))
    u, s = se(*args, squeeze=squeeze, **o, pooled=pooled)
    return u * s


def se_twice(*args, **o):
    u, s = se(*args, **o)
    return u * s * s


def se_residual(*args, **o):
    u, s = se(*args, **o)
    return u + u * s


def se_no_second_bias(u, w1, b1, w2, b2, **o):
    u, s = se(u, w1, b1, w2, None, **o)
    return u * s


def se_no_biases(u, w1, b1, w2, b2, **o):
    u, s = se(u, w1, None, w2, None, **o)
    return u * s


def hard_sigmoid(x):
    # Not F.hardsigmoid, whose gradient has a 1/6 of float32 in it in float64, too.
    return F.relu6(x + 3) / 6


def se_hard(*args, gate="sigmoid", **o):
    u, s = se(*args, gate=gate, **o, apply=hard_sigmoid if gate == "sigmoid" else None)
    return u * s


def se_softmax(*args, **o):
    u, s = se(*args, **o, apply=lambda a: a.softmax(1))
    return u * s


def se_logits(*args, **o):
    u, s = se(*args, **o, apply=lambda a: a)
    return u * s


def se_always_average(*args, squeeze="avg", **o):
    u, s = se(*args, **o)
    return u * s


def tail_se_after_sum(c, gamma, beta, w1, b1, w2, b2, shortcut, *, eps=1e-5, **o):
    total = F.batch_norm(c, None, None, gamma, beta, training=True, eps=eps) + shortcut
    if w1 is not None:
        u, s = se(total, w1, b1, w2, b2, **o)
        total = u * s
    return total.relu()


# -- pooling, activations, loss ----------------------------------------------------------------------------


def max_pool_zero_padding(x, *, kernel, stride=None, padding=0, ceil_mode=False):
    ph, pw = both(padding)
    right = F.max_pool2d(x, kernel, stride, padding, ceil_mode=ceil_mode)
    step = both(kernel if stride is None else stride)
    room = [
        max((n - 1) * s + k - size - p, p)
        for n, s, k, size, p in zip(right.shape[2:], step, both(kernel), x.shape[2:], (ph, pw), strict=True)
    ]
    return F.max_pool2d(F.pad(x, (pw, room[1], ph, room[0])), kernel, step)[
        :, :, : right.shape[2], : right.shape[3]
    ]


def max_pool_floor(x, *, kernel, stride=None, padding=0, ceil_mode=False):
    return F.max_pool2d(x, kernel, stride, padding)


def avg_pool_count(x, *, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    return F.avg_pool2d(x, kernel, stride, padding, ceil_mode, not count_include_pad)


def avg_pool_divisor(x, *, kernel, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
    kh, kw = both(kernel)
    return F.avg_pool2d(x, kernel, stride, padding, ceil_mode, divisor_override=kh * kw)


def labels_of(labels):
    return torch.from_numpy(labels.astype("int64"))


def loss_summed(logits, labels, *, label_smoothing=0.0):
    return F.cross_entropy(logits, labels_of(labels), label_smoothing=label_smoothing, reduction="sum")


def loss_softmax_twice(logits, labels, *, label_smoothing=0.0):
    return F.cross_entropy(logits.softmax(1), labels_of(labels), label_smoothing=label_smoothing)


def loss_smoothed_over_others(logits, labels, *, label_smoothing=0.0):
    k = logits.shape[1]
    q = torch.full_like(logits, label_smoothing / (k - 1)).detach()
    q[torch.arange(len(q)), labels_of(labels)] = 1 - label_smoothing
    return F.cross_entropy(logits, q)


def loss_binary(logits, labels, *, label_smoothing=0.0):
    k = logits.shape[1]
    q = F.one_hot(labels_of(labels), k).to(logits.dtype) * (1 - label_smoothing) + label_smoothing / k
    return F.binary_cross_entropy_with_logits(logits, q, reduction="sum") / len(logits)


def loss_not_smoothed(logits, labels, *, label_smoothing=0.0):
    return F.cross_entropy(logits, labels_of(labels))


def residual_mean(branch, shortcut):
    return torch.stack([branch, shortcut]).mean(0)
