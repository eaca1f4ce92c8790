import numpy as np


def pad_shortcut_forward(x, *, channels, stride=2):
    match stride:
        case (s1, s2):
            pass
        case s:
            s1 = s2 = s
    missing = channels - x.shape[1]
    before = missing // 2
    return np.pad(x[..., ::s1, ::s2], [(0, 0), (before, missing - before), (0, 0), (0, 0)]), (s1, s2)
