"""Stochastic gradient descent with momentum, Nesterov's variant and weight decay.

For each parameter theta with gradient g, velocity v (zero at first), learning rate lr, momentum m, decay d:

    g  = dL/dtheta + d theta
    v  = m v + g
    theta = theta - lr (g + m v)      with Nesterov
    theta = theta - lr v              without

This is the form of PyTorch, Caffe keeps lr v: the two differ when the learning rate changes. Weight decay
leaves batch norm and biases alone unless asked: pulling gamma to zero regularises nothing, because batch norm
makes the function independent of the scale of the weights before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from senumpy.errors import InputError
from senumpy.layers import Layer
from senumpy.ops.arrays import Array


class SGD:
    """The optimiser of one model; the learning rate comes with each step, from a schedule.

    Parameters
    ----------
    model : Layer
        Its parameters are updated in place, on its engine.
    momentum : float
        0 <= momentum < 1.
    nesterov : bool
        Needs a momentum above 0.
    weight_decay : float
        d above, at least 0.
    decay_all : bool
        Decay batch norm and biases too.

    Raises
    ------
    InputError
        A setting is out of its range.
    """

    def __init__(
        self,
        model: Layer,
        *,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        decay_all: bool = False,
    ):
        if not 0.0 <= momentum < 1.0:
            raise InputError(f"momentum: got {momentum}, wanted 0 <= momentum < 1")
        if not 0.0 <= weight_decay < float("inf"):
            raise InputError(f"weight_decay: got {weight_decay}, wanted a number of at least 0")
        if nesterov and momentum == 0.0:
            raise InputError("nesterov: got momentum 0, wanted a momentum above 0")
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = weight_decay
        self.decay_all = decay_all
        self._engine = model.engine
        self._parameters = dict(model.named_parameters())
        self._velocities: dict[str, Array] = {
            name: self._engine.zeros(parameter.value.shape, parameter.value.dtype)
            for name, parameter in self._parameters.items()
        }

    def step(self, lr: float) -> None:
        """Update every parameter that has a gradient by one step of learning rate `lr`."""
        values, gradients, velocities, decays = [], [], [], []
        for name, parameter in self._parameters.items():
            if parameter.grad is None:
                continue
            values.append(parameter.value)
            gradients.append(parameter.grad)
            velocities.append(self._velocities[name])
            decays.append(self.weight_decay if parameter.decay or self.decay_all else 0.0)
        self._engine.sgd_update_all(
            values,
            gradients,
            velocities,
            decays,
            lr=lr,
            momentum=self.momentum,
            nesterov=self.nesterov,
        )

    def state_dict(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return copies of the velocities as NumPy arrays, by the names of their parameters."""
        return {name: np.array(self._engine.to_numpy(v)) for name, v in self._velocities.items()}

    def load_state_dict(self, state: Mapping[str, np.ndarray[Any, Any]]) -> None:
        """Copy velocities in, by name; nothing is changed if any doesn't fit.

        Raises
        ------
        InputError
            Names the first velocity that is missing, surplus or of another shape.
        """
        for name in {**self._velocities, **state}:
            if name not in state or name not in self._velocities:
                raise InputError(f"velocity of {name}: {'surplus' if name in state else 'missing'}")
            got, wanted = state[name].shape, self._velocities[name].shape
            if got != wanted:
                raise InputError(f"velocity of {name}: got shape {got}, wanted {wanted}")
        for name, velocity in self._velocities.items():
            velocity[...] = self._engine.asarray(state[name], dtype=velocity.dtype)
