import numpy as np


def squeeze_forward(u, *, operator="avg"):
    flat = u.reshape(*u.shape[:2], -1)
    return getattr(flat, {"avg": "mean", "max": "max"}[operator])(axis=-1), None
