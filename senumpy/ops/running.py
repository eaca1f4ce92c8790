"""Running statistics of batch norm: what inference uses in place of the statistics of a batch.

With m = momentum, and M values a channel in the batch,

    running_mean = (1 - m) running_mean + m mean
    running_var  = (1 - m) running_var  + m var M / (M - 1)

`var` is the biased variance, with which the batch itself is normalised, an average over M. It is too small by
(M - 1) / M on average, as deviations are from the batch's own mean; the running variance collects unbiased
estimates (Ioffe & Szegedy 2015, algorithm 2; so does PyTorch, while ONNX collects the biased ones).
"""

from __future__ import annotations

from senumpy.ops.arrays import Array


def running_statistics(
    running_mean: Array,
    running_var: Array,
    mean: Array,
    var: Array,
    *,
    count: int,
    momentum: float = 0.1,
) -> tuple[Array, Array]:
    """Return the running mean and variance after a batch; the arguments stay as they are.

    Parameters
    ----------
    running_mean, running_var : (C,) array
        Before the batch.
    mean, var : (C,) array
        Of the batch; the biased variance.
    count : int
        M, how many values a channel has in the batch; at least 2.
    momentum : float
        The weight of the batch.
    """
    # exercise running_statistics: 1 point, level 1, lesson 7 "Running statistics"
    unbiased = var * (count / (count - 1))
    return (
        (1.0 - momentum) * running_mean + momentum * mean,
        (1.0 - momentum) * running_var + momentum * unbiased,
    )
    # end of exercise
