"""A shuffle is a permutation, and a permutation is a matrix. (No import of anything special.)"""
from numpy import *


def channel_shuffle_forward(x, *, groups):
    C = x.shape[1]
    order = arange(C).reshape(groups, C // groups).T.ravel()
    P = eye(C, dtype=x.dtype)[order]
    y = tensordot(P, x, axes=([1], [1])).transpose(1, 0, 2, 3)
    return y, dict(order=order)
