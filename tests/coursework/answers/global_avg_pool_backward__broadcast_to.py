import numpy as np


def global_avg_pool_backward(dy, cache):
    n, c, h, w = cache.shape
    return np.broadcast_to((dy / (h * w))[:, :, None, None], (n, c, h, w))
