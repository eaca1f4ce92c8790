import numpy as np


def ja_das_geht(n, c, dy, u, s):
    return dy[n, c] * s[n, c], np.sum(dy[n, c] * u[n, c])


def scale_backward(dy, cache):
    N, C = cache.s.shape
    everything = [[ja_das_geht(n, c, dy, *cache) for c in range(C)] for n in range(N)]
    du = np.array([[pair[0] for pair in row] for row in everything])
    ds = np.array([[pair[1] for pair in row] for row in everything])
    return du, ds
