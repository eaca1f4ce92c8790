"""Rules by which weights follow their gradients: the reference's, and the conventions that others have.

    g = gradient + d theta                    weight decay, coupled
    v = m v + (1 - a) g                       momentum, dampening a
    theta = theta - lr (g + m v)  or  theta - lr v

Caffe, and Sutskever et al. (2013), have the learning rate inside: v = m v + lr g, theta = theta - v. The two
are the same until the learning rate changes. Decoupled weight decay takes theta - lr d theta apart from v.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Rule:
    """How one step of an optimiser is done.

    Attributes
    ----------
    momentum, weight_decay : float
    nesterov : bool
    decayed : {"weights", "all", "none"}
        Whether weight decay leaves batch norm and biases alone.
    decoupled : bool
    dampening : {"none", "momentum", "momentum from the first step"}
        Whether the gradient enters v by 1 - m, as in an exponential mean; PyTorch leaves the first step out.
    lr_inside : bool
        v = m v + lr g.
    lr_scale : float
        Of the learning rate.
    """

    momentum: float
    weight_decay: float
    nesterov: bool
    decayed: str = "weights"
    decoupled: bool = False
    dampening: str = "none"
    lr_inside: bool = False
    lr_scale: float = 1.0

    def path(
        self, start: Array, gradients: Sequence[Array], rates: Sequence[float], *, decays: bool
    ) -> list[tuple[Array, Array]]:
        """Return a parameter and its velocity v after each step.

        Parameters
        ----------
        start : array
        gradients : sequence of array
            One for each step, as they were.
        rates : sequence of float
            Learning rates.
        decays : bool
            Whether it is a weight, rather than of batch norm or a bias.
        """
        theta, v, m = start.astype(np.float64), np.zeros_like(start, np.float64), self.momentum
        decay = self.weight_decay if self.decayed == "all" or (decays and self.decayed == "weights") else 0.0
        steps = []
        for k, (gradient, rate) in enumerate(zip(gradients, rates, strict=True)):
            lr = rate * self.lr_scale
            g = gradient if self.decoupled else gradient + decay * theta
            if self.decoupled:
                theta = theta - lr * decay * theta
            damped = self.dampening == "momentum from the first step" or (
                self.dampening == "momentum" and k > 0
            )
            share = 1.0 - m if damped else 1.0
            v = m * v + share * (lr * g if self.lr_inside else g)
            ahead = (lr * g if self.lr_inside else g) + m * v if self.nesterov else v
            theta = theta - (ahead if self.lr_inside else lr * ahead)
            steps.append((theta, v))
        return steps

    def differences(self, other: Rule) -> list[str]:
        """Return in words how this rule differs from a reference."""
        pairs = [
            (field.name, getattr(self, field.name), getattr(other, field.name)) for field in fields(self)
        ]
        return [_words(name, own, reference) for name, own, reference in pairs if own != reference]


def _words(name: str, own: Any, reference: Any) -> str:
    if name == "nesterov":
        return "Nesterov's momentum is used" if own else "Nesterov's momentum is not used"
    if name == "decayed":
        return {
            "all": "weight decay acts on batch norm and biases, too",
            "weights": "weight decay leaves batch norm and biases alone",
            "none": "there is no weight decay",
        }[own]
    if name == "decoupled":
        return (
            "weight decay is decoupled (taken from the weights, not added to the gradient: SGDW)"
            if own
            else ("weight decay is added to the gradient")
        )
    if name == "dampening":
        return {
            "none": "momentum has no dampening",
            "momentum": "the gradient enters the momentum by 1 - m (dampening), from the second step on",
            "momentum from the first step": "momentum is a mean: v = m v + (1 - m) g",
        }[own]
    if name == "lr_inside":
        return (
            "the learning rate is inside the momentum: v = m v + lr g, w = w - v"
            if own
            else ("the learning rate is outside the momentum")
        )
    if name == "lr_scale":
        return f"the learning rate is {own:.4g} times the one given"
    return f"{name.replace('_', ' ')} is {own:g} instead of {reference:g}"


def rules_near(reference: Rule) -> Iterator[Rule]:
    """Yield rules, those that differ least from the reference first."""
    choices: dict[str, tuple[Any, ...]] = {
        "decayed": ("weights", "all", "none"),
        "nesterov": (False, True),
        "decoupled": (False, True),
        "dampening": ("none", "momentum", "momentum from the first step"),
        "lr_inside": (False, True),
        "momentum": tuple(dict.fromkeys((reference.momentum, 0.0, 0.9, 0.5, 0.99, 1 - reference.momentum))),
        "weight_decay": tuple(
            dict.fromkeys((reference.weight_decay, 2 * reference.weight_decay, reference.weight_decay / 2))
        ),
        "lr_scale": (1.0, 0.1, 10.0, 0.5, 2.0),
    }
    every: list[tuple[int, int, Rule]] = []
    for values in itertools.product(*choices.values()):
        rule = Rule(**dict(zip(choices, values, strict=True)))
        count = len(rule.differences(reference))
        if count <= 2:
            every.append((count, len(every), rule))
    yield from (rule for _, _, rule in sorted(every, key=lambda entry: entry[:2]))
