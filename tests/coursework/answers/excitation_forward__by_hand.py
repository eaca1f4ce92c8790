import numpy as np


def excitation_forward(z, w1, b1, w2, b2, *, gate="sigmoid"):
    h = z @ w1.T
    if b1 is not None:
        h += b1
    h[h < 0] = 0
    t = h @ w2.T + (0 if b2 is None else b2)
    if gate == "sigmoid":
        s = 0.5 + 0.5 * np.tanh(0.5 * t)
    elif gate == "tanh":
        s = np.tanh(t)
    else:
        s = t.clip(0)
    return s, (z, h, t)
