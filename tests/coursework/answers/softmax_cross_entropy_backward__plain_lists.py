import numpy as np


def softmax_cross_entropy_backward(dloss, cache):
    p, q = cache.p.tolist(), cache.q.tolist()
    n = len(p)
    grad = [[(pk - qk) / n * float(dloss) for pk, qk in zip(prow, qrow)] for prow, qrow in zip(p, q)]
    return np.array(grad).astype(cache.p.dtype)
