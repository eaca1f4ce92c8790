import numpy as np


def squeeze_forward(u, *, operator="avg"):
    N, C, H, W = u.shape
    z = np.zeros((N, C), dtype=u.dtype)
    for n in range(N):
        for c in range(C):
            s = u[n, c, 0, 0]
            for i in range(H):
                for j in range(W):
                    if i == j == 0:
                        continue
                    if operator == "avg":
                        s += u[n, c, i, j]
                    elif u[n, c, i, j] > s:
                        s = u[n, c, i, j]
            z[n, c] = s / (H * W) if operator == "avg" else s
    return z, operator
