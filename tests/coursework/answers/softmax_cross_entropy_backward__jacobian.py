import numpy as np


def softmax_cross_entropy_backward(dloss, cache):
    # dL/dlogp = -q/N, dlogp_k/da_l = [k=l] - p_l, so row by row a vector times a matrix
    N, K = cache.p.shape
    out = np.empty_like(cache.p)
    for n in range(N):
        J = np.identity(K, dtype=cache.p.dtype) - cache.p[n][None, :]
        out[n] = (-cache.q[n] / N) @ J
    return {"dlogits": out * dloss}
