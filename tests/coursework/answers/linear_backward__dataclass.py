from dataclasses import dataclass
from typing import Optional

import numpy as np


@dataclass
class Memory:
    x: np.ndarray
    w: np.ndarray
    b: Optional[np.ndarray] = None


def linear_forward(x, w, b=None):
    memory = Memory(x, w, b)
    y = np.matmul(x, np.transpose(w))
    return (y + b if b is not None else y), memory


def linear_backward(dy, cache: Memory):
    dx = np.tensordot(dy, cache.w, 1)
    dw = np.tensordot(dy, cache.x, axes=(0, 0))
    db = dy.sum(0) if cache.b is not None else None
    return dx, dw, db
