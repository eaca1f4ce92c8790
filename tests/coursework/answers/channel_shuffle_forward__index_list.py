import numpy


def channel_shuffle_forward(x, *, groups):
    c = x.shape[1]
    return x[:, [g * (c // groups) + k for k in range(c // groups) for g in range(groups)]], None
