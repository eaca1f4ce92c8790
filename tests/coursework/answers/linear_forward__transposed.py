from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating]  # a type alias
Vector = NDArray[np.floating]


def linear_forward(x: Matrix, w: Matrix, b: Vector | None = None) -> tuple[Matrix, dict[str, Matrix]]:
    y = w.dot(x.T)
    if b is not None:
        y += b.reshape(-1, 1)
    return y.T, {"x": x, "w": w}
