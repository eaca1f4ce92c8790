import numpy as np


def running_statistics(running_mean, running_var, mean, var, *, count, momentum=0.1):
    weights = [1 - momentum, momentum]
    bessel = count / (count - 1)
    return {
        True: (
            np.average([running_mean, mean], axis=0, weights=weights),
            np.average([running_var, bessel * var], axis=0, weights=weights),
        )
    }[True]
