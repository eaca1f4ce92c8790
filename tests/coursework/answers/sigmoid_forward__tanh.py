import numpy as np


def sigmoid_forward(x):
    # 1/(1+e^-x) = e^(x/2) / (e^(x/2) + e^(-x/2)) = (1 + tanh(x/2)) / 2
    return (np.tanh(x / 2) + 1) / 2, None
