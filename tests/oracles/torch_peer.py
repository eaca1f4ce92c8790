"""Every operation in PyTorch, with gradients by its autograd and running statistics by its batch norm."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from senumpy.crosscheck.exchange import all_options
from senumpy.verify.calls import OpCall, Results, map_arrays
from tests.oracles.test_ops_torch import TORCH, after_norm


def inference_norm(x, gamma, beta, mean, var, eps):
    """Return PyTorch's own, which has no gradients of the statistics."""
    return F.batch_norm(x, mean.detach(), var.detach(), gamma, beta, eps=eps)


def conv_bn_relu_inference(x, w, gamma, beta, mean, var, *, eps, **geometry):
    return torch.relu(inference_norm(F.conv2d(x, w, **geometry), gamma, beta, mean, var, eps))


def residual_tail_inference(c, gamma, beta, mean, var, *rest, eps, squeeze, gate):
    return after_norm(inference_norm(c, gamma, beta, mean, var, eps), *rest, squeeze, gate)


def shake(a, b, *, alpha, beta=None):
    def mixed(parts):
        parts = torch.tensor(parts, dtype=a.dtype)[:, None, None, None]
        return parts * a + (1 - parts) * b

    if beta is None:
        return mixed(alpha)
    back = mixed(beta)
    return mixed(alpha).detach() + (back - back.detach())


NORMS = ("batchnorm2d", "bn_relu", "residual_tail")  # operations with one in them, by parts of their names
OURS = {
    "batchnorm2d_inference": inference_norm,
    "conv_bn_relu_inference": conv_bn_relu_inference,
    "residual_tail_inference": residual_tail_inference,
    "shake": shake,
}


def torch_results(call: OpCall, dtype: Any) -> Results:
    """Return PyTorch's results by the names of the call's."""

    def leaf(array):
        if array.dtype.kind != "f":
            return array
        # PyTorch takes no negative strides. Apart from that, it gets the memory order drawn, but where there
        # is a batch norm: its gradients are wrong for some (test_peers_accurate.py).
        plain = any(norm in call.op for norm in NORMS) or min(array.strides, default=1) < 0
        return torch.from_numpy(array.copy(order="C") if plain else array).requires_grad_()

    args = map_arrays(leaf, call.arguments(dtype))
    running = call.running(dtype)
    found: Results = {}
    if running is None:
        y = {**TORCH, **OURS}[call.op](*args, **all_options(call))
    else:
        mean, var = torch.from_numpy(running.mean.copy()), torch.from_numpy(running.var.copy())
        options = {"training": True, "momentum": running.momentum, **all_options(call)}
        y = F.batch_norm(args[0], mean, var, *args[1:], **options)
        found = {"running_mean": mean.numpy(), "running_var": var.numpy()}
    y.backward(torch.from_numpy(call.upstream(tuple(y.shape), dtype)))
    wanted = args[: len(call.spec.arguments)]
    gradients = [
        tuple(x.grad for x in a) if isinstance(a, tuple) else a if a is None else a.grad for a in wanted
    ]
    named = {
        name: gradient
        for name, gradient, arg in zip(call.spec.arguments, gradients, wanted, strict=True)
        if arg is None or gradient is not None
    }
    for name, gradient in named.items():
        if isinstance(gradient, tuple):
            found |= {f"d{name}[{k}]": part.numpy() for k, part in enumerate(gradient)}
        else:
            found[f"d{name}"] = None if gradient is None else gradient.numpy()
    return {"y": np.asarray(y.detach().numpy()), **found}
