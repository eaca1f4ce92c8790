"""One step of stochastic gradient descent with momentum, Nesterov's variant and weight decay.

For a parameter theta with gradient dL/dtheta, velocity v (zero at first), learning rate lr, momentum m and
weight decay d:

    g     = dL/dtheta + d theta
    v     = m v + g
    theta = theta - lr (g + m v)      with Nesterov
    theta = theta - lr v              without

This is the form of PyTorch. Sutskever et al. (2013), "On the importance of initialization and momentum in
deep learning", and Caffe have the learning rate inside v: the two differ when it changes.
"""

from __future__ import annotations

from senumpy.ops.arrays import Array


def sgd_update(
    value: Array,
    gradient: Array,
    velocity: Array,
    *,
    lr: float,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """Update `value` and `velocity` in place by one step; `gradient` stays as it is.

    Parameters
    ----------
    value, gradient, velocity : array
        theta, dL/dtheta and v, all of one shape.
    lr, momentum : float
    nesterov : bool
    weight_decay : float
    """
    # exercise sgd_update: 1 point, level 1, lesson 15 "One step of SGD"
    g = gradient + weight_decay * value if weight_decay else gradient
    velocity *= momentum
    velocity += g
    value -= lr * (g + momentum * velocity if nesterov else velocity)
    # end of exercise
