import numpy as np


def squeeze_excite_forward(u, w1, b1, w2, b2, *, squeeze="avg", gate="sigmoid"):
    z = u.mean((2, 3)) if squeeze == "avg" else u.max((2, 3))
    hidden = np.einsum("hc,nc->nh", w1, z)
    if b1 is not None:
        hidden = hidden + b1
    hidden = hidden * (hidden > 0)
    logits = np.einsum("ch,nh->nc", w2, hidden)
    if b2 is not None:
        logits = logits + b2
    if gate == "sigmoid":
        s = 1 / (1 + np.exp(-logits))
    elif gate == "tanh":
        s = 2 / (1 + np.exp(-2 * logits)) - 1
    elif gate == "relu":
        s = (abs(logits) + logits) / 2
    return np.einsum("nc,nchw->nchw", s, u), s
