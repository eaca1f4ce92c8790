import numpy as np


def batchnorm2d_inference_forward(x, gamma, beta, mean, var, *, eps=1e-5):
    a = gamma / np.sqrt(var + eps)
    b = beta - a * mean
    return x * a[None, :, None, None] + b[None, :, None, None], (a, b)
