import numpy as np


def scale_backward(dy, cache):
    u, s = cache
    du = np.zeros_like(u)
    ds = np.zeros_like(s)
    N, C, H, W = u.shape
    for n in range(N):
        for c in range(C):
            for i in range(H):
                for j in range(W):
                    du[n, c, i, j] = dy[n, c, i, j] * s[n, c]
                    ds[n, c] += dy[n, c, i, j] * u[n, c, i, j]
    return du, ds
