import numpy as np


def scale_forward(u, s):
    return np.einsum("nchw,nc->nchw", u, s), {"u": u, "s": s}


def scale_backward(dy, cache):
    return {
        "s": np.einsum("nchw,nchw->nc", dy, cache["u"]),
        "u": np.einsum("nchw,nc->nchw", dy, cache["s"]),
    }
