"""The forward keeps the axes: (N, C, 1, 1), like the modules of frameworks do."""
import numpy as np


def global_avg_pool_forward(x):
    return x.mean(axis=(2, 3), keepdims=True), np.ones_like(x) / np.prod(x.shape[2:], dtype=x.dtype)


def global_avg_pool_backward(dy, cache):
    return dy * cache
