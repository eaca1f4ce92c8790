import numpy as np


def channel_shuffle_forward(x, *, groups: int):
    parts = np.split(x, groups, axis=1)
    together = np.stack(parts, axis=2)  # (N, C/G, G, H, W)
    return together.reshape(x.shape), [groups]
