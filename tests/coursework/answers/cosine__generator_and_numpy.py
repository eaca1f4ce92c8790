import numpy as np


def cosine(lr, steps):
    table = [lr * 0.5 * (1 + np.cos(np.pi * k / steps)) for k in range(steps + 1)]
    return lambda step: table[min(int(step), steps)] if step == int(step) else lr * 0.5 * (
        1 + np.cos(np.pi * min(step, steps) / steps)
    )
