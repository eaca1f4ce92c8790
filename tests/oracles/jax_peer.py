"""Every operation in JAX, as its users write it, with gradients by `jax.vjp`."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from senumpy.crosscheck.exchange import all_options
from senumpy.ops.windows import Window, output_size
from senumpy.verify.calls import OpCall, Results

IMAGES = ("NCHW", "OIHW", "NCHW")


def both(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def conv2d(x, w, b=None, *, stride, padding, dilation, groups):
    y = lax.conv_general_dilated(
        x, w, both(stride), [(p, p) for p in both(padding)], rhs_dilation=both(dilation),
        feature_group_count=groups, dimension_numbers=IMAGES,
    )  # fmt: skip
    return y if b is None else y + b[:, None, None]


def linear(x, w, b=None):
    y = x @ w.T
    return y if b is None else y + b


def normalised(x, gamma, beta, mean, var, eps):
    mean, var, gamma, beta = (v[:, None, None] for v in (mean, var, gamma, beta))
    return gamma * (x - mean) / jnp.sqrt(var + eps) + beta


def batchnorm2d(x, gamma, beta, *, eps):
    return normalised(x, gamma, beta, x.mean((0, 2, 3)), x.var((0, 2, 3)), eps)


def batchnorm2d_inference(x, gamma, beta, mean, var, *, eps):
    return normalised(x, gamma, beta, mean, var, eps)


def windows(x, kernel, stride, padding, ceil_mode, start, function):
    window = Window(both(kernel), both(stride), both(padding), (1, 1))
    out = output_size(x.shape[2:], window, ceil_mode=ceil_mode)
    pads = [
        (p, max(p, (count - 1) * s + k - n - p))
        for n, count, k, s, p in zip(x.shape[2:], out, *window[:3], strict=True)
    ]
    ones = (1, 1)
    return lax.reduce_window(
        x, start, function, ones + window.kernel, ones + window.stride, [(0, 0), (0, 0), *pads]
    )


def max_pool2d(x, *, kernel, stride, padding, ceil_mode):
    return windows(x, kernel, stride, padding, ceil_mode, -jnp.inf, lax.max)


def avg_pool2d(x, *, kernel, stride, padding, ceil_mode, count_include_pad):
    total = windows(x, kernel, stride, padding, ceil_mode, 0.0, lax.add)
    inside = np.ones((1, 1, *x.shape[2:]), x.dtype)
    if not count_include_pad:
        return total / windows(jnp.asarray(inside), kernel, stride, padding, ceil_mode, 0.0, lax.add)
    ph, pw = both(padding)
    padded = jnp.asarray(np.ones((1, 1, x.shape[2] + 2 * ph, x.shape[3] + 2 * pw), x.dtype))
    # The size of the windows' padded image: a last window may hang over it.
    counts = windows(padded, kernel, stride, 0, ceil_mode, 0.0, lax.add)[
        :, :, : total.shape[2], : total.shape[3]
    ]
    return total / counts


def first_maximum(x):
    """Return the maximum of each channel; `jnp.max` would share the gradient among equal ones."""
    flat = x.reshape(*x.shape[:2], -1)
    return jnp.take_along_axis(flat, flat.argmax(-1)[..., None], -1)[..., 0]


def squeeze(x, *, operator):
    return x.mean((2, 3)) if operator == "avg" else first_maximum(x)


ACTIVATIONS = {"relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}


def excitation(z, w1, b1, w2, b2, *, gate):
    return ACTIVATIONS[gate](linear(jax.nn.relu(linear(z, w1, b1)), w2, b2))


def squeeze_excite(u, w1, b1, w2, b2, *, squeeze, gate):
    return u * excitation(describe(u, squeeze), w1, b1, w2, b2, gate=gate)[:, :, None, None]


def describe(u, operator):
    return squeeze(u, operator=operator)


def pad_shortcut(x, *, channels, stride):
    vertical, horizontal = both(stride)
    before = (channels - x.shape[1]) // 2
    pads = ((0, 0), (before, channels - x.shape[1] - before), (0, 0), (0, 0))
    return jnp.pad(x[:, :, ::vertical, ::horizontal], pads)


def channel_shuffle(x, *, groups):
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h, w).swapaxes(1, 2).reshape(x.shape)


def dropout(x, *, p, rng):
    return jnp.where(rng.random(x.shape) >= p, x / (1.0 - p), 0.0)


def shake(a, b, *, alpha, beta=None):
    def mixed(parts):
        parts = jnp.asarray(np.asarray(parts, a.dtype))[:, None, None, None]
        return parts * a + (1 - parts) * b

    if beta is None:
        return mixed(alpha)
    back = mixed(beta)
    return lax.stop_gradient(mixed(alpha)) + (back - lax.stop_gradient(back))


def softmax_cross_entropy(logits, labels, *, label_smoothing):
    classes = logits.shape[1]
    targets = (
        jax.nn.one_hot(labels, classes, dtype=logits.dtype) * (1 - label_smoothing)
        + label_smoothing / classes
    )
    return -(targets * jax.nn.log_softmax(logits)).sum() / len(logits)


def conv_bn_relu(x, w, gamma, beta, *, eps, **geometry):
    return jax.nn.relu(batchnorm2d(conv2d(x, w, **geometry), gamma, beta, eps=eps))


def conv_bn_relu_inference(x, w, gamma, beta, mean, var, *, eps, **geometry):
    return jax.nn.relu(normalised(conv2d(x, w, **geometry), gamma, beta, mean, var, eps))


def after_norm(v, w1, b1, w2, b2, shortcut, squeeze, gate):
    if w1 is not None:
        v = squeeze_excite(v, w1, b1, w2, b2, squeeze=squeeze, gate=gate)
    return jax.nn.relu(v + shortcut)


def residual_tail(c, gamma, beta, *rest, eps, squeeze, gate):
    return after_norm(batchnorm2d(c, gamma, beta, eps=eps), *rest, squeeze, gate)


def residual_tail_inference(c, gamma, beta, mean, var, *rest, eps, squeeze, gate):
    return after_norm(normalised(c, gamma, beta, mean, var, eps), *rest, squeeze, gate)


def bn_relu_se(c, gamma, beta, *se, eps, squeeze, gate):
    return squeeze_excite(jax.nn.relu(batchnorm2d(c, gamma, beta, eps=eps)), *se, squeeze=squeeze, gate=gate)


JAX = {
    "conv2d": conv2d,
    "linear": linear,
    "batchnorm2d": batchnorm2d,
    "batchnorm2d_inference": batchnorm2d_inference,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "global_avg_pool": lambda x: x.mean((2, 3)),
    "global_max_pool": first_maximum,
    "squeeze": squeeze,
    "excitation": excitation,
    "scale": lambda u, s: u * s[:, :, None, None],
    "squeeze_excite": squeeze_excite,
    "residual_add": jnp.add,
    "pad_shortcut": pad_shortcut,
    "concat": lambda xs, *, axis: jnp.concatenate(xs, axis),
    "channel_shuffle": channel_shuffle,
    "dropout": dropout,
    "shake": shake,
    "softmax_cross_entropy": softmax_cross_entropy,
    "conv_bn_relu": conv_bn_relu,
    "conv_bn_relu_inference": conv_bn_relu_inference,
    "residual_tail": residual_tail,
    "residual_tail_inference": residual_tail_inference,
    "bn_relu_se": bn_relu_se,
    "concat_se": lambda xs, *se, **options: squeeze_excite(jnp.concatenate(xs, 1), *se, **options),
    "se_add": lambda u, *rest, **options: squeeze_excite(u, *rest[:-1], **options) + rest[-1],
}


@functools.cache
def compiled(op: str, wanted: tuple[int, ...], options: str, key: Any) -> Any:
    """Return the compiled function that gives a result and the gradients of some arguments.

    Compiling takes longer than all else: `key` tells apart what calls of one shape may share.
    """
    settings = OPTIONS[options]

    def both_ways(args, dy):
        def function(*leaves):
            given = list(args)
            for i, leaf in zip(wanted, leaves, strict=True):
                given[i] = leaf
            return JAX[op](*given, **settings())

        y, back = jax.vjp(function, *(args[i] for i in wanted))
        return y, back(dy)

    return jax.jit(both_ways)


OPTIONS: dict[str, Any] = {}  # functions that give them afresh: random generators are used up


def jax_results(call: OpCall, dtype: Any) -> Results:
    """Return JAX's result and the gradients of all float arguments, by the names of the call's results."""
    options = repr(sorted(all_options(call).items()))
    OPTIONS[options] = lambda: all_options(call)
    y, _ = call.spec.forward(*call.arguments(np.float64), **call.keywords())
    with jax.enable_x64(True):
        args = jax.tree.map(jnp.asarray, call.arguments(dtype))
        wanted = [
            i for i, name in enumerate(call.names) if name in call.spec.arguments and args[i] is not None
        ]
        # A generator's draws are compiled into the function.
        function = compiled(call.op, tuple(wanted), options, call.seed if "rng" in call.options else None)
        y, gradients = function(args, jnp.asarray(call.upstream(np.shape(y), dtype)))
    found: Results = {"y": np.asarray(y)}
    for i, gradient in zip(wanted, gradients, strict=True):
        if isinstance(gradient, tuple):
            found |= {f"d{call.names[i]}[{k}]": np.asarray(part) for k, part in enumerate(gradient)}
        else:
            found[f"d{call.names[i]}"] = np.asarray(gradient)
    return found
