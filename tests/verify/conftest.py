"""Right forward/backward pairs, written without the library, for the checker to be tried on."""

from __future__ import annotations

import sys

import numpy as np
import pytest


@pytest.fixture(scope="session")
def pairs():
    """This module: the functions below."""
    return sys.modules[__name__]


def affine_forward(x, w, b=None):
    return x @ w.T + (0 if b is None else b), (x, w, b)


def affine_backward(dy, cache):
    x, w, b = cache
    return dy @ w, dy.T @ x, None if b is None else dy.sum(0)


def relu_forward(x):
    return np.where(x.real > 0, x, 0 * x), x


def relu_backward(dy, x):
    return dy * (x > 0)


def norm_forward(x, gamma, beta):
    """Batch norm over everything but axis 1, eps 0.01."""
    axes = (0, 2, 3)
    centred = x - x.mean(axes, keepdims=True)
    inverse = 1 / np.sqrt((centred * centred).mean(axes, keepdims=True) + 0.01)
    normal = centred * inverse
    return gamma[:, None, None] * normal + beta[:, None, None], (normal, inverse, gamma)


def norm_backward(dy, cache):
    normal, inverse, gamma = cache
    axes = (0, 2, 3)
    g = dy * gamma[:, None, None]
    dx = inverse * (g - g.mean(axes, keepdims=True) - normal * (g * normal).mean(axes, keepdims=True))
    return dx, (dy * normal).sum(axes), dy.sum(axes)


def gated_forward(u, w1, w2):
    """Squeeze and excitation without biases."""
    z = u.mean((2, 3))
    hidden = z @ w1.T
    on = hidden.real > 0
    s = 1 / (1 + np.exp(-(hidden * on) @ w2.T))
    return u * s[:, :, None, None], (u, z, hidden * on, on, s, w1, w2)


def gated_backward(dy, cache, *, gate_path=True):
    u, z, hidden, on, s, w1, w2 = cache
    da = (dy * u).sum((2, 3)) * s * (1 - s)
    dhidden = (da @ w2) * on
    dz = dhidden @ w1 / (u.shape[2] * u.shape[3])
    du = dy * s[:, :, None, None] + gate_path * dz[:, :, None, None]
    return du, dhidden.T @ z, da.T @ hidden


def gated_pattern(args, kwargs):
    u, w1, _ = args
    return (u.mean((2, 3)) @ w1.T > 0,)


def loss_forward(x):
    """Mean square, a scalar."""
    return (x * x).sum() / x.size, x


def loss_backward(dloss, x):
    return 2 * dloss * x / x.size
