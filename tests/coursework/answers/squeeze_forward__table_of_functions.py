from enum import Enum

import numpy as np


class Operator(Enum):
    AVG = "avg"
    MAX = "max"


HOW = {
    Operator.AVG: lambda u: np.einsum("nchw->nc", u) / np.array(u.shape[2] * u.shape[3], u.dtype),
    Operator.MAX: lambda u: np.maximum.reduce(u, axis=(2, 3)),
}


def squeeze_forward(u, *, operator="avg"):
    return HOW[Operator(operator)](u), operator
