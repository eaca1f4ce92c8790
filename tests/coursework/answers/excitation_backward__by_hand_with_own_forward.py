import numpy as np


def excitation_forward(z, w1, b1, w2, b2, *, gate="sigmoid"):
    a = np.einsum("nc,hc->nh", z, w1)
    a = a if b1 is None else a + b1
    h = np.maximum(a, 0)
    t = np.einsum("nh,ch->nc", h, w2)
    t = t if b2 is None else t + b2
    s = {"sigmoid": lambda v: 1 / (1 + np.exp(-v)), "tanh": np.tanh, "relu": lambda v: np.maximum(v, 0)}[gate](t)
    return s, locals()


def excitation_backward(dy, cache):
    C = cache
    if C["gate"] == "sigmoid":
        dt = dy * C["s"] * (1 - C["s"])
    elif C["gate"] == "tanh":
        dt = dy * (1 - C["s"] ** 2)
    else:
        dt = dy * (C["t"] > 0)
    dw2 = np.einsum("nc,nh->ch", dt, C["h"])
    da = np.einsum("nc,ch->nh", dt, C["w2"]) * (C["a"] > 0)
    dw1 = np.einsum("nh,nc->hc", da, C["z"])
    dz = np.einsum("nh,hc->nc", da, C["w1"])
    return (
        dz,
        dw1,
        None if C["b1"] is None else da.sum(axis=0),
        dw2,
        None if C["b2"] is None else dt.sum(axis=0),
    )
