from math import sqrt

import numpy as np


def batchnorm2d_inference_forward(x, gamma, beta, mean, var, *, eps=1e-5):
    y = x * 0
    for n in range(x.shape[0]):
        for c in range(x.shape[1]):
            std = sqrt(var[c] + eps)
            for i in range(x.shape[2]):
                for j in range(x.shape[3]):
                    y[n, c, i, j] = gamma[c] * ((x[n, c, i, j] - mean[c]) / std) + beta[c]
    return y, None
