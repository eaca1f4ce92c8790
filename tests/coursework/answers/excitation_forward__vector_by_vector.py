import numpy as np


def excitation_forward(z, w1, b1, w2, b2, *, gate="sigmoid"):
    gates = dict(
        sigmoid=lambda t: np.exp(t) / (1 + np.exp(t)) if t < 0 else 1 / (1 + np.exp(-t)),
        tanh=np.tanh,
        relu=lambda t: max(t, 0 * t),
    )
    f = gates[gate]
    out = np.zeros_like(z)
    for n, descriptor in enumerate(z):
        hidden = [max(np.dot(row, descriptor) + (b1[i] if b1 is not None else 0), 0) for i, row in enumerate(w1)]
        for c in range(len(w2)):
            t = sum(w2[c, i] * hidden[i] for i in range(len(hidden)))
            if b2 is not None:
                t = t + b2[c]
            out[n, c] = f(t)
    return out, None
